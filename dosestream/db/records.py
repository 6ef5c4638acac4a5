"""Kafka records on their way into the database: decoded before the transaction, never inside it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import orjson

from dosestream.db.values import stripped
from dosestream.events.codec import Codec, MalformedRecordError, UnknownSchemaError
from dosestream.events.records import (
    CLASSES,
    Appointment,
    Decision,
    Demographics,
    Event,
    Order,
    Patient,
    Report,
    Study,
)
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
    """Records as events; a partition stops at the first record whose schema is not known.

    NUL characters (HL7 has an escape for them) are left out of texts: what is named with one is named without
    it everywhere, since PostgreSQL's text cannot hold any.
    """
    found: list[Decoded] = []
    stopped: dict[Partition, Stopped] = {}
    for record in sorted(records, key=lambda r: (r.partition, r.offset)):
        if record.partition in stopped:
            continue
        try:
            if record.value is None:
                raise MalformedRecordError("a record without value")
            event = codec.decode(record.value, CLASS_OF[record.partition.topic])
            found.append(decoded(codec, record, event))
        except MalformedRecordError as error:
            found.append(Decoded(record, None, str(error)))
        except UnknownSchemaError as error:
            stopped[record.partition] = Stopped(record.partition, record.offset, str(error))
    return found, list(stopped.values())


def decoded(codec: Codec, record: Record, event: Event) -> Decoded:
    """An event that was read from a record, without NUL characters."""
    if _has_nul(event):
        event = type(event).from_datum(stripped(event.to_datum()))
        record = record._replace(value=codec.encode(event))
    return Decoded(record, event)


def _texts(cls: Any) -> Callable[[object], tuple[str, ...]]:
    """The text fields of a class, of an event of it."""
    getter: Callable[[object], tuple[str, ...]] = attrgetter(
        *(name for name, field in cls.__dataclass_fields__.items() if field.type is str)
    )
    return getter


TEXTS = {cls: _texts(cls) for cls in (Patient, Order, Demographics)}


def _has_nul(event: Event) -> bool:
    """Whether a text of an event holds a NUL character. Most events are of patients and orders: there it is
    asked of all texts at once."""
    if isinstance(event, Study | Decision | Appointment | Report):
        return b"\\u0000" in orjson.dumps(event)
    if not isinstance(event, Patient | Order):
        return False
    said = TEXTS[type(event)](event)
    if (patient := event.patient) is not None:
        said += TEXTS[Demographics](patient)
        for one in patient.identifiers:
            said += (one.authority, one.value)
    if isinstance(event, Patient):
        for one in event.prior_identifiers:
            said += (one.authority, one.value)
    return "\0" in "".join(said)
