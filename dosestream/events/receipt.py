"""First-receipt times: microseconds that never repeat, so that of two messages one is always the earlier."""

import threading
import time
from collections.abc import Callable


def _now() -> int:
    return time.time_ns() // 1000


class ReceiptClock:
    """Receipt times of one process, microseconds since 1970 UTC; may be used from any thread.

    One sequence serves all sources. It is strictly increasing as a whole, hence per source, also while the
    system's clock stands still or is set back.
    """

    def __init__(self, now: Callable[[], int] = _now) -> None:
        self._now = now
        self._last = 0
        self._lock = threading.Lock()

    def next(self, source: str) -> int:
        """The receipt time of a message just heard from this source."""
        del source  # the sequence is shared: see the class
        with self._lock:
            self._last = max(self._now(), self._last + 1)
            return self._last
