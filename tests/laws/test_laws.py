"""Whatever order the messages come in, however often, in whatever batches: the same rows."""

import law
import pytest
from histories import PLANS, Event, Plan, histories, tied_corrections
from hypothesis import HealthCheck, given, settings
from memory import MemoryReconciler

from dosestream.events.records import Patient
from dosestream.reconcile.snapshot import snapshot

CALM = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@given(histories(), PLANS)
@settings(max_examples=600, derandomize=True, **CALM)  # type: ignore[arg-type]
def test_order_repeats_batches_and_crashes_change_no_row(history: tuple[Event, ...], plan: Plan) -> None:
    law.telling_does_not_matter(MemoryReconciler, history, plan)


@given(histories(), PLANS)
@settings(max_examples=200, derandomize=True, **CALM)  # type: ignore[arg-type]
def test_two_workers_at_once_change_no_row(history: tuple[Event, ...], plan: Plan) -> None:
    law.workers_do_not_matter(MemoryReconciler, history, plan)


@given(tied_corrections(), PLANS)
@settings(max_examples=50, derandomize=True, **CALM)  # type: ignore[arg-type]
def test_of_a_sources_words_that_tie_the_later_received_holds(said: tuple[Patient, ...], plan: Plan) -> None:
    law.the_later_of_a_tie_holds(MemoryReconciler, said, plan)


@given(histories(), PLANS)
@settings(max_examples=400, derandomize=True, **CALM)  # type: ignore[arg-type]
def test_a_snapshot_stands_for_the_facts_it_was_taken_of(history: tuple[Event, ...], plan: Plan) -> None:
    law.a_snapshot_and_what_follows_are_the_whole(MemoryReconciler, snapshot, history, plan)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(histories(30), PLANS)
@settings(max_examples=5000, **CALM)  # type: ignore[arg-type]
def test_thousands_of_longer_histories_told_in_any_way_give_the_same_rows(
    history: tuple[Event, ...], plan: Plan
) -> None:
    law.telling_does_not_matter(MemoryReconciler, history, plan)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(histories(30), PLANS)
@settings(max_examples=3000, **CALM)  # type: ignore[arg-type]
def test_snapshots_of_thousands_of_histories_stand_for_their_facts(
    history: tuple[Event, ...], plan: Plan
) -> None:
    law.a_snapshot_and_what_follows_are_the_whole(MemoryReconciler, snapshot, history, plan)
