"""One simulated day for all tests that only look at it."""

from datetime import date
from functools import cache

from dosestream.simulate.day import Day, plan

BASE = date(2026, 3, 14)


@cache
def day_one() -> Day:
    """The day of seed 1."""
    return plan(1, BASE)
