"""Fold state by entity: what is kept of facts before they may expire.

The law: `derive(snapshot(F) + G) = derive(F + G)` for every later G, un-merge and unlink included. So a snapshot
holds no rows and no outcome, only what can still decide one:

- of a patient the fold of each field, and every bond, also one that does not hold now: a later word may change
  which holds;
- of orders, appointments, studies, reports and decisions every message once, with its first receipt. Nothing more is
  dropped: a value superseded today is looked up again when its XO turns out to rename another row, when a
  decision is withdrawn, as the first receipt of a value that comes back, or when a repeat with an earlier
  receipt decides a tie; and an identifier named once goes on joining its group.

Joining two snapshots is commutative, associative and idempotent. Of patients the folds and bonds stay in the dose
database; of facts the topic has one record an entity: the events as their topics hold them, with their first receipts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from dosestream.events.codec import Codec, MalformedRecordError
from dosestream.events.records import (
    CLASSES,
    Appointment,
    Decision,
    EntitySnapshot,
    Order,
    Patient,
    Report,
    SnapshotFact,
    Study,
)
from dosestream.reconcile.appointments import appointment_keys
from dosestream.reconcile.bonds import Bond, bonds_of
from dosestream.reconcile.decisions import decision_keys
from dosestream.reconcile.facts import order_keys, study_keys
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.patients import demographics_of
from dosestream.reconcile.reports import report_keys
from dosestream.reconcile.rules import Rules

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


def keys_of(fact: Fact, rules: Rules) -> list[str]:
    """The identifiers that connect a fact to its group; none where it names nothing."""
    if isinstance(fact, Study):
        return study_keys(fact, rules)
    if isinstance(fact, Order):
        return order_keys(fact, rules)
    if isinstance(fact, Appointment):
        return appointment_keys(fact, rules)
    if isinstance(fact, Report):
        return report_keys(fact, rules)
    return decision_keys(fact, rules)


def entity_of(fact: Fact, keys: list[str]) -> str:
    """What a fact is filed under: its study, else the first identifier it names, else itself. It never changes, so
    a later record of an entity takes the place of the one before it."""
    if isinstance(fact, Study):
        return f"study|{fact.study_instance_uid}"
    return f"{CLASS_NAME[type(fact)]}|{keys[0] if keys else fact.event_id}"


def entities(kept: Iterable[tuple[str, SnapshotFact]]) -> list[EntitySnapshot]:
    """Facts by the entities they are filed under, as records of the topic."""
    found: dict[str, list[SnapshotFact]] = {}
    for entity, fact in kept:
        found.setdefault(entity, []).append(fact)
    return [
        EntitySnapshot(entity=entity, facts=tuple(sorted(facts, key=lambda f: f.event_id)))
        for entity, facts in sorted(found.items())
    ]


def fact_of(kept: SnapshotFact, codec: Codec) -> Fact:
    """A fact as it was first heard.

    Raises:
        MalformedRecordError: it is none.
        UnknownSchemaError: it was written with a schema that is not known here.
    """
    cls = CLASSES.get(kept.kind)
    if cls is None or not issubclass(cls, Fact):
        raise MalformedRecordError(f"no kind of fact: {kept.kind!r}")
    fact = codec.decode(kept.value, cls)
    return fact if fact.received_at == kept.received_at else replace(fact, received_at=kept.received_at)


def facts_of(snapshots: Iterable[EntitySnapshot], codec: Codec) -> Iterator[Fact]:
    """The facts of entities; raises as `fact_of`."""
    return (fact_of(kept, codec) for one in snapshots for kept in one.facts)
