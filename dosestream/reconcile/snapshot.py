"""Fold state by entity: what is kept of facts before they may expire.

The law: `derive(snapshot(F) + G) = derive(F + G)` for every later G, un-merge and unlink included. So a snapshot
holds no rows and no outcome, only what can still decide one:

- of a patient the fold of each field, and every merge, also one that does not hold now: a later word may change
  which holds;
- of orders and decisions every message once, with its first receipt. Nothing more is dropped: a value superseded
  today is looked up again when its XO turns out to rename another row, when a decision is withdrawn, or as the
  first receipt of a value that comes back;
- of a study's instances the newest version; an older one of the same SOP instance only where it names an
  identifier that the newest does not, or where a repeat with an earlier receipt may yet decide between them.

Joining two snapshots is commutative, associative and idempotent. A record is JSON, one an entity.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from dosestream.events.records import CLASSES, Decision, Order, Patient, Study
from dosestream.reconcile.decisions import decision_keys
from dosestream.reconcile.facts import order_keys, study_fact, study_keys
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.merge import Merge
from dosestream.reconcile.patients import demographics_of, merges_of
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.version import Precedence, Version

Fact = Order | Study | Decision
CLASS_NAME = {cls: name for name, cls in CLASSES.items()}


@dataclass(frozen=True)
class Snapshot:
    """Fold state.

    Attributes:
        folds: identity to what was said about it.
        merges: every merge, by event and prior identity.
        facts: order messages, study arrivals and decisions, by event id.
    """

    folds: Mapping[PatientId, Fold] = field(default_factory=dict)
    merges: Mapping[tuple[str, PatientId], Merge] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)


def snapshot(events: Iterable[Patient | Fact], rules: Rules) -> Snapshot:
    """The fold state of events, in any order, repeats allowed."""
    folds: dict[PatientId, Fold] = {}
    merges: list[Merge] = []
    facts: list[Fact] = []
    for event in events:
        if isinstance(event, Patient | Order):
            for identity, said in demographics_of(event, rules):
                folds[identity] = merge(folds.get(identity, {}), said)
        if isinstance(event, Patient):
            merges += merges_of(event, rules)
        else:
            facts.append(event)
    return Snapshot(folds, _first_merges(merges), _needed(facts, rules))


def joined(one: Snapshot, other: Snapshot, rules: Rules) -> Snapshot:
    """The fold state of both histories together."""
    folds = dict(one.folds)
    for identity, said in other.folds.items():
        folds[identity] = merge(folds.get(identity, {}), said)
    return Snapshot(
        folds,
        _first_merges((*one.merges.values(), *other.merges.values())),
        _needed((*one.facts.values(), *other.facts.values()), rules),
    )


def _first_merges(merges: Iterable[Merge]) -> dict[tuple[str, PatientId], Merge]:
    first: dict[tuple[str, PatientId], Merge] = {}
    for one in merges:
        key = one.version.event_id, one.prior
        if key not in first or one.version.received_at < first[key].version.received_at:
            first[key] = one
    return first


def _needed(facts: Iterable[Fact], rules: Rules) -> dict[str, Fact]:
    """Facts once, with their first receipt, without superseded versions of instances."""
    first: dict[str, Fact] = {}
    for fact in facts:
        known = first.get(fact.event_id)
        if known is None or fact.received_at < known.received_at:
            first[fact.event_id] = fact
    newest: dict[tuple[str, str], Study] = {}
    for fact in first.values():
        if isinstance(fact, Study):
            key = fact.study_instance_uid, fact.sop_instance_uid
            known_study = newest.get(key)
            if (
                known_study is None
                or study_fact(fact, rules).version > study_fact(known_study, rules).version
            ):
                newest[key] = fact
    return {
        event_id: fact
        for event_id, fact in first.items()
        if not isinstance(fact, Study)
        or not _superseded(fact, newest[fact.study_instance_uid, fact.sop_instance_uid], rules)
    }


def _superseded(one: Study, newest: Study, rules: Rules) -> bool:
    """Whether an instance can never count again beside a newer version of it."""
    older, newer = study_fact(one, rules).version, study_fact(newest, rules).version
    ahead = any(t is not None and t > newest.received_at for t in (newest.event_time, newest.message_time))
    return (
        older.precedence < newer.precedence
        and not ahead
        and set(study_keys(one, rules)) <= set(study_keys(newest, rules))
    )


def records(state: Snapshot, rules: Rules) -> Iterator[tuple[str, bytes]]:
    """The snapshot as records of a compacted topic: entity and its state."""
    entities: dict[str, dict[str, list[Any]]] = {}

    def of(entity: str) -> dict[str, list[Any]]:
        return entities.setdefault(entity, {"folds": [], "merges": [], "facts": []})

    for identity, fold in state.folds.items():
        of(_patient(identity))["folds"].append([identity, fold])
    for one in state.merges.values():
        of(_patient(one.prior))["merges"].append(one)
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
    keys = order_keys(fact, rules) if isinstance(fact, Order) else decision_keys(fact, rules)
    return f"{CLASS_NAME[type(fact)]}|{keys[0] if keys else fact.event_id}"


def read(values: Iterable[bytes], rules: Rules) -> Snapshot:
    """The snapshot of these records, of one or of several entities.

    Raises:
        ValueError: a record is no JSON of a snapshot.
    """
    out = Snapshot()
    folds: dict[PatientId, Fold] = {}
    merges: list[Merge] = []
    facts: list[Fact] = []
    for value in values:
        parts = orjson.loads(value)
        try:
            for (authority, identifier), fold in parts["folds"]:
                identity = PatientId(authority, identifier)
                folds[identity] = merge(folds.get(identity, {}), fold)
            merges += [_merge(one) for one in parts["merges"]]
            facts += [CLASSES[name].from_datum(datum) for name, datum in parts["facts"]]  # type: ignore[misc]
        except (KeyError, TypeError) as error:
            raise ValueError(f"no snapshot record: {error!r}") from error
    return joined(out, Snapshot(folds, _first_merges(merges), {f.event_id: f for f in facts}), rules)


def _merge(parts: list[Any]) -> Merge:
    prior, target, (precedence, received_at, event_id), *rest = parts
    version = Version(Precedence(*precedence), received_at, event_id)
    return Merge(PatientId(*prior), PatientId(*target), version, *rest)
