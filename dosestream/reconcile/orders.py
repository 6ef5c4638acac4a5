"""Order messages to orders: identity found gradually, one row per accession or requested procedure.

A row without accession joins the row that gets one. An XO with another accession for the same requested
procedure renames its row; any other message with another accession makes a new row.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

from dosestream.events.records import Appointment, Order
from dosestream.reconcile import appointments, presence
from dosestream.reconcile.appointments import Booking, bookings
from dosestream.reconcile.bonds import Bond
from dosestream.reconcile.components import Components
from dosestream.reconcile.facts import OrderFact, OrderNumber
from dosestream.reconcile.identity import PatientId, hl7_identities
from dosestream.reconcile.lazy import lazy
from dosestream.reconcile.modality import family
from dosestream.reconcile.presence import Presence
from dosestream.reconcile.replacement import removals
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.standing import Held, Word, held, standing, words_of
from dosestream.reconcile.status import PROGRESS
from dosestream.reconcile.version import ABSENT

CLEARED = '""'
VERSION = attrgetter("version")
# Control codes with which an order begins: their ORC-9 is when it was ordered.
BEGINS = frozenset({"NW", "SN", "PA", "CH", "RO"})
PARENT, CHILD = "PA", "CH"


class Found(NamedTuple):
    """A field's value and the message first received that said it: what the evidence cites, so that a message
    that repeats a value changes no row."""

    value: str
    fact: OrderFact


@dataclass(frozen=True)
class ImagingOrder:
    """One procedure that was ordered: all that was said of it, and when its patient came.

    Attributes:
        facts: its messages, the oldest first.
        rules: the site's configuration.
        presences: when its patient came.
        bookings: what appointments say of it.
        removed: full replacements that left it out.
        performed: what performed steps say of its status.
        nth: which of several rows that are known by the same numbers, from 1.
    """

    facts: tuple[OrderFact, ...]
    rules: Rules
    presences: tuple[Presence, ...] = ()
    moves: tuple[Bond, ...] = ()
    bookings: tuple[Booking, ...] = ()
    removed: tuple[Word, ...] = ()
    performed: tuple[Word, ...] = ()
    nth: int = 1

    def _newest(self, wanted: Callable[[OrderFact], object]) -> OrderFact | None:
        return next((f for f in reversed(self.facts) if wanted(f)), None)

    @lazy
    def _values(self) -> dict[str, str | None]:
        """What was looked up already: links ask for the same few fields again and again."""
        return {}

    def value(self, name: str) -> str | None:
        """The newest value of a text field, None where nothing was said or the newest word clears it."""
        known = self._values
        if name not in known:
            said = ""
            for fact in reversed(self.facts):
                if said := getattr(fact.event, name):
                    break
            known[name] = said if said and said != CLEARED else None
        return known[name]

    def field(self, name: str) -> Found | None:
        """The newest value of a text field and who said it first."""
        value = self.value(name)
        if value is None:
            return None
        for fact in self._received:
            if getattr(fact.event, name) == value:
                break
        return Found(value, fact)

    @lazy
    def _received(self) -> list[OrderFact]:
        """Its messages by first receipt."""
        return sorted(self.facts, key=lambda f: (f.event.received_at, f.event.event_id))

    def first(self, wanted: Callable[[OrderFact], object]) -> OrderFact:
        """The message first received of those that say it; some must."""
        return next(f for f in self._received if wanted(f))

    @lazy
    def procedure(self) -> OrderFact | None:
        """The newest message that names the procedure; code, scheme and meaning belong together."""
        fact = self._newest(lambda f: f.event.procedure_code or f.event.procedure_meaning)
        return None if fact is None or fact.event.procedure_code == CLEARED else fact

    @lazy
    def status(self) -> Held | None:
        """The status that holds, of all that messages, appointments, performed steps and the patient's arrivals
        say."""
        return held([*self.words, *self.moving])

    @property
    def words(self) -> list[Word]:
        """What its messages and performed steps say of its status."""
        return [*words_of(self.standing), *self.performed]

    @property
    def moving(self) -> list[Word]:
        """What else moves its status: full replacements, appointments, the patient's arrivals."""
        words = [*self.removed, *appointments.words(self.bookings)]
        if self.presences:
            visit, window_us = self.value("visit_number"), self.rules.window_us
            words += presence.words(self.presences, visit, self.scheduled_at, window_us)
        return words

    @lazy
    def standing(self) -> list[OrderFact]:
        """Its messages that say a status, the oldest first, without the requests that were refused later."""
        return standing(self.facts)

    @lazy
    def progress(self) -> int | None:
        """How far it ever got (rank of `status.PROGRESS`), None where no status was ever said."""
        said = [f.status for f in self.facts if f.status] + ([self.status.status] if self.status else [])
        return max((PROGRESS.get(status, 0) for status in said), default=None)

    @lazy
    def is_parent(self) -> bool:
        """Whether it was split into child orders (ORC-1 PA): the children are performed, not it."""
        codes = [f.event.control_code for f in self.facts]
        return PARENT in codes and CHILD not in codes

    @lazy
    def scheduled_at(self) -> int | None:
        """When it is scheduled, microseconds since 1970 UTC: the newest word of orders and appointments."""
        fact = self._newest(lambda f: f.event.scheduled_at is not None or f.event.scheduled_cleared)
        if self.bookings:
            timed = [b for b in self.bookings if b.scheduled_at is not None]
            booked = max(timed, key=VERSION, default=None)
            if booked is not None and (fact is None or booked.version > fact.version):
                return booked.scheduled_at
        return None if fact is None else fact.event.scheduled_at

    @lazy
    def ordered_at(self) -> int | None:
        """When it was ordered: as the newest message that began it says, else as the oldest that has a time."""
        began = self._newest(lambda f: f.event.ordered_at is not None and f.event.control_code in BEGINS)
        if began is None:
            began = next((f for f in self.facts if f.event.ordered_at is not None), None)
        return None if began is None else began.event.ordered_at

    @lazy
    def when(self) -> int | None:
        """When it is about: its schedule, else when it was ordered, else the newest message's own time."""
        for known in (self.scheduled_at, self.ordered_at):
            if known is not None:
                return known
        at = max(f.version.precedence.event_time for f in self.facts)
        return None if at == ABSENT else at

    @lazy
    def modality_family(self) -> str | None:
        """The modality as the window sees it."""
        return family(self.value("modality"))

    @lazy
    def _named(self) -> tuple[OrderFact | None, tuple[PatientId, ...]]:
        """The newest message that names a patient, and whom it names."""
        for fact in reversed(self.facts):
            if found := hl7_identities(self.rules, fact.event.source, fact.event.patient):
                return fact, found
        return None, ()

    @property
    def patient(self) -> OrderFact | None:
        """The newest message that names a patient."""
        return self._named[0]

    @lazy
    def identities(self) -> tuple[PatientId, ...]:
        """The patient's identities as that message names them, the first one leading; before them the one to
        whom its visit was moved since."""
        named = self._named[1]
        return (self.moves[-1].target, *named) if self.moves else named

    @lazy
    def key(self) -> str:
        """Identity of the row: what it is known by, the accession first."""
        names = ("accession_number", "requested_procedure_id", "placer_order_number", "filler_order_number")
        known = [f"{name}={value}" for name in (*names, "study_instance_uid") if (value := self.value(name))]
        return "|".join(known) + (f"#{self.nth}" if self.nth > 1 else "")


def imaging_orders(
    facts: Iterable[OrderFact], rules: Rules, appointed: Iterable[Appointment] = ()
) -> tuple[ImagingOrder, ...]:
    """The rows of a group's order messages, moved by its appointments."""
    ordered = sorted(facts, key=VERSION)
    orders = [_rows(order) for order in _orders([f for f in ordered if f.numbers])]
    rows = [row for order in orders for row in order]
    loose = [f for f in ordered if not f.numbers]
    spoken = [(fact, [row for row in rows if _names(row, fact, rules)]) for fact in loose]
    alone: dict[tuple[str, str], list[OrderFact]] = {}
    for fact, joined in spoken:
        for row in joined:
            row.append(fact)
        if not joined:
            alone.setdefault(_loose_key(fact.event, rules), []).append(fact)
    built = [
        ImagingOrder(tuple(sorted(row, key=VERSION)), rules, removed=removed)
        for order in orders
        for row, removed in zip(order, removals(order), strict=True)
    ]
    built += [
        ImagingOrder(tuple(sorted(use, key=VERSION)), rules)
        for row in alone.values()
        for use in _uses(row, rules.accession_us)
    ]
    return _apart(_booked(built, bookings(appointed, rules)))


def _uses(facts: Sequence[OrderFact], plausible_us: int) -> list[list[OrderFact]]:
    """Messages known by one recycled number, apart where more than the plausible period lies between."""
    uses: list[list[OrderFact]] = []
    for fact in sorted(facts, key=lambda f: (_about(f), f.version)):
        if uses and _about(fact) - _about(uses[-1][-1]) <= plausible_us:
            uses[-1].append(fact)
        else:
            uses.append([fact])
    return uses


def _about(fact: OrderFact) -> int:
    """The time a message is about: its schedule, when it was ordered, its own time, its receipt."""
    event = fact.event
    for known in (event.scheduled_at, event.ordered_at):
        if known is not None:
            return known
    at = fact.version.precedence.event_time
    return event.received_at if at == ABSENT else at


def _apart(orders: Iterable[ImagingOrder]) -> tuple[ImagingOrder, ...]:
    """The rows by key; those known by the same numbers (other issuers, recycled) are numbered by their age."""
    by_key: dict[str, list[ImagingOrder]] = {}
    for order in orders:
        by_key.setdefault(order.key, []).append(order)
    out = []
    for _, same in sorted(by_key.items()):
        same.sort(key=lambda order: order.facts[0].version)
        out += [order if nth == 1 else replace(order, nth=nth) for nth, order in enumerate(same, 1)]
    return tuple(out)


def _booked(
    orders: Iterable[ImagingOrder], booked: Sequence[tuple[Booking, frozenset[str]]]
) -> Iterator[ImagingOrder]:
    """The orders with the appointments that name them."""
    if not booked:
        yield from orders
        return
    for order in orders:
        names = (("p", "placer_order_number"), ("f", "filler_order_number"), ("a", "accession_number"))
        known = {f"{kind}:{value}" for kind, name in names if (value := order.value(name))}
        own = [booking for booking, numbers in booked if _meant(order, booking, known & numbers)]
        yield replace(order, bookings=tuple(sorted(own, key=lambda b: b.version))) if own else order


def _meant(order: ImagingOrder, booking: Booking, shared: set[str]) -> bool:
    """Whether an appointment means an order with which it shares these numbers."""
    if not shared or any(not key.startswith("a:") for key in shared):
        return bool(shared)
    at = booking.scheduled_at if booking.scheduled_at is not None else booking.event.received_at
    return order.when is None or abs(order.when - at) <= order.rules.accession_us


def _loose_key(event: Order, rules: Rules) -> tuple[str, str]:
    for name in ("accession_number", "study_instance_uid", "requested_procedure_id"):
        value: str = getattr(event, name)
        if not rules.stands_for_nobody(value):
            return name, value
    return "event_id", event.event_id


def _names(row: Sequence[OrderFact], fact: OrderFact, rules: Rules) -> bool:
    """Whether a message without order numbers speaks of this row: by its accession within the plausible period,
    or its study UID. A requested procedure id connects no groups, so it is no order's name either."""
    name, value = _loose_key(fact.event, rules)
    said = [other for other in row if getattr(other.event, name) == value]
    if name == "accession_number":
        return any(abs(_about(other) - _about(fact)) <= rules.accession_us for other in said)
    return name == "study_instance_uid" and bool(said)


def _orders(facts: Sequence[OrderFact]) -> list[list[OrderFact]]:
    """Messages by order: joined by placer or filler number, an absent issuer being any issuer's."""
    # Nearly always all of them name one number.
    if facts and set(facts[0].numbers).intersection(*(f.numbers for f in facts)):
        return [list(facts)]
    issuers: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        for kind, number, issuer in fact.numbers:
            issuers.setdefault((kind, number), set()).update({issuer} - {""})

    def node(named: OrderNumber) -> OrderNumber:
        kind, number, issuer = named
        return kind, number, issuer or min(issuers[kind, number], default="")

    joined: Components[OrderNumber] = Components()
    for fact in facts:
        joined.join(node(number) for number in fact.numbers)
    orders: dict[OrderNumber, list[OrderFact]] = {}
    for fact in facts:
        orders.setdefault(joined.find(node(fact.numbers[0])), []).append(fact)
    return list(orders.values())


def _procedure(event: Order) -> tuple[str, str] | None:
    """What names the procedure within an order: requested procedure id, else step id."""
    if event.requested_procedure_id:
        return "r", event.requested_procedure_id
    return ("s", event.scheduled_step_id) if event.scheduled_step_id else None


def _rows(facts: Sequence[OrderFact]) -> list[list[OrderFact]]:
    """One order's messages (oldest first) by row; what names no row speaks of every row."""
    # Nearly always they all name one procedure, and alike.
    said = {(f.event.accession_number, _procedure(f.event)) for f in facts}
    if len(said - {("", None)}) < 2:
        return [list(facts)]
    rows: Components[tuple[str, str]] = Components()
    accessions_of: dict[tuple[str, str], list[tuple[str, str]]] = {}
    seen: list[tuple[str, str]] = []
    for fact in facts:
        event, procedure = fact.event, _procedure(fact.event)
        if not event.accession_number:
            continue
        accession = ("a", event.accession_number)
        if event.control_code == "XO":
            roots = {rows.find(one) for one in seen}
            renamed = accessions_of.get(procedure, []) if procedure else (seen if len(roots) == 1 else [])
            rows.join([accession, *renamed])
        if procedure:
            accessions_of.setdefault(procedure, []).append(accession)
        seen.append(accession)
    without = {p for f in facts if not f.event.accession_number and (p := _procedure(f.event))}
    nameless = [a for a in dict.fromkeys(seen) if not any(a in pairs for pairs in accessions_of.values())]
    for procedure in sorted(without):
        if procedure in accessions_of:
            rows.join([accessions_of[procedure][-1], procedure])
        elif len(without) == 1 and len({rows.find(a) for a in seen}) == 1 and nameless:
            rows.join([nameless[0], procedure])
    by_row: dict[tuple[str, str], list[OrderFact]] = {}
    everywhere: list[OrderFact] = []
    for fact in facts:
        event = fact.event
        name = ("a", event.accession_number) if event.accession_number else _procedure(event)
        if name is None:
            everywhere.append(fact)
        else:
            by_row.setdefault(rows.find(name), []).append(fact)
    if not by_row:
        return [everywhere]
    return [row + everywhere for row in by_row.values()]
