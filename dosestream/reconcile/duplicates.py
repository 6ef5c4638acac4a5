"""Orders placed twice: same patient, procedure and schedule within a distance, under other numbers.

A duplicate keeps its row and stays a candidate for links; it names the earlier order. An order that ended is
nobody's duplicate: what is ordered again after a cancel is wanted.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.orders import ImagingOrder
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.rules import DAY_US
from dosestream.reconcile.status import CANCELED, DISCONTINUED

ENDED = frozenset({CANCELED, DISCONTINUED})
# One of these in common, and two rows are of one order or one study.
SHARED = ("placer_order_number", "filler_order_number", "accession_number", "study_instance_uid")


@dataclass(frozen=True, slots=True)
class Repeatable:
    """An open order that may be a duplicate, or have one: whose, of what and when (microseconds since 1970 UTC)."""

    order: ImagingOrder
    who: PatientId
    procedure: str
    scheduled_at: int


def repeatable(orders: Iterable[ImagingOrder], patients: Patients) -> list[Repeatable]:
    """The orders that can be a duplicate: those with patient, procedure and schedule that have not ended."""
    found = []
    for order in orders:
        if not order.identities or order.procedure is None or order.scheduled_at is None or order.is_parent:
            continue
        if order.status is not None and order.status.status in ENDED:
            continue
        event = order.procedure.event
        who = patients.survivor(order.identities[0])
        procedure = event.procedure_code or event.procedure_meaning
        found.append(Repeatable(order, who, procedure, order.scheduled_at))
    return found


def duplicates(orders: Sequence[Repeatable]) -> dict[str, ImagingOrder]:
    """Key of each duplicate to the earliest order it repeats."""
    if len(orders) < 2:
        return {}
    alike: dict[tuple[PatientId, str], list[Repeatable]] = {}
    for one in orders:
        alike.setdefault((one.who, one.procedure), []).append(one)
    found: dict[str, ImagingOrder] = {}
    for same in alike.values():
        if len(same) > 1:
            same.sort(key=_age)
            found.update(_repeats(same))
    return found


@dataclass(frozen=True, slots=True)
class _Slot:
    """Orders of about one time, the oldest first; `leading`: by number, how many of the first ones all have it."""

    orders: list[tuple[int, Repeatable, frozenset[str]]] = field(default_factory=list)
    leading: dict[str, int] = field(default_factory=dict)

    def add(self, age: int, one: Repeatable, numbers: frozenset[str]) -> None:
        for number in numbers:
            if self.leading.get(number, 0) == len(self.orders):
                self.leading[number] = len(self.orders) + 1
        self.orders.append((age, one, numbers))

    def oldest(self, one: Repeatable, numbers: frozenset[str]) -> tuple[int, ImagingOrder] | None:
        """The first order near in time with which `one` shares no number."""
        begin = max((self.leading.get(number, 0) for number in numbers), default=0)
        for age, other, theirs in islice(self.orders, begin, None):
            near = abs(one.scheduled_at - other.scheduled_at) <= one.order.rules.duplicate_us
            if near and numbers.isdisjoint(theirs):
                return age, other.order
        return None


def _repeats(orders: Iterable[Repeatable]) -> Iterator[tuple[str, ImagingOrder]]:
    """Of orders alike but for their schedule, the oldest first, those that repeat an older one, and which."""
    slots: dict[int, _Slot] = {}
    for age, one in enumerate(orders):
        slot = one.scheduled_at // (one.order.rules.duplicate_us + 1)
        numbers = _numbers(one.order)
        near = [slots[at].oldest(one, numbers) for at in (slot - 1, slot, slot + 1) if at in slots]
        found = [known for known in near if known is not None]
        if found:
            _, earlier = min(found, key=lambda known: known[0])
            yield one.order.key, earlier
        slots.setdefault(slot, _Slot()).add(age, one, numbers)


def _numbers(order: ImagingOrder) -> frozenset[str]:
    """Every number an order ever had: a renamed order is still the same."""
    said = ((name, getattr(fact.event, name)) for fact in order.facts for name in SHARED)
    return frozenset(f"{name}:{value}" for name, value in said if value)


def duplicate_keys(orders: Iterable[Repeatable]) -> Iterator[str]:
    """What joins a group with those that may hold a duplicate: `d:patient|procedure|day` of every open order,
    for each day on which a later one would repeat it."""
    for one in orders:
        first, last = one.scheduled_at, one.scheduled_at + one.order.rules.duplicate_us
        for day in range(first // DAY_US, last // DAY_US + 1):
            yield f"d:{one.who.value}|{_digest(one.procedure)}|{day}"


@lru_cache(maxsize=4096)
def _digest(procedure: str) -> str:
    return hashlib.sha256(procedure.encode()).hexdigest()[:16]


def number_of(order: ImagingOrder) -> str:
    """What an order is called: its filler number, else its placer number, else its accession, else its key."""
    names = ("filler_order_number", "placer_order_number", "accession_number")
    return next((value for name in names if (value := order.value(name))), order.key)


def _age(one: Repeatable) -> tuple[object, ...]:
    """What says which of two orders came first."""
    return one.order.facts[0].version, one.order.key


def first_seen_at(orders: Sequence[ImagingOrder]) -> int:
    """When all of these orders had been heard of, microseconds since 1970 UTC."""
    return max(min(f.event.received_at for f in order.facts) for order in orders)
