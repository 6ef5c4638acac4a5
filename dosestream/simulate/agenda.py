"""What is still to happen: stories that wait for their next moment, taken up in the order of time."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

# A story: it yields the time of its next act (microseconds since 1970 UTC) and acts when it is taken up again.
Acts = Iterator[int]


@dataclass(slots=True)
class Agenda:
    """Stories by the time of their next act; of equal times the one that was entered first."""

    waiting: list[tuple[int, int, Acts]] = field(default_factory=list)
    entered: int = 0

    def enter(self, story: Acts) -> None:
        """A story begins: it says when its first act is."""
        at = next(story, None)
        if at is not None:
            self.entered += 1
            heapq.heappush(self.waiting, (at, self.entered, story))

    def run(self, until: int) -> None:
        """Everything that happens before `until`; what is later never happens."""
        while self.waiting and self.waiting[0][0] < until:
            _, _, story = heapq.heappop(self.waiting)
            self.enter(story)
