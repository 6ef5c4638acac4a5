"""How far each source has come: the watermark, for the person on duty. It decides nothing: windows close by the clock.

A source's watermark is the newest time it spoke of, less the lateness that is usual; it says: what this source
had to say up to here has been said. A source that has been silent for long is idle and holds nobody back. The join of
two marks is commutative, associative and idempotent, so it does not matter in which order messages are read.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol


class Heard(Protocol):
    """The part of an event that says who said it, and when."""

    @property
    def source(self) -> str: ...
    @property
    def received_at(self) -> int: ...
    @property
    def event_time(self) -> int | None: ...


class Mark(NamedTuple):
    """What is known of one source; microseconds since 1970 UTC.

    Attributes:
        spoken_of: the newest time it spoke of, never later than it was heard: a clock that is ahead drags nothing.
        received_at: its newest receipt.
    """

    spoken_of: int
    received_at: int


def mark(event: Heard) -> Mark:
    """The mark one event leaves; one that says no time speaks of its receipt."""
    spoken_of = event.received_at if event.event_time is None else min(event.event_time, event.received_at)
    return Mark(spoken_of, event.received_at)


def join(one: Mark, other: Mark) -> Mark:
    """Both marks as one."""
    return Mark(max(one.spoken_of, other.spoken_of), max(one.received_at, other.received_at))


def marks(events: Iterable[Heard]) -> dict[str, Mark]:
    """The marks of events, by source."""
    found: dict[str, Mark] = {}
    for event in events:
        left = mark(event)
        known = found.get(event.source)
        found[event.source] = left if known is None else join(known, left)
    return found


def watermark(left: Mark, lateness_us: int) -> int:
    """Up to when a source has told everything that is no later than usual."""
    return left.spoken_of - lateness_us


def is_idle(left: Mark, now: int, idle_us: int) -> bool:
    """Whether a source has been silent for longer than it may."""
    return now - left.received_at > idle_us


def overall(known: Mapping[str, Mark], now: int, lateness_us: int, idle_us: int) -> int | None:
    """The watermark of all sources together: the lowest of those that are not idle; None where all are."""
    speaking = [left for left in known.values() if not is_idle(left, now, idle_us)]
    return min((watermark(left, lateness_us) for left in speaking), default=None)
