"""Patients who arrived (ADT A10): their scheduled steps are marked ARRIVED.

An A10 speaks of a step of the same visit, or, where one of them names no visit, of a step scheduled within the
window around it. It moves a step only from SCHEDULED, as the step stood when the patient came.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dosestream.events.records import Patient
from dosestream.reconcile.fold import Entry, winner
from dosestream.reconcile.status import ARRIVED, LIFECYCLE, SCHEDULED
from dosestream.reconcile.version import ABSENT, Version

# The name arrivals are folded under; each has a value of its own.
FIELD = "arrived"
TRIGGER = "A10"
# Where an arrival is read, for the evidence.
PATH = "MSH-9"


class Presence(NamedTuple):
    """A patient came: visit (empty where unsaid), when (microseconds since 1970 UTC, None where unsaid)."""

    visit_number: str
    at: int | None
    version: Version
    control_id: str


class Held(NamedTuple):
    """A status, the version it was said with, and the message first received that said it."""

    status: str
    version: Version
    control_id: str
    path: str
    first_received_at: int


def folded(event: Patient) -> dict[str, str]:
    """What an ADT message adds to the patient's fold."""
    if event.trigger != TRIGGER:
        return {}
    visit = "" if event.visit_number == '""' else event.visit_number
    return {FIELD: f"{'' if event.event_time is None else event.event_time}@{visit}"}


def read(values: Mapping[str, Entry]) -> list[Presence]:
    """The arrivals in a fold."""
    found = []
    for value, entry in values.items():
        at, _, visit = value.partition("@")
        said = winner({value: entry})
        if said is not None:
            found.append(Presence(visit, int(at) if at else None, said.version, said.control_id))
    return found


def held_status(
    said: Sequence[Held],
    presences: Iterable[Presence],
    visit_number: str | None,
    scheduled_at: int | None,
    window_us: int,
) -> Held | None:
    """The newest status of a step: what its messages said (in any order), and its patient's arrivals."""
    newest = max(said, key=lambda held: held.version, default=None)
    for presence in presences:
        version = presence.version._replace(
            precedence=presence.version.precedence._replace(lifecycle=LIFECYCLE[ARRIVED])
        )
        before = max((h for h in said if h.version < version), key=lambda held: held.version, default=None)
        if before is None or before.status != SCHEDULED:
            continue
        if not _speaks_of(presence, visit_number, scheduled_at, window_us):
            continue
        if newest is None or version > newest.version:
            newest = Held(ARRIVED, version, presence.control_id, PATH, presence.version.received_at)
    return newest


def _speaks_of(
    presence: Presence, visit_number: str | None, scheduled_at: int | None, window_us: int
) -> bool:
    if presence.visit_number and visit_number:
        return presence.visit_number == visit_number
    at = presence.at if presence.at is not None else ABSENT
    return scheduled_at is not None and abs(at - scheduled_at) <= window_us
