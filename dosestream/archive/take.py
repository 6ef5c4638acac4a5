"""Topics into files: what came since the last time, one file a stretch; each counts once the manifest names it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from dosestream.archive import manifest
from dosestream.archive.container import Archived, file_sha256, write
from dosestream.archive.errors import GapError
from dosestream.archive.manifest import Entry, path_of
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

# What all else can be made of again: messages as received, decisions, what cleanup wrote, and the schemas of all that.
TOPICS: Final = (Topic.HL7_RAW, Topic.DICOM_RAW, Topic.DECISION, Topic.SNAPSHOT, Topic.SCHEMAS)
# Records and bytes of one file, before compression.
FILE_RECORDS: Final = 200_000
FILE_BYTES: Final = 256 * 1024 * 1024


def whole(reader: PartitionReader, where: Partition, first: int, stop: int) -> Iterator[Archived]:
    """Records with first <= offset < stop, with keys, headers and times.

    Raises:
        ReadError: the broker fell silent.
    """
    return map(_archived, reader.messages(where, first, stop))


def _archived(message: Any) -> Archived:
    _, at = message.timestamp()
    return Archived(message.offset(), at, message.key(), message.value(), tuple(message.headers() or ()))


def archive(
    kafka: KafkaSettings,
    folder: Path,
    topics: Sequence[str] = tuple(map(str, TOPICS)),
    told: Callable[[Entry], None] = lambda _: None,
    file_records: int = FILE_RECORDS,
    file_bytes: int = FILE_BYTES,
) -> list[Entry]:
    """Take what the topics hold beyond what the archive has; returns the files written. Interrupted, it goes on
    where the manifest ends.

    Raises:
        GapError: records expired before they were archived.
        ReadError: the broker is away.
        DamagedError: the manifest cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = manifest.load(folder)
    held = {where: those[-1].stop for where, those in manifest.chains(entries).items()}
    written: list[Entry] = []
    reader = PartitionReader(kafka)
    try:
        for topic in topics:
            for where in reader.partitions(topic):
                low, high = reader.watermarks(where)
                first = held.get(where, low)
                if first < low:
                    raise GapError(
                        f"{where.topic}[{where.number}]: offsets {first} to {low} expired before they were archived; "
                        "archive more often than the topic's retention.ms, and begin a new archive for the rest"
                    )
                if first > high:
                    raise GapError(
                        f"{where.topic}[{where.number}]: the archive ends at {first}, the topic at {high}: it is "
                        "another topic; restore into it, or begin a new archive"
                    )
                while first < high:
                    entry = _file(reader, folder, where, first, high, file_records, file_bytes)
                    entries.append(entry)
                    manifest.store(folder, entries)
                    written.append(entry)
                    told(entry)
                    first = entry.stop
    finally:
        reader.close()
    return written


def _file(
    reader: PartitionReader, folder: Path, where: Partition, first: int, high: int, most: int, most_bytes: int
) -> Entry:
    """One file from offset `first` on."""
    # Where it ends is known once its bytes are: they are written under the widest name first.
    there = folder / path_of(where, first, high)
    end, newest = high, -1

    def records() -> Iterator[Archived]:
        nonlocal end, newest
        size = 0
        for count, record in enumerate(whole(reader, where, first, high)):
            size += len(record.key or b"") + len(record.value or b"")
            if count and (count >= most or size > most_bytes):
                end = record.offset
                return
            newest = max(newest, record.timestamp)
            yield record

    said = {"topic": where.topic, "partition": str(where.number), "first": str(first)}
    content = write(there, records(), said)
    named = folder / path_of(where, first, end)
    there.replace(named)
    return Entry(
        topic=where.topic,
        partition=where.number,
        first=first,
        stop=end,
        records=content.records,
        size=named.stat().st_size,
        sha256=file_sha256(named),
        content_sha256=content.sha256,
        newest=newest,
    )
