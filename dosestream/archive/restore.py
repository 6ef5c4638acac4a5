"""Files into topics: every record with its key, value, headers and time, in its partition and in order.

A partition must be empty, or hold the beginning of the archive: then it goes on where that ends, so that an
interrupted restore is taken up again. Offsets are as they were where the archive begins at 0 and has no holes, which
is so of all but compacted topics.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from dosestream.archive import manifest
from dosestream.archive.container import Archived, read
from dosestream.archive.errors import ArchiveError, GapError, OtherRecordsError
from dosestream.archive.manifest import Entry
from dosestream.archive.take import whole
from dosestream.archive.verify import check_file
from dosestream.kafka.client import producer_config
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

FLUSH_S: Final = 60.0
# Of this topic a new broker has the schemas of this release already: the others are added.
BY_KEY: Final = frozenset({str(Topic.SCHEMAS)})


def restore(
    kafka: KafkaSettings,
    folder: Path,
    told: Callable[[Partition, int], None] = lambda _, __: None,
    topics: Sequence[str] | None = None,
) -> int:
    """Publish an archive; returns how many records. All files are verified before the first record.

    Raises:
        DamagedError, GapError: the archive is not whole.
        OtherRecordsError: a topic holds something else.
        ArchiveError: the broker did not take all: restore again, it goes on where it stopped.
        ReadError: the broker is away.
    """
    found = manifest.chains(manifest.load(folder))
    wanted = {where: those for where, those in found.items() if topics is None or where.topic in topics}
    for those in wanted.values():
        for one in those:
            check_file(folder, one)
    reader = PartitionReader(kafka)
    try:
        begin = {where: _held(reader, folder, where, those) for where, those in wanted.items()}
        published = 0
        for where, those in wanted.items():
            records = _records(folder, those)
            if where.topic in BY_KEY:
                known = {record.key for record in whole(reader, where, *reader.watermarks(where))}
                records = (record for record in records if record.key not in known)
            count = _publish(kafka, where, islice(records, begin[where], None))
            published += count
            told(where, count)
        return published
    finally:
        reader.close()


def _records(folder: Path, those: Sequence[Entry]) -> Iterator[Archived]:
    for one in those:
        yield from read(folder / one.path)


def _held(reader: PartitionReader, folder: Path, where: Partition, those: Sequence[Entry]) -> int:
    """How many of the archive's records the partition holds already."""
    if where not in reader.partitions(where.topic):
        raise GapError(
            f"{where.topic}[{where.number}] does not exist: make the topic with as many partitions as it had"
        )
    if where.topic in BY_KEY:
        return 0
    low, high = reader.watermarks(where)
    if high == 0:
        return 0
    count = sum(one.records for one in those)
    if low == 0 and high <= count:
        last = next(islice(_records(folder, those), high - 1, None))
        if any(_same(record, last) for record in whole(reader, where, high - 1, high)):
            return high
    raise OtherRecordsError(
        f"{where.topic}[{where.number}] holds records that are not the beginning of the archive: restore into an "
        "empty topic"
    )


def _same(one: Archived, other: Archived) -> bool:
    return one._replace(offset=0) == other._replace(offset=0)


def _publish(kafka: KafkaSettings, where: Partition, records: Iterator[Archived]) -> int:
    failed: list[str] = []

    def heard(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(str(error))

    # Idempotent: of one partition the records keep their order, whatever is sent again.
    config = producer_config(kafka, linger_ms=20.0, delivery_timeout_ms=int(FLUSH_S * 1000))
    producer: Any = Producer(config)
    count = 0
    for record in records:
        while not failed:
            try:
                producer.produce(
                    where.topic,
                    record.value,
                    record.key,
                    partition=where.number,
                    headers=list(record.headers),
                    timestamp=max(0, record.timestamp),
                    on_delivery=heard,
                )
                break
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                failed.append(str(error))
        if failed:
            break
        count += 1
        producer.poll(0)
    if producer.flush(FLUSH_S) or failed:
        raise ArchiveError(
            f"{where.topic}[{where.number}]: the broker did not take all records ({failed[:1] or 'no answer'}): "
            "restore again, it goes on where it stopped"
        )
    return count
