"""The events that decide about a study, found in the topics.

Records are searched for the identifiers as bytes, and only those that hold one are read. What is found leads to
further identifiers, so the topics are gone through again until there are none: three or four times.
"""

from collections.abc import Callable, Iterable, Iterator

from dosestream.db.records import Decoded, decode
from dosestream.events.codec import Codec, UnknownSchemaError
from dosestream.events.records import Clock
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Record
from dosestream.kafka.scan import Scanner
from dosestream.kafka.topics import FACTS, Topic
from dosestream.past.related import Related
from dosestream.reconcile.rules import Rules
from dosestream.settings import KafkaSettings

# Told how often the topics were gone through, and how many events were found.
Told = Callable[[int, int], None]


def read(
    kafka: KafkaSettings, codec: Codec, rules: Rules, study_instance_uid: str, told: Told = lambda *_: None
) -> Related:
    """All events that decide about a study.

    Raises:
        ReadError: the broker is away.
        UnknownSchemaError: one of them cannot be read, so what would be told might not be so.
    """
    found = Related.of(study_instance_uid, rules)
    reader, scanner = PartitionReader(kafka), Scanner(kafka)
    try:
        ends = {
            partition: reader.watermarks(partition)
            for topic in FACTS
            if topic != Topic.CLOCK
            for partition in reader.partitions(str(topic))
        }
        rest: list[Record] = []
        searched: set[bytes] = set()
        times = 0
        while wanted := found.needles() - searched:
            searched |= wanted
            for records in scanner.read(ends):
                rest += _holding(records, wanted, folded=bool(rules.ids_without_case))
            rest = _heard(found, codec, rest)
            times += 1
            told(times, len(found.events))
        return found
    finally:
        scanner.close()
        reader.close()


def _holding(records: list[Record], needles: set[bytes], *, folded: bool) -> Iterator[Record]:
    """The records that hold one of some byte strings."""
    for record in records:
        value = record.value or b""
        if folded:
            value = value.lower()
        if any(needle in value for needle in needles):
            yield record


def _heard(found: Related, codec: Codec, records: list[Record]) -> list[Record]:
    """Take the events that belong; returns the records that do not, or not yet."""
    waiting = _decoded(codec, {(r.partition, r.offset): r for r in records}.values())
    while True:
        left = [
            item
            for item in waiting
            if item.event is not None and not isinstance(item.event, Clock) and not found.hear(item.event)  # type: ignore[arg-type]
        ]
        if len(left) == len(waiting):
            return [item.record for item in left]
        waiting = left


def _decoded(codec: Codec, records: Iterable[Record]) -> list[Decoded]:
    """The events of all records; raises UnknownSchemaError."""
    found, stopped = decode(codec, records)
    if stopped:
        first = stopped[0]
        raise UnknownSchemaError(
            f"{first.partition.topic}[{first.partition.number}] offset {first.offset} cannot be read: {first.reason}"
        )
    return found


def newest_tick(kafka: KafkaSettings, codec: Codec) -> int | None:
    """The clock: the newest tick, microseconds since 1970 UTC; None where there is none. Raises as `read`."""
    reader = PartitionReader(kafka)
    try:
        newest = None
        for partition in reader.partitions(str(Topic.CLOCK)):
            low, high = reader.watermarks(partition)
            for records in reader.read(partition, max(low, high - 1), high):
                for item in _decoded(codec, records):
                    if isinstance(item.event, Clock):
                        newest = item.event.at
        return newest
    finally:
        reader.close()
