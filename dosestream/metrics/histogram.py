"""A histogram of plain integers: cheap enough for every message, also in memory that two processes share."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, MutableSequence, Sequence
from typing import Final

# Upper bounds in seconds.
Bounds = tuple[float, ...]
ANSWER: Final[Bounds] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROW: Final[Bounds] = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


class Histogram:
    """Counts by upper bound. One thread observes; any may read, and sees numbers that only ever grew."""

    __slots__ = ("_bounds", "_cells")

    def __init__(self, bounds: Sequence[float], cells: MutableSequence[int] | None = None) -> None:
        """`cells` has `cells_of(bounds)` integers, zero at first: its own where none are given."""
        self._bounds = tuple(bounds)
        self._cells = [0] * cells_of(bounds) if cells is None else cells

    def observe(self, seconds: float) -> None:
        """One more."""
        cells = self._cells
        cells[bisect_left(self._bounds, seconds)] += 1
        cells[-1] += int(seconds * 1_000_000)

    def observe_all(self, seconds: Iterable[float]) -> None:
        """Several more: shared memory is written once a bound."""
        found = list(seconds)
        cells, bounds = self._cells, self._bounds
        for index, count in Counter([bisect_left(bounds, one) for one in found]).items():
            cells[index] += count
        cells[-1] += sum(int(one * 1_000_000) for one in found)

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Pairs of upper bound and how many lie at or below it, the last `+Inf`; and the sum in seconds."""
        *counts, micros = list(self._cells)
        found, so_far = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found, micros / 1_000_000


def cells_of(bounds: Sequence[float]) -> int:
    """How many integers a histogram of these bounds takes: one a bound, one beyond, the sum in microseconds."""
    return len(bounds) + 2
