"""Patients who arrived (ADT A10): their scheduled steps are marked ARRIVED.

An A10 speaks of a step of the same visit, or, where one of them names no visit, of a step scheduled within the
window around it. It moves a step only from SCHEDULED, as the step stood when the patient came.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dosestream.events.records import Patient
from dosestream.reconcile.fold import Entry, winner
from dosestream.reconcile.standing import Word
from dosestream.reconcile.status import ARRIVED, LIFECYCLE, SCHEDULED
from dosestream.reconcile.version import ABSENT, Version

# The name arrivals are folded under; each has a value of its own.
FIELD = "arrived"
TRIGGER = "A10"
# Where an arrival is read, for the evidence.
PATH = "MSH-9"
# What an arrival moves.
MOVES = frozenset({SCHEDULED})


class Presence(NamedTuple):
    """A patient came: visit (empty where unsaid), when (microseconds since 1970 UTC, None where unsaid)."""

    visit_number: str
    at: int | None
    version: Version
    control_id: str


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


def words(
    presences: Sequence[Presence], visit_number: str | None, scheduled_at: int | None, window_us: int
) -> list[Word]:
    """What the patient's arrivals say of a step's status."""
    return [
        Word(
            ARRIVED,
            presence.version._replace(
                precedence=presence.version.precedence._replace(lifecycle=LIFECYCLE[ARRIVED])
            ),
            presence.control_id,
            PATH,
            presence.version.received_at,
            MOVES,
        )
        for presence in presences
        if _speaks_of(presence, visit_number, scheduled_at, window_us)
    ]


def _speaks_of(
    presence: Presence, visit_number: str | None, scheduled_at: int | None, window_us: int
) -> bool:
    if presence.visit_number and visit_number:
        return presence.visit_number == visit_number
    at = presence.at if presence.at is not None else ABSENT
    return scheduled_at is not None and abs(at - scheduled_at) <= window_us
