"""Identical instances: the same answer, and no second event."""

import threading
from collections import OrderedDict
from typing import Final

DAY_US: Final = 24 * 3600 * 1_000_000


class Heard:
    """Answers of the last 24 hours by content, bounded in number; the oldest are forgotten first. Any thread.

    Held in memory: after a restart a repeat is stored and published again under the same event id.
    """

    def __init__(self, capacity: int = 200_000) -> None:
        self._capacity = capacity
        self._answers: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, key: bytes, now: int) -> int | None:
        """The DIMSE status a stored instance got; None where it is new. `now` in microseconds."""
        with self._lock:
            heard_at, status = self._answers.get(key, (now - DAY_US - 1, 0))
        return status if now - heard_at <= DAY_US else None

    def remember(self, key: bytes, now: int, status: int) -> None:
        """The instance is durable and was answered."""
        with self._lock:
            self._answers[key] = (now, status)
            self._answers.move_to_end(key)
            while len(self._answers) > self._capacity:
                self._answers.popitem(last=False)
