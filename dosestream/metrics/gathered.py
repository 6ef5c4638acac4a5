"""Numbers that take long to read, read beside the scrape: a scrape shows the last ones and asks for the next.

Nothing is read while nobody scrapes, and reading takes no more than a twentieth of the time.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from dosestream.metrics.exposition import Sample
from dosestream.metrics.names import READ_AGE, READ_SECONDS

log = logging.getLogger("dosestream.metrics")

# Numbers younger than this are not read again.
FRESH_S: Final = 2.0
SHARE: Final = 20.0
# What a scrape waits for numbers that are due.
WAIT_S: Final = 3.0

Read = Callable[[], Sequence[Sample]]


class Gathered:
    """A reading of all of `reads`; where one fails, its last numbers are shown, and `READ_AGE` tells their age."""

    def __init__(self, *reads: Read) -> None:
        self._reads = reads
        self._numbers: list[Sequence[Sample]] = [() for _ in reads]
        self._lock = threading.Lock()
        self._reading: threading.Event | None = None
        self._read_at = self._due_at = self._took = 0.0

    def __call__(self) -> list[Sample]:
        with self._lock:
            under_way = self._reading
            if under_way is None and time.monotonic() >= self._due_at:
                under_way = self._reading = threading.Event()
                threading.Thread(target=self._read, args=(under_way,), name="gather", daemon=True).start()
        if under_way is not None:
            under_way.wait(WAIT_S)
        found = [sample for numbers in self._numbers for sample in numbers]
        if self._read_at:
            found.append(Sample(READ_AGE, time.monotonic() - self._read_at))
            found.append(Sample(READ_SECONDS, self._took))
        return found

    def _read(self, done: threading.Event) -> None:
        begun, whole = time.monotonic(), True
        for place, read in enumerate(self._reads):
            try:
                self._numbers[place] = read()
            except Exception as error:
                # Servers are away now and then, and the text may quote what is in them.
                log.debug("numbers not read: %s", type(error).__name__)
                whole = False
        now = time.monotonic()
        with self._lock:
            self._took = now - begun
            if whole:
                self._read_at = now
            self._due_at = now + max(FRESH_S, SHARE * self._took)
            self._reading = None
        done.set()
