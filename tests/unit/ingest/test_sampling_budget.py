"""How many messages the sample may check, and when."""

import asyncio

import pytest

from dosestream.settings import ConformanceSettings
from services.ingest.sampling import Sampling


class Clock:
    """The loop's clock, turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("per_minute", "at_once", "in_a_minute_more"), [(30, 3, 30), (1000, 100, 1000), (5, 1, 5), (0, 0, 0)]
)
def test_a_flood_spends_a_tenth_of_the_minutes_budget_and_then_as_it_comes_in(
    per_minute: int, at_once: int, in_a_minute_more: int
) -> None:
    async def flood() -> tuple[int, int]:
        sampling = Sampling(
            ConformanceSettings(sample="1/1", per_minute=per_minute), asyncio.get_running_loop()
        )
        clock = Clock()
        sampling._loop = clock  # type: ignore[assignment]
        first = sum(sampling._has_budget() for _ in range(500))
        more = 0
        for _ in range(6000):
            clock.now += 0.01
            more += sampling._has_budget()
        return first, more

    first, more = asyncio.run(flood())
    assert first == at_once
    assert abs(more - in_a_minute_more) <= 1
