"""The laws, as statements about any reconciler; a test makes examples of them."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import orjson
from histories import IN_ORDER, RULES, Event, Plan
from memory import MemoryReconciler

from dosestream.events.codec import Codec
from dosestream.events.records import (
    Appointment,
    Clock,
    Decision,
    EntitySnapshot,
    Order,
    Patient,
    Report,
    SnapshotFact,
    Study,
)
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.snapshot import (
    CLASS_NAME,
    Fact,
    Snapshot,
    entities,
    entity_of,
    facts_of,
    keys_of,
)

Maker = Callable[[Rules], MemoryReconciler]
Taker = Callable[[Sequence[Patient | Order | Study | Appointment | Decision | Report], Rules], Snapshot]


CODEC = Codec()


def records_of(facts: Iterable[Fact]) -> list[bytes]:
    """Facts as records of the snapshot topic. The value may be of a later receipt."""
    kept = (
        (
            entity_of(fact, keys_of(fact, RULES)),
            SnapshotFact(
                event_id=fact.event_id,
                kind=CLASS_NAME[type(fact)],
                received_at=fact.received_at,
                value=CODEC.encode(replace(fact, received_at=fact.received_at + 1)),
            ),
        )
        for fact in facts
    )
    return [CODEC.encode(one) for one in entities(kept)]


def played(make: Maker, history: Sequence[Event], plan: Plan) -> Counter[bytes]:
    """The rows after a history was told by a plan."""
    reconciler = make(RULES)
    batches = plan.told(history)
    for batch, pause in zip(batches, plan.pauses(batches), strict=True):
        reconciler.apply(batch)
        if pause:
            reconciler.settle()
    reconciler.settle()
    return reconciler.all_rows()


def same(one: Counter[bytes], other: Counter[bytes]) -> None:
    """Two sets of rows are one; else what each has alone."""
    if one != other:
        alone = [*(f"- {row!r}" for row in one - other), *(f"+ {row!r}" for row in other - one)]
        raise AssertionError("\n".join(["the rows differ:", *alone]))


def telling_does_not_matter(make: Maker, history: Sequence[Event], plan: Plan) -> None:
    """Order, repeats, batches, partitions and crashes change no row."""
    same(played(make, history, IN_ORDER), played(make, history, plan))


def workers_do_not_matter(make: Maker, history: Sequence[Event], plan: Plan) -> None:
    """Two workers on different partitions, each with its batch at the same moment, change no row."""
    rng = random.Random(plan.seed)
    reconciler = make(RULES)
    batches = Plan(plan.seed, repeated=False, crashing=False, partitions=2, largest=plan.largest).told(
        history
    )
    for batch in batches:
        mine = {item.record.partition for item in batch if rng.random() < 0.5}
        one = [item for item in batch if item.record.partition in mine]
        other = [item for item in batch if item.record.partition not in mine]
        reconciler.apply_at_once(one, other)
    reconciler.settle()
    same(played(make, history, IN_ORDER), reconciler.all_rows())


def the_later_of_a_tie_holds(make: Maker, said: Sequence[Patient], plan: Plan) -> None:
    """Where one source's times tie, what was received later holds: a source's own order is kept."""
    newest = max(said, key=lambda event: event.received_at)
    found = [orjson.loads(row) for row in played(make, said, plan)]
    assert [row["patient_name"] for kind, row in found if kind == "PatientRow"] == [newest.patient.name]


def a_snapshot_and_what_follows_are_the_whole(
    make: Maker, take: Taker, history: Sequence[Event], plan: Plan
) -> None:
    """`derive(snapshot(F) + G) = derive(F + G)`: whatever is a snapshot's and whatever comes later, repeats of
    what the snapshot holds among it. Its facts go through the records of the topic."""
    # A snapshot keeps no first receipts of ADT messages.
    plan = replace(plan, ahead_again=False)
    told = [item.event for batch in plan.told(history) for item in batch if isinstance(item.event, Event)]
    cut = random.Random(plan.seed + 2).randint(0, len(told))
    before = [
        e for e in told[:cut] if isinstance(e, Patient | Order | Study | Appointment | Decision | Report)
    ]
    kept = take(before, RULES)
    read = facts_of((CODEC.decode(value, EntitySnapshot) for value in records_of(kept.facts.values())), CODEC)
    kept = replace(kept, facts={fact.event_id: fact for fact in read})
    reconciler = make(RULES)
    reconciler.restore(kept)
    later = [e for e in told[:cut] if isinstance(e, Clock)] + told[cut:]
    for batch in replace(plan, shuffled=False, repeated=False).told(later):
        reconciler.apply(batch)
    reconciler.settle()
    same(played(make, history, IN_ORDER), reconciler.all_rows())
