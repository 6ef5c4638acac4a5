"""The snapshot topic: entities written with acks from all, and read back by their position."""

import hmac
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dosestream.events.cloudevents import headers
from dosestream.events.codec import Codec
from dosestream.events.records import EntitySnapshot
from dosestream.kafka.publisher import Position, Publisher, PublishError
from dosestream.kafka.reader import PartitionReader, RetentionError
from dosestream.kafka.records import Partition, Pointer
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

TOPIC = str(Topic.SNAPSHOT)
# A gap of so few offsets is read through rather than sought over.
NEAR = 200


def entity_key(secret: bytes, entity: str) -> str:
    """The key of an entity's records: a keyed hash, so that no key tells whose they are."""
    return hmac.digest(secret, entity.encode(), "sha256").hex()[:32]


class SnapshotError(RetentionError):
    """A snapshot is not in its topic any more: restore the topic from its archive, or replay."""


class SnapshotWriter:
    """Writes snapshots. Close it to leave the broker."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, secret: bytes) -> None:
        self._codec, self._secret = codec, secret
        self._limit = kafka.max_message_bytes
        self._publisher = Publisher(kafka, linger_ms=5.0)

    def key(self, entity: str) -> str:
        """The key of an entity."""
        return entity_key(self._secret, entity)

    def encoded(self, snapshots: Iterable[EntitySnapshot]) -> dict[str, bytes]:
        """Key to record; see `fits`."""
        return {self.key(one.entity): self._codec.encode(one) for one in snapshots}

    def fits(self, value: bytes) -> bool:
        """Whether a record is small enough for the topic."""
        return len(value) <= self._limit

    def write(self, records: Mapping[str, bytes], at: int) -> dict[str, Pointer]:
        """Write records by their keys and wait until all in-sync replicas have them; returns where each lies.

        Args:
            at: when they are written, microseconds since 1970 UTC.

        Raises:
            PublishError: some are not known to be stored; writing them again does no harm.
        """
        outcome: dict[str, Position | PublishError] = {}
        for key, value in records.items():
            meta = headers(event_id=key, source="cleanup", kind="snapshot", at=at)

            def settle(result: Position | PublishError, key: str = key) -> None:
                outcome[key] = result

            self._publisher.publish(TOPIC, key.encode(), value, meta, settle)
        while len(outcome) < len(records):
            time.sleep(0.002)
        found: dict[str, Pointer] = {}
        for key, result in outcome.items():
            if isinstance(result, PublishError):
                raise result
            found[key] = Pointer(key, result.partition, result.offset)
        return found

    def close(self) -> None:
        """Leave the broker."""
        self._publisher.close()


class SnapshotReader:
    """Reads snapshots by position; connects at the first. Not to be used from two threads at once."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self._kafka, self._codec = kafka, codec
        self._reader: PartitionReader | None = None

    def fetch(self, pointers: Sequence[Pointer]) -> dict[str, EntitySnapshot]:
        """The snapshots of entities, by entity. Where the record is gone from its place, a newer one of the entity
        took it over, and that is returned: it holds at least the same facts.

        Raises:
            ReadError: the broker fell silent; try again.
            SnapshotError: there is no record of the entity any more.
            MalformedRecordError, UnknownSchemaError: the record cannot be read.
        """
        values: dict[str, bytes] = {}
        by_partition: dict[int, list[Pointer]] = {}
        for pointer in pointers:
            by_partition.setdefault(pointer.partition, []).append(pointer)
        for partition, wanted in by_partition.items():
            values |= self._read(partition, sorted(wanted, key=lambda p: p.offset))
        return {entity: self._codec.decode(value, EntitySnapshot) for entity, value in values.items()}

    def close(self) -> None:
        """Leave the broker."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read(self, partition: int, wanted: Sequence[Pointer]) -> dict[str, bytes]:
        at = {pointer.offset: pointer.entity for pointer in wanted}
        found: dict[str, bytes] = {}
        position = -1
        for pointer in wanted:
            if pointer.offset < position:
                continue
            stop = _run(pointer.offset, at)
            there = self._stretch(partition, pointer.offset, stop)
            found |= {key: value for offset, key, value in there if value and at.get(offset) == key}
            position = stop
        # The newest of an entity is never compacted away.
        if lost := {pointer.entity for pointer in wanted if pointer.entity not in found}:
            # Also before its place: a topic that was restored has no holes.
            rest = self._stretch(partition, *self._connected().watermarks(Partition(TOPIC, partition)))
            found |= {key: value for _, key, value in rest if value and key in lost}
            if gone := lost - found.keys():
                raise SnapshotError(
                    f"{TOPIC}[{partition}]: {len(gone)} snapshots are no longer held: restore the topic from its "
                    "archive, or rebuild the database by a replay"
                )
        return found

    def _stretch(self, partition: int, start: int, stop: int) -> Iterator[tuple[int, str, bytes | None]]:
        for one in self._connected().messages(Partition(TOPIC, partition), start, stop, NEAR):
            yield one.offset(), (one.key() or b"").decode(), one.value()

    def _connected(self) -> PartitionReader:
        if self._reader is None:
            self._reader = PartitionReader(self._kafka)
        return self._reader


def _run(start: int, wanted: Mapping[int, str]) -> int:
    """The end of a stretch that holds `start` and all that lie near one another after it."""
    stop = start + 1
    for offset in sorted(o for o in wanted if o > start):
        if offset - stop > NEAR:
            break
        stop = offset + 1
    return stop
