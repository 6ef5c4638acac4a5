"""Facts let go for their snapshots at any moment change no row, and no later result: in memory."""

import random
from collections.abc import Callable

import pytest
from forgetful import Forgetful, HeardLater, KeepsOrdersOnly
from histories import IN_ORDER, PLANS, RULES, Event, Plan, histories
from hypothesis import HealthCheck, Phase, given, settings
from law import played, same
from memory import MemoryReconciler

from dosestream.reconcile.rules import Rules

CALM = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def forgetting_does_not_matter(
    make: Callable[[Rules], Forgetful], history: tuple[Event, ...], plan: Plan
) -> int:
    """A history told by a plan, with all that may go let go between batches; returns how many facts went."""
    rng = random.Random(plan.seed + 3)
    reconciler = make(RULES)
    batches = plan.told(history)
    for batch, pause in zip(batches, plan.pauses(batches), strict=True):
        reconciler.apply(batch)
        if pause:
            reconciler.settle()
        if rng.random() < 0.6:
            before = dict(reconciler.derived)
            reconciler.forget()
            assert reconciler.derived == before
    reconciler.settle()
    reconciler.recall_all()
    same(played(MemoryReconciler, history, IN_ORDER), reconciler.all_rows())
    return reconciler.forgotten


@given(histories(), PLANS)
@settings(max_examples=150, derandomize=True, **CALM)  # type: ignore[arg-type]
def test_forgetting_at_any_moment_changes_no_row_and_no_later_result(
    history: tuple[Event, ...], plan: Plan
) -> None:
    forgetting_does_not_matter(Forgetful, history, plan)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(histories(30), PLANS)
@settings(max_examples=3000, **CALM)  # type: ignore[arg-type]
def test_forgetting_changes_nothing_of_thousands_of_longer_histories(
    history: tuple[Event, ...], plan: Plan
) -> None:
    forgetting_does_not_matter(Forgetful, history, plan)


@pytest.mark.parametrize("broken", [KeepsOrdersOnly, HeardLater])
def test_a_reconciler_that_forgets_too_much_is_caught(broken: Callable[[Rules], Forgetful]) -> None:
    @given(histories(), PLANS)
    @settings(
        max_examples=150,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate],
        **CALM,  # type: ignore[arg-type]
    )
    def tried(history: tuple[Event, ...], plan: Plan) -> None:
        forgetting_does_not_matter(broken, history, plan)

    with pytest.raises(AssertionError):
        tried()
