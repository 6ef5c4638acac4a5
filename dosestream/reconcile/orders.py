"""Order messages to orders: identity found gradually, one row per accession or requested procedure.

A row without accession joins the row that gets one. An XO with another accession for the same requested
procedure renames its row; any other message with another accession makes a new row.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from dosestream.events.records import Order
from dosestream.reconcile.components import Components
from dosestream.reconcile.facts import OrderFact
from dosestream.reconcile.identity import PatientId, hl7_identities
from dosestream.reconcile.modality import family
from dosestream.reconcile.presence import PATH as PRESENCE_PATH
from dosestream.reconcile.presence import Held, Presence, held_status
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.version import ABSENT

CLEARED = '""'
# Control codes with which an order begins: their ORC-9 is when it was ordered.
BEGINS = frozenset({"NW", "SN", "PA", "CH", "RO"})


class Found(NamedTuple):
    """A field's value and the message first received that said it: what the evidence cites, so that a message
    that repeats a value changes no row."""

    value: str
    fact: OrderFact


@dataclass(frozen=True)
class ImagingOrder:
    """One procedure that was ordered: all that was said of it, and when its patient came."""

    facts: tuple[OrderFact, ...]
    rules: Rules
    presences: tuple[Presence, ...] = ()

    def _newest(self, wanted: Callable[[OrderFact], object]) -> OrderFact | None:
        return max((f for f in self.facts if wanted(f)), key=lambda f: f.version, default=None)

    def field(self, name: str) -> Found | None:
        """The newest value of a text field, None where nothing was said or the newest word clears it."""
        fact = self._newest(lambda f: getattr(f.event, name))
        if fact is None or getattr(fact.event, name) == CLEARED:
            return None
        value = getattr(fact.event, name)
        return Found(value, self.first(lambda f: getattr(f.event, name) == value))

    def first(self, wanted: Callable[[OrderFact], object]) -> OrderFact:
        """The message first received of those that say it; some must."""
        return min(
            (f for f in self.facts if wanted(f)), key=lambda f: (f.event.received_at, f.event.event_id)
        )

    def value(self, name: str) -> str | None:
        """The newest value of a text field."""
        found = self.field(name)
        return None if found is None else found.value

    @cached_property
    def procedure(self) -> OrderFact | None:
        """The newest message that names the procedure; code, scheme and meaning belong together."""
        fact = self._newest(lambda f: f.event.procedure_code or f.event.procedure_meaning)
        return None if fact is None or fact.event.procedure_code == CLEARED else fact

    @cached_property
    def status(self) -> Held | None:
        """The status that holds: the newest that a message asked for, or the patient's arrival."""
        said = [
            Held(f.status, f.version, f.event.control_id, "ORC-1, ORC-5", f.event.received_at)
            for f in self.facts
            if f.status
        ]
        held = held_status(
            said, self.presences, self.value("visit_number"), self.scheduled_at, self.rules.window_us
        )
        if held is None or held.path == PRESENCE_PATH:
            return held
        first = self.first(lambda f: f.status == held.status).event
        return held._replace(control_id=first.control_id, first_received_at=first.received_at)

    @cached_property
    def scheduled_at(self) -> int | None:
        """When it is scheduled, microseconds since 1970 UTC."""
        fact = self._newest(lambda f: f.event.scheduled_at is not None or f.event.scheduled_cleared)
        return None if fact is None else fact.event.scheduled_at

    @cached_property
    def ordered_at(self) -> int | None:
        """When it was ordered: as the newest message that began it says, else as the oldest that has a time."""
        began = self._newest(lambda f: f.event.ordered_at is not None and f.event.control_code in BEGINS)
        if began is None:
            timed = [f for f in self.facts if f.event.ordered_at is not None]
            began = min(timed, key=lambda f: f.version, default=None)
        return None if began is None else began.event.ordered_at

    @cached_property
    def when(self) -> int | None:
        """When it is about: its schedule, else when it was ordered, else the newest message's own time."""
        for known in (self.scheduled_at, self.ordered_at):
            if known is not None:
                return known
        at = max(f.version.precedence.event_time for f in self.facts)
        return None if at == ABSENT else at

    @cached_property
    def modality_family(self) -> str | None:
        """The modality as the window sees it."""
        return family(self.value("modality"))

    @cached_property
    def patient(self) -> OrderFact | None:
        """The newest message that names a patient."""
        return self._newest(lambda f: self.identities_of(f.event))

    @cached_property
    def identities(self) -> tuple[PatientId, ...]:
        """The patient's identities as that message names them, the first one leading."""
        return () if self.patient is None else self.identities_of(self.patient.event)

    def identities_of(self, event: Order) -> tuple[PatientId, ...]:
        """The identities a message names."""
        return hl7_identities(self.rules, event.source, event.patient)

    @cached_property
    def key(self) -> str:
        """Identity of the row: what it is known by, the accession first."""
        names = ("accession_number", "requested_procedure_id", "placer_order_number", "filler_order_number")
        known = [f"{name}={value}" for name in (*names, "study_instance_uid") if (value := self.value(name))]
        return "|".join(known)


def imaging_orders(facts: Iterable[OrderFact], rules: Rules) -> tuple[ImagingOrder, ...]:
    """The rows of a group's order messages."""
    ordered = sorted(facts, key=lambda f: f.version)
    numbered = [f for f in ordered if f.event.placer_order_number or f.event.filler_order_number]
    loose = [f for f in ordered if not (f.event.placer_order_number or f.event.filler_order_number)]
    rows = [row for order in _orders(numbered) for row in _rows(order)]
    alone: dict[tuple[str, str], list[OrderFact]] = {}
    for fact in loose:
        joined = [row for row in rows if _names(row, fact)]
        for row in joined:
            row.append(fact)
        if not joined:
            alone.setdefault(_loose_key(fact.event), []).append(fact)
    rows += alone.values()
    built = [ImagingOrder(tuple(sorted(row, key=lambda f: f.version)), rules) for row in rows]
    return tuple(sorted(built, key=lambda order: order.key))


def _loose_key(event: Order) -> tuple[str, str]:
    for name in ("accession_number", "study_instance_uid", "requested_procedure_id"):
        if value := getattr(event, name):
            return name, value
    return "event_id", event.event_id


def _names(row: Sequence[OrderFact], fact: OrderFact) -> bool:
    """Whether a message without order numbers speaks of this row."""
    name, value = _loose_key(fact.event)
    return any(getattr(other.event, name) == value for other in row)


def _orders(facts: Sequence[OrderFact]) -> list[list[OrderFact]]:
    """Messages by order: joined by placer or filler number, an absent issuer being any issuer's."""
    issuers: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        for kind, number, issuer in _numbers(fact.event):
            issuers.setdefault((kind, number), set()).update({issuer} - {""})

    def node(kind: str, number: str, issuer: str) -> tuple[str, str, str]:
        return kind, number, issuer or min(issuers[kind, number], default="")

    joined: Components[tuple[str, str, str]] = Components()
    for fact in facts:
        joined.join(node(*number) for number in _numbers(fact.event))
    orders: dict[tuple[str, str, str], list[OrderFact]] = {}
    for fact in facts:
        orders.setdefault(joined.find(node(*_numbers(fact.event)[0])), []).append(fact)
    return list(orders.values())


def _numbers(event: Order) -> list[tuple[str, str, str]]:
    named = (
        ("p", event.placer_order_number, event.placer_issuer),
        ("f", event.filler_order_number, event.filler_issuer),
    )
    return [(kind, number, issuer) for kind, number, issuer in named if number]


def _procedure(event: Order) -> tuple[str, str] | None:
    """What names the procedure within an order: requested procedure id, else step id."""
    if event.requested_procedure_id:
        return "r", event.requested_procedure_id
    return ("s", event.scheduled_step_id) if event.scheduled_step_id else None


def _rows(facts: Sequence[OrderFact]) -> list[list[OrderFact]]:
    """One order's messages (oldest first) by row; what names no row speaks of every row."""
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
