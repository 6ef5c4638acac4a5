"""Orders placed twice: same patient, procedure and schedule within a distance, under other numbers.

A duplicate keeps its row and stays a candidate for links; it names the earlier order. An order that ended is
nobody's duplicate: what is ordered again after a cancel is wanted.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.orders import ImagingOrder
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.rules import DAY_US
from dosestream.reconcile.status import CANCELED, DISCONTINUED

ENDED = frozenset({CANCELED, DISCONTINUED})
# One of these in common, and two rows are of one order or one study.
SHARED = ("placer_order_number", "filler_order_number", "accession_number", "study_instance_uid")


def duplicates(orders: Iterable[ImagingOrder], patients: Patients) -> dict[str, ImagingOrder]:
    """Key of each duplicate to the earliest order it repeats."""
    alike: dict[tuple[PatientId, str], list[ImagingOrder]] = {}
    for order in orders:
        if (known := _what(order, patients)) is not None:
            alike.setdefault(known, []).append(order)
    found = {}
    for same in alike.values():
        same.sort(key=_age)
        for position, order in enumerate(same):
            earlier = next((one for one in same[:position] if _repeats(order, one)), None)
            if earlier is not None:
                found[order.key] = earlier
    return found


def duplicate_keys(orders: Iterable[ImagingOrder], patients: Patients) -> Iterator[str]:
    """What joins a group with those that may hold a duplicate: `d:patient|procedure|day` of every open order,
    for each day on which a later one would repeat it."""
    for order in orders:
        known = _what(order, patients)
        if known is None or order.scheduled_at is None:
            continue
        (_, who), procedure = known
        digest = hashlib.sha256(procedure.encode()).hexdigest()[:16]
        first, last = order.scheduled_at, order.scheduled_at + order.rules.duplicate_us
        for day in range(first // DAY_US, last // DAY_US + 1):
            yield f"d:{who}|{digest}|{day}"


def number_of(order: ImagingOrder) -> str:
    """What an order is called: its filler number, else its placer number, else its accession, else its key."""
    names = ("filler_order_number", "placer_order_number", "accession_number")
    return next((value for name in names if (value := order.value(name))), order.key)


def _what(order: ImagingOrder, patients: Patients) -> tuple[PatientId, str] | None:
    """Patient and procedure of an order that can be a duplicate, None where something is missing or it ended."""
    if not order.identities or order.procedure is None or order.scheduled_at is None:
        return None
    if order.is_parent or (order.status is not None and order.status.status in ENDED):
        return None
    event = order.procedure.event
    return patients.survivor(order.identities[0]), event.procedure_code or event.procedure_meaning


def _repeats(order: ImagingOrder, other: ImagingOrder) -> bool:
    if order.scheduled_at is None or other.scheduled_at is None:
        return False
    if abs(order.scheduled_at - other.scheduled_at) > order.rules.duplicate_us:
        return False
    return not any(_values(order, name) & _values(other, name) for name in SHARED)


def _values(order: ImagingOrder, name: str) -> set[str]:
    """Every value an order ever had: a renamed order is still the same."""
    return {value for fact in order.facts if (value := getattr(fact.event, name))}


def _age(order: ImagingOrder) -> tuple[object, ...]:
    """What says which of two orders came first."""
    return min(f.version for f in order.facts), order.key


def first_seen_at(orders: Sequence[ImagingOrder]) -> int:
    """When all of these orders had been heard of, microseconds since 1970 UTC."""
    return max(min(f.event.received_at for f in order.facts) for order in orders)
