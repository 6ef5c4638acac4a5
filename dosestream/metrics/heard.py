"""What a listener heard and answered, as plain integers: the only part of metrics on the way of a message."""

from typing import Final

from dosestream.metrics.histogram import ANSWER, Histogram

# Senders choose their names and types: beyond so many together they count as one.
MOST: Final = 2000
LONGEST: Final = 64

Key = tuple[str, str, str]


class Heard:
    """Counts by source, type and answer, and how long the answers took. For one thread, or under a lock."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts: dict[Key, int] = {}
        self.seconds = Histogram(ANSWER)

    def add(self, source: str, kind: str, answer: str, seconds: float | None) -> None:
        """One message was answered, after so long where that is known."""
        key = (source, kind, answer)
        counts = self.counts
        if key in counts:
            counts[key] += 1
        else:
            self._first(key)
        if seconds is not None:
            self.seconds.observe(seconds)

    def _first(self, key: Key) -> None:
        source, kind, answer = key
        if len(self.counts) >= MOST or len(source) > LONGEST or len(kind) > LONGEST:
            key = ("other", "other", answer)
        self.counts[key] = self.counts.get(key, 0) + 1
