"""Which bucket takes new entries, and when the oldest is emptied: pure.

Buckets go round in a ring; the newest takes what is new, all are searched. A bucket is full after `SPAN_US` or
with `capacity` entries, and then the next of the ring, the oldest, is emptied and takes over. So nothing is
swept entry by entry, an entry is held for 24 hours at least, and under a flood the oldest go first.
"""

from typing import NamedTuple

BUCKETS = 4
SPAN_US = 8 * 3600 * 1_000_000


class Newest(NamedTuple):
    """The bucket that takes new entries: its turn since the store began, and when it became the newest."""

    turn: int
    since: int

    @property
    def slot(self) -> int:
        """Its place in the ring."""
        return self.turn % BUCKETS

    def order(self) -> tuple[int, ...]:
        """All slots, the newest first."""
        return tuple((self.turn - n) % BUCKETS for n in range(BUCKETS))

    def next(self, now: int) -> "Newest":
        """The one after it, whose slot is to be emptied."""
        return Newest(self.turn + 1, now)


def is_full(newest: Newest, now: int, entries: int, capacity: int) -> bool:
    """Whether the bucket takes nothing more."""
    return now - newest.since >= SPAN_US or entries >= capacity
