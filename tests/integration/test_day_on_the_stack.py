"""The simulated hospital on the real stack: real ports, real broker, real database, and what can befall them.

Every test ends with exactly the rows of its truth.
"""

import contextlib
import gc
import itertools
import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from running_stack import RunningStack, wait_until

from dosestream.cli import watch
from dosestream.embedded.errors import StackError
from dosestream.simulate.compare import compare
from dosestream.simulate.day import Day, plan, scenario
from dosestream.simulate.main import await_truth
from dosestream.simulate.play import Played, Ports, play
from dosestream.simulate.scenarios import SCENARIOS
from dosestream.simulate.timeline import Step, doubled, shuffled
from dosestream.simulate.truth import Line

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

BASE = datetime.now(UTC).date()
# The stack is shared: every day and story has a seed, and so identifiers, of its own.
SEEDS = itertools.count(600)
# How long a sender tries again, and the database may take to come to rest.
PATIENCE_S = 90.0


def nothing_befalls(done: int) -> None:
    """The progress of an undisturbed day."""


def played_to_its_truth(
    stack: RunningStack,
    steps: Sequence[Step],
    lines: Sequence[Line],
    befalls: Callable[[int], None] = nothing_befalls,
    patience_s: float = 0.0,
) -> Played:
    """Play the steps, wait until every fact is applied, and hold the rows against the truth."""
    played = play(steps, Ports.of(stack.ready), patience_s, befalls)
    assert played.surprises == ()

    def at_rest() -> bool:
        try:
            return watch.behind(stack.ready["kafka"], stack.ready["postgres"]) == 0
        except StackError:
            return False

    wait_until(at_rest, "the ledger at the end of every topic", PATIENCE_S)
    await_truth(stack.ready["postgres"], lines, PATIENCE_S)
    wait_until(at_rest, "the ledger at the end of every topic", PATIENCE_S)
    assert compare(stack.ready["postgres"], lines) == []
    return played


def at(fractions: Sequence[float], total: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Acts when these fractions of the steps are done."""
    moments = {int(fraction * total) for fraction in fractions}

    def progress(done: int) -> None:
        if done in moments:
            act()

    return progress


def killed(stack: RunningStack, word: str, how: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Ends the process with this word in its arguments; the stream goes on meanwhile."""

    def kill() -> None:
        # One look each time: a process just started again may end once more before the next.
        found: list[int] = []

        def runs() -> bool:
            found[:] = filter(None, [stack.pid(word)])
            return bool(found)

        wait_until(runs, f"{word} runs")
        with contextlib.suppress(ProcessLookupError):
            os.kill(found[0], how)
        wait_until(lambda: stack.pid(word) != found[0], f"{word} is gone")

    return kill


@pytest.mark.parametrize(
    "name", ["order_then_study", "study_then_order", "update_after_both", "merge_before_both", "cancel"]
)
@pytest.mark.parametrize("mixed", [False, True], ids=["as sent", "shuffled"])
def test_a_story_ends_with_its_truth(stack: RunningStack, name: str, mixed: bool) -> None:
    day = scenario(name, next(SEEDS), BASE)
    played_to_its_truth(stack, shuffled(day.timeline, 3) if mixed else day.timeline, day.truth())


def test_every_story_at_once_shuffled_and_sent_twice(stack: RunningStack) -> None:
    days = [scenario(name, next(SEEDS), BASE) for name in SCENARIOS]
    steps = [step for day in days for step in day.timeline]
    lines = [line for day in days for line in day.truth()]
    played_to_its_truth(stack, shuffled(doubled(steps, 1), 2), lines)


@pytest.fixture
def day() -> Day:
    return plan(next(SEEDS), BASE)


def test_a_day_ends_with_its_truth(stack: RunningStack, day: Day) -> None:
    played = played_to_its_truth(stack, day.timeline, day.truth())
    assert sum(played.answers.values()) == len(day.timeline)


def test_a_shuffled_day_ends_with_its_truth(stack: RunningStack, day: Day) -> None:
    played_to_its_truth(stack, shuffled(day.timeline, 4), day.truth())


def test_a_day_played_again_changes_nothing(stack: RunningStack, day: Day) -> None:
    played_to_its_truth(stack, day.timeline, day.truth())
    played_to_its_truth(stack, shuffled(day.timeline, 8), day.truth())


# pynetdicom leaves the socket of a refused connection to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("word", ["reconciler", "ingest", "arrivals"])
def test_kill_9_of_a_service_in_mid_stream_loses_and_doubles_nothing(
    stack: RunningStack, day: Day, word: str
) -> None:
    steps = doubled(day.timeline, 5, share=0.2)
    befalls = at((0.2, 0.5, 0.8), len(steps), killed(stack, word))
    try:
        played_to_its_truth(stack, steps, day.truth(), befalls, PATIENCE_S)
    finally:
        gc.collect()


def test_kill_9_of_the_reconciler_after_the_last_record_loses_nothing(stack: RunningStack, day: Day) -> None:
    befalls = at((1.0,), len(day.timeline), killed(stack, "reconciler"))
    played_to_its_truth(stack, day.timeline, day.truth(), befalls)


def test_a_broker_restart_in_mid_stream_loses_nothing(stack: RunningStack, day: Day) -> None:
    befalls = at((0.4,), len(day.timeline), killed(stack, "kafka.Kafka"))
    played_to_its_truth(stack, day.timeline, day.truth(), befalls, PATIENCE_S)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["fast shutdown", "kill -9"])
def test_a_restart_of_the_database_in_mid_stream_loses_nothing(
    stack: RunningStack, day: Day, how: signal.Signals
) -> None:
    # No sender notices: what came meanwhile waits in Kafka.
    befalls = at((0.3, 0.7), len(day.timeline), killed(stack, "-D", how))
    played_to_its_truth(stack, day.timeline, day.truth(), befalls)
