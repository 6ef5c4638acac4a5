"""Identical messages: the same answer, and no second event."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from dosestream.hl7.acceptance import Refusal

Told = Callable[["Refusal | None"], None]

DAY_US = 24 * 3600 * 1_000_000


@dataclass(slots=True)
class Entry:
    """One message under way or done. `refusal` holds once `done`; until then `waiting` hears it."""

    heard_at: int
    done: bool = False
    refusal: Refusal | None = None
    waiting: list[Told] = field(default_factory=list)


class Heard:
    """The messages of the last 24 hours by content, bounded in number; the oldest are forgotten first.

    Held in memory: after a restart a repeat is stored and published again under the same event id.
    """

    def __init__(self, capacity: int = 500_000) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def find(self, key: bytes, now: int) -> Entry | None:
        """The message heard before, under way or done; None where it is new. `now` in microseconds."""
        entry = self._entries.get(key)
        if entry is not None and now - entry.heard_at > DAY_US:
            del self._entries[key]
            return None
        return entry

    def begin(self, key: bytes, now: int) -> None:
        """A new message is under way."""
        self._entries[key] = Entry(now)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def end(self, key: bytes, refusal: Refusal | None) -> None:
        """The message is durable and its answer known: repeats get the same."""
        if (entry := self._entries.get(key)) is not None:
            entry.done, entry.refusal = True, refusal
            waiting, entry.waiting = entry.waiting, []
            for told in waiting:
                told(refusal)

    def fail(self, key: bytes, refusal: Refusal) -> None:
        """The message is not known to be stored: forget it, so that the sender's next try counts."""
        entry = self._entries.pop(key, None)
        for told in entry.waiting if entry is not None else ():
            told(refusal)
