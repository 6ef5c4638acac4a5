"""What a message becomes under a configuration, field by field with where each came from. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dosestream.events.records import Identifier
from dosestream.hl7 import expression
from dosestream.hl7.finding import Finding
from dosestream.hl7.path import Path, PathError
from dosestream.hl7.reader import Group
from dosestream.hl7.times import EPOCH, MICROSECOND
from dosestream.kafka.topics import Topic
from dosestream.mapping.defaults import (
    ADMITTED,
    APPOINTED,
    DOCUMENTED,
    IDENTIFIERS,
    ORDERED,
    PRIOR_IDENTIFIERS,
    REPORTED,
    SCHEDULED,
    default_places,
)
from dosestream.mapping.draft import Draft
from dosestream.mapping.fields import FIELDS, TOPICS, Kind
from dosestream.mapping.normalise import interpret
from dosestream.settings import Settings, SourceSettings

EVENT_OF: dict[Topic, str] = {topic: event for event, topic in TOPICS.items()}

# Fields that no row of the defaults reads: event and field to their first place.
_FIRST: dict[tuple[str, str], tuple[str, ...]] = {
    **{(event, "identifiers"): (IDENTIFIERS[0].text,) for event in FIELDS},
    ("patient", "prior_identifiers"): (PRIOR_IDENTIFIERS[0].text,),
    ("patient", "admitted_at"): (ADMITTED[0].text,),
    ("order", "ordered_at"): (ORDERED[0].text,),
    ("order", "scheduled_at"): (SCHEDULED[0].text,),
    ("appointment", "scheduled_at"): (APPOINTED[0].text,),
    ("report", "reported_at"): (DOCUMENTED[0].text, REPORTED[0].text),
}
# What is told of an event beside the fields a site may map.
_TOLD = ("action", "trigger", "scheduled_cleared")


@dataclass(frozen=True, slots=True)
class Reading:
    """One field of an event: the path that gave it, what stands there as sent, and the value."""

    field: str
    path: str
    raw: str
    value: str


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """One event to be; `index` is its group's place in the message."""

    event: str
    index: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a message becomes.

    Attributes:
        state: normalised, ignored or rejected; a rejected one may have events of its other groups.
        code: of a rejection; reason: why it is ignored or rejected; location: of a rejection.
        findings: profile rules it breaks, and codes that a code map has not.
    """

    source: str
    message_type: str
    control_id: str
    state: str
    code: str = ""
    reason: str = ""
    location: str = ""
    events: tuple[ReadEvent, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def told(self) -> str:
        """The outcome in a few words without patient data."""
        return f"{self.state} {self.code}".strip()


def outcome(body: bytes, settings: Settings, source: SourceSettings | None = None) -> Outcome:
    """Interpret one message; `source` is looked up from MSH-3 and MSH-4 where not given."""
    found = interpret(body, settings, source)
    state, code, reason, location = "normalised", "", "", ""
    if found.refusal is not None:
        refusal = found.refusal
        state, code, reason, location = "rejected", refusal.code, refusal.reason, refusal.location
    elif not found.drafts:
        state, reason = "ignored", found.ignored
    return Outcome(
        found.source.name,
        found.message_type,
        found.control_id,
        state,
        code,
        reason,
        location,
        tuple(_event(draft) for draft in found.drafts),
        tuple(found.findings),
    )


def _event(draft: Draft) -> ReadEvent:
    event = EVENT_OF[draft.topic]
    return ReadEvent(event, draft.number, tuple(_readings(event, draft)))


def _readings(event: str, draft: Draft) -> Iterator[Reading]:
    fields, paths = draft.fields, draft.fields["paths"]
    patient = fields.get("patient")
    for name, kind in FIELDS[event].items():
        holder = fields if name in fields or patient is None else {name: getattr(patient, name, None)}
        value = _shown(holder.get(name), kind)
        if not value:
            continue
        if name == "event_time":
            path = fields.get("event_time_path", "")
        else:
            path = paths.get(name) or _default_path(event, name, draft.group)
        yield Reading(name, path, _raw(path, draft.group), value)
    for name in _TOLD:
        if fields.get(name):
            path = paths.get("scheduled_at", "") if name == "scheduled_cleared" else "MSH-9.2"
            yield Reading(name, path, "", str(fields[name]))


def _default_path(event: str, name: str, group: Group) -> str:
    """The default place of a field that does not name another; a document's differ from a result's."""
    places = _FIRST.get((event, name)) or default_places(event, name)
    return next((place for place in places if _raw(place, group)), "")


def _raw(path: str, group: Group) -> str:
    """What stands at a path as sent; empty for what is no path, such as a function of the site."""
    try:
        found = expression.parse(path)
    except PathError:
        return ""
    if isinstance(found, Path):
        return " ".join(value for value, _ in found.found(group))
    return " ".join(found.values(group))


def _shown(value: Any, kind: Kind) -> str:
    if value is None or value == "":
        return ""
    if kind is Kind.TIME:
        moment: datetime = EPOCH + value * MICROSECOND
        return moment.isoformat()
    if kind is Kind.IDENTIFIERS:
        return ", ".join(_identifier(one) for one in value)
    return str(value)


def _identifier(one: Identifier) -> str:
    return f"{one.authority}:{one.value}" if one.authority else one.value
