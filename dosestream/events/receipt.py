"""First-receipt times: microseconds that never repeat, so that of two messages one is always the earlier."""

import threading
import time
from collections.abc import Callable


def _now() -> int:
    return time.time_ns() // 1000


class ReceiptClock:
    """Receipt times of one process, microseconds since 1970 UTC; may be used from any thread.

    One sequence serves all sources. It is strictly increasing as a whole, hence per source, also while the
    system's clock stands still or is set back. Of `workers` processes on one machine each takes the
    microseconds whose remainder is its own number (from 0), so that no two ever say the same.
    """

    def __init__(self, now: Callable[[], int] = _now, worker: int = 0, workers: int = 1) -> None:
        self._now = now
        self._worker = worker
        self._workers = workers
        self._last = 0
        self._lock = threading.Lock()

    def next(self, source: str) -> int:
        """The receipt time of a message just heard from this source."""
        del source  # the sequence is shared: see the class
        with self._lock:
            earliest = max(self._now(), self._last + 1)
            self._last = earliest + (self._worker - earliest) % self._workers
            return self._last
