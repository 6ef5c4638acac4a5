"""Appointments (SIU, HL7 v2.5.1 chapter 10): they move the schedule and the status of the orders they name.

An appointment names an order by placer, filler or accession number, or by the number of an appointment that
another of its messages ties to one. It does not move an order that has begun or that its own messages ended.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dosestream.events.records import Appointment
from dosestream.reconcile.components import Components
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.standing import Word
from dosestream.reconcile.status import CANCELED, DISCONTINUED, LIFECYCLE, OPEN, SCHEDULED
from dosestream.reconcile.version import Version, version_of

# Trigger event (table 0003) to the status it asks for: booked, rescheduled, modified; cancelled, discontinued,
# deleted, patient did not come. Others say nothing of an order.
TRIGGERS: Mapping[str, str] = {
    "S12": SCHEDULED,
    "S13": SCHEDULED,
    "S14": SCHEDULED,
    "S15": CANCELED,
    "S16": DISCONTINUED,
    "S17": CANCELED,
    "S26": CANCELED,
}
# Where an appointment's word is read, for the evidence.
PATH = "MSH-9, SCH"


@dataclass(frozen=True, slots=True)
class Booking:
    """One message about an appointment; `scheduled_at` in microseconds since 1970 UTC, None where unsaid."""

    event: Appointment
    version: Version
    status: str
    scheduled_at: int | None


def appointment_keys(event: Appointment, rules: Rules) -> list[str]:
    """The identifiers that connect an appointment to its group."""
    named = (
        ("p", event.placer_order_number),
        ("f", event.filler_order_number),
        ("a", event.accession_number),
        ("tp", event.placer_appointment_id),
        ("tf", event.filler_appointment_id),
    )
    return [f"{kind}:{value}" for kind, value in named if not rules.stands_for_nobody(value)]


def bookings(events: Iterable[Appointment], rules: Rules) -> list[tuple[Booking, frozenset[str]]]:
    """The appointments' words and the order numbers (as keys `p:`, `f:`, `a:`) each of them speaks of."""
    spoken: list[tuple[Booking, list[str]]] = []
    joined: Components[str] = Components()
    for event in events:
        keys = appointment_keys(event, rules)
        if event.trigger not in TRIGGERS or not keys:
            continue
        status = TRIGGERS[event.trigger]
        version = version_of(event, rules.future_tolerance_us, LIFECYCLE[status])
        at = event.scheduled_at if status == SCHEDULED else None
        spoken.append((Booking(event, version, status, at), keys))
        joined.join(key for key in keys if key.startswith("t"))
    numbers: dict[str, set[str]] = {}
    for _, keys in spoken:
        for key in keys:
            if key.startswith("t"):
                numbers.setdefault(joined.find(key), set()).update(k for k in keys if not k.startswith("t"))
    found = []
    for booking, keys in spoken:
        own = {key for key in keys if not key.startswith("t")}
        if not own:
            own = {n for key in keys for n in numbers[joined.find(key)]}
        found.append((booking, frozenset(own)))
    return found


def words(bookings: Sequence[Booking]) -> list[Word]:
    """What the appointments say of an order's status."""
    return [Word(b.status, b.version, b.event.control_id, PATH, b.event.received_at, OPEN) for b in bookings]
