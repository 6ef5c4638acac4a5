"""How far a process's own raw records have their events, without a word about each of them: pure.

A generation is the messages begun between two looks at the end of the raw topic. A message begun after a look
gets an offset at or above the ends seen then, so when every message of all generations before that look is
settled, no raw record of this process below those ends is without its events. Per message this costs a count.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

Ends = Mapping[int, int]


@dataclass(slots=True)
class _Generation:
    starts: Ends
    under_way: int = 0
    failed: set[str] = field(default_factory=set)

    @property
    def settled(self) -> bool:
        return not self.under_way and not self.failed


class Generations:
    """Not locked. `ends` is a partition's number to the offset after its last record, where all begins."""

    def __init__(self, ends: Ends) -> None:
        self._first = 0
        self._all = deque([_Generation(dict(ends))])

    def begin(self) -> int:
        """A message is about to be stored raw; returns its generation."""
        self._all[-1].under_way += 1
        return self._first + len(self._all) - 1

    def finished(self, generation: int) -> None:
        """Its raw record and everything made from it are in Kafka."""
        self._all[generation - self._first].under_way -= 1

    def failed(self, generation: int, content: str) -> None:
        """It is not known whether all of it is in Kafka; `content` finds its raw record, if there is one."""
        of = self._all[generation - self._first]
        of.under_way -= 1
        of.failed.add(content)

    def turn(self, ends: Ends) -> None:
        """The next generation begins; `ends` were seen just now."""
        self._all.append(_Generation(dict(ends)))
        while len(self._all) > 1 and self._all[0].settled:
            self._all.popleft()
            self._first += 1

    def marks(self) -> Ends:
        """Partition to the offset below which every raw record of this process has its events."""
        starts = self._all[0].starts
        return {partition: starts.get(partition, 0) for partition in self._all[-1].starts}

    def doubtful(self) -> tuple[Ends, dict[int, frozenset[str]]]:
        """Where the raw records of failed messages may begin, and the failed contents of each generation."""
        failed = {
            self._first + n: frozenset(generation.failed)
            for n, generation in enumerate(self._all)
            if generation.failed
        }
        oldest = min(failed, default=self._first)
        starts = self._all[oldest - self._first].starts
        return {p: starts.get(p, 0) for p in self._all[-1].starts}, failed

    def mended(self, failed: Mapping[int, frozenset[str]]) -> None:
        """What `doubtful` named was looked for up to the end, and normalised where it was there."""
        for generation, contents in failed.items():
            self._all[generation - self._first].failed -= contents
