"""Kafka records on their way into the database: decoded before the transaction, never inside it."""

from collections.abc import Iterable
from dataclasses import dataclass

from dosestream.events.codec import Codec, MalformedRecordError, UnknownSchemaError
from dosestream.events.records import CLASSES, Event
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import TOPICS

CLASS_OF: dict[str, type[Event]] = {
    str(spec.name): CLASSES[spec.schema] for spec in TOPICS if spec.schema in CLASSES
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A record and what it says; `event` is None where the bytes cannot be read, `problem` says why."""

    record: Record
    event: Event | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A partition that cannot go on: nothing at or after `offset` may be applied until `reason` is mended."""

    partition: Partition
    offset: int
    reason: str


def decode(codec: Codec, records: Iterable[Record]) -> tuple[list[Decoded], list[Stopped]]:
    """Records as events; a partition stops at the first record whose schema is not known."""
    decoded: list[Decoded] = []
    stopped: dict[Partition, Stopped] = {}
    for record in sorted(records, key=lambda r: (r.partition, r.offset)):
        if record.partition in stopped:
            continue
        try:
            if record.value is None:
                raise MalformedRecordError("a record without value")
            decoded.append(Decoded(record, codec.decode(record.value, CLASS_OF[record.partition.topic])))
        except MalformedRecordError as error:
            decoded.append(Decoded(record, None, str(error)))
        except UnknownSchemaError as error:
            stopped[record.partition] = Stopped(record.partition, record.offset, str(error))
    return decoded, list(stopped.values())
