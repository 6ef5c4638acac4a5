"""The laws bite: every reconciler that breaks a rule is caught by them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import broken
import law
import pytest
from histories import PLANS, STEPS, histories, tied_corrections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from law import Maker
from memory import MemoryReconciler

from dosestream.events.records import Appointment, Decision, Order, Patient, Report, Study
from dosestream.reconcile.facts import order_fact
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.snapshot import Snapshot, snapshot

CASES: tuple[tuple[Maker, Any, SearchStrategy[Any]], ...] = (
    (broken.LastMergeArrived, law.telling_does_not_matter, histories()),
    (broken.LastWordArrived, law.telling_does_not_matter, histories()),
    (broken.LateFactDropped, law.telling_does_not_matter, histories()),
    (broken.CancelRemoves, law.telling_does_not_matter, histories()),
    (broken.LastWordOfAStep, law.telling_does_not_matter, histories(themes=(STEPS,))),
    (broken.AmendedByProcessing, law.telling_does_not_matter, histories()),
    (broken.AlertSinceProcessing, law.telling_does_not_matter, histories()),
    (broken.StraddlingBatchSkipped, law.telling_does_not_matter, histories()),
    (broken.ChangeReachesNoStudy, law.telling_does_not_matter, histories()),
    (broken.PairUnlocked, law.workers_do_not_matter, histories()),
    (broken.HashBeforeReceipt, law.the_later_of_a_tie_holds, tied_corrections()),
)
FEW = settings(
    max_examples=300,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(("make", "holds", "told"), CASES, ids=lambda part: getattr(part, "__name__", "by"))
def test_a_reconciler_that_breaks_a_rule_is_caught(
    make: Maker, holds: Any, told: SearchStrategy[Any]
) -> None:
    @given(told, PLANS)
    @FEW
    def tried(history: Any, plan: Any) -> None:
        holds(make, history, plan)

    with pytest.raises(AssertionError):
        tried()


def only_the_newest_order_message(
    events: Sequence[Patient | Order | Study | Appointment | Decision | Report], rules: Rules
) -> Snapshot:
    """A snapshot that keeps of each order only its newest message."""
    kept = snapshot(events, rules)
    newest: dict[str, Order] = {}
    for fact in kept.facts.values():
        if isinstance(fact, Order):
            held = newest.setdefault(fact.placer_order_number, fact)
            if order_fact(fact, rules).version > order_fact(held, rules).version:
                newest[fact.placer_order_number] = fact
    facts = {k: f for k, f in kept.facts.items() if not isinstance(f, Order) or f in newest.values()}
    return replace(kept, facts=facts)


def test_a_snapshot_that_keeps_too_little_is_caught() -> None:
    @given(histories(), PLANS)
    @FEW
    def tried(history: Any, plan: Any) -> None:
        law.a_snapshot_and_what_follows_are_the_whole(
            MemoryReconciler, only_the_newest_order_message, history, plan
        )

    with pytest.raises(AssertionError):
        tried()
