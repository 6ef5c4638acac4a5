"""Fold state by entity: what is kept of facts before they may expire.

The law: `derive(snapshot(F) + G) = derive(F + G)` for every later G, un-merge and unlink included. So a snapshot
holds no rows and no outcome, only what can still decide one:

- of a patient the fold of each field, and every bond, also one that does not hold now: a later word may change
  which holds;
- of orders, appointments, studies, reports and decisions every message once, with its first receipt. Nothing more is
  dropped: a value superseded today is looked up again when its XO turns out to rename another row, when a
  decision is withdrawn, as the first receipt of a value that comes back, or when a repeat with an earlier
  receipt decides a tie; and an identifier named once goes on joining its group.

Joining two snapshots is commutative, associative and idempotent. A record is JSON, one an entity.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from dosestream.events.records import CLASSES, Appointment, Decision, Order, Patient, Report, Study
from dosestream.reconcile.appointments import appointment_keys
from dosestream.reconcile.bonds import Bond, Kind, bonds_of
from dosestream.reconcile.decisions import decision_keys
from dosestream.reconcile.facts import order_keys
from dosestream.reconcile.fold import Fold, Rank, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.patients import demographics_of
from dosestream.reconcile.reports import report_keys
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.version import Precedence, Version

Fact = Order | Appointment | Study | Decision | Report
CLASS_NAME = {cls: name for name, cls in CLASSES.items()}


@dataclass(frozen=True)
class Snapshot:
    """Fold state.

    Attributes:
        folds: identity to what was said about it.
        bonds: every word about two patients, by its key.
        facts: order messages, appointments, reports, study arrivals and decisions, by event id.
    """

    folds: Mapping[PatientId, Fold] = field(default_factory=dict)
    bonds: Mapping[tuple[str, ...], Bond] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)


def snapshot(events: Iterable[Patient | Fact], rules: Rules) -> Snapshot:
    """The fold state of events, in any order, repeats allowed."""
    folds: dict[PatientId, Fold] = {}
    bonds: list[Bond] = []
    facts: list[Fact] = []
    for event in events:
        if isinstance(event, Patient | Order | Report):
            for identity, said in demographics_of(event, rules):
                folds[identity] = merge(folds.get(identity, {}), said)
        if isinstance(event, Patient | Decision):
            bonds += bonds_of(event, rules)
        if not isinstance(event, Patient):
            facts.append(event)
    return Snapshot(folds, _first_bonds(bonds), _once(facts))


def joined(one: Snapshot, other: Snapshot) -> Snapshot:
    """The fold state of both histories together."""
    folds = dict(one.folds)
    for identity, said in other.folds.items():
        folds[identity] = merge(folds.get(identity, {}), said)
    return Snapshot(
        folds,
        _first_bonds((*one.bonds.values(), *other.bonds.values())),
        _once((*one.facts.values(), *other.facts.values())),
    )


def _first_bonds(bonds: Iterable[Bond]) -> dict[tuple[str, ...], Bond]:
    first: dict[tuple[str, ...], Bond] = {}
    for one in bonds:
        known = first.get(one.key)
        if known is None or one.version.received_at < known.version.received_at:
            first[one.key] = one
    return first


def _once(facts: Iterable[Fact]) -> dict[str, Fact]:
    """Facts once, with their first receipt."""
    first: dict[str, Fact] = {}
    for fact in facts:
        known = first.get(fact.event_id)
        if known is None or fact.received_at < known.received_at:
            first[fact.event_id] = fact
    return first


def records(state: Snapshot, rules: Rules) -> Iterator[tuple[str, bytes]]:
    """The snapshot as records of a compacted topic: entity and its state."""
    entities: dict[str, dict[str, list[Any]]] = {}

    def of(entity: str) -> dict[str, list[Any]]:
        return entities.setdefault(entity, {"folds": [], "bonds": [], "facts": []})

    for identity, fold in state.folds.items():
        of(_patient(identity))["folds"].append([identity, fold])
    for one in state.bonds.values():
        of(_patient(one.prior))["bonds"].append(one)
    for fact in state.facts.values():
        of(_entity(fact, rules))["facts"].append([CLASS_NAME[type(fact)], fact.to_datum()])
    for entity, parts in sorted(entities.items()):
        yield entity, orjson.dumps(parts, default=list, option=orjson.OPT_SORT_KEYS)


def _patient(identity: PatientId) -> str:
    return f"patient|{identity.authority}|{identity.value}"


def _entity(fact: Fact, rules: Rules) -> str:
    """What a fact is filed under: its study, else the first identifier it names, else itself."""
    if isinstance(fact, Study):
        return f"study|{fact.study_instance_uid}"
    if isinstance(fact, Order):
        keys = order_keys(fact, rules)
    elif isinstance(fact, Appointment):
        keys = appointment_keys(fact, rules)
    elif isinstance(fact, Report):
        keys = report_keys(fact, rules)
    else:
        keys = decision_keys(fact, rules)
    return f"{CLASS_NAME[type(fact)]}|{keys[0] if keys else fact.event_id}"


def read(values: Iterable[bytes]) -> Snapshot:
    """The snapshot of these records, of one or of several entities.

    Raises:
        ValueError: a record is no JSON of a snapshot.
    """
    folds: dict[PatientId, Fold] = {}
    bonds: list[Bond] = []
    facts: list[Fact] = []
    for value in values:
        parts = orjson.loads(value)
        try:
            for (authority, identifier), fold in parts["folds"]:
                identity = PatientId(authority, identifier)
                folds[identity] = merge(folds.get(identity, {}), fold)
            bonds += [_bond(one) for one in parts["bonds"]]
            facts += [CLASSES[name].from_datum(datum) for name, datum in parts["facts"]]  # type: ignore[misc]
        except (KeyError, TypeError) as error:
            raise ValueError(f"no snapshot record: {error!r}") from error
    return Snapshot(folds, _first_bonds(bonds), _once(facts))


def _bond(parts: list[Any]) -> Bond:
    prior, target, (precedence, received_at, event_id), control_id, kind, rank, *rest = parts
    version = Version(Precedence(*precedence), received_at, event_id)
    return Bond(PatientId(*prior), PatientId(*target), version, control_id, Kind(kind), Rank(rank), *rest)
