"""A drawn history through the real ports of a whole stack, as fast as it goes: the rows, against their truth."""

from datetime import UTC, datetime, timedelta

import pytest
from running_stack import RunningStack

from dosestream.simulate.history import OVER_DAYS, history
from dosestream.simulate.main import await_truth
from dosestream.simulate.play import Ports, play
from dosestream.simulate.score import score

BASE = datetime.now(UTC).date() - timedelta(days=OVER_DAYS)
PATIENCE_S = 120


@pytest.mark.parametrize("seed", [901])
def test_a_history_ends_with_its_truth(stack: RunningStack, seed: int) -> None:
    drawn = history(seed, BASE, days=1, sites=2, studies_a_day=12, compressed=True)
    played = play(drawn.timeline, Ports.of(stack.ready))
    assert played.surprises == ()
    lines = drawn.truth()
    assert await_truth(stack.ready["postgres"], lines, PATIENCE_S) == []
    assert score(stack.ready["postgres"], lines).wrong == ()
