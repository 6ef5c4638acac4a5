"""Keeps child processes up: what dies is started again, the others are left alone; all end in order."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import groupby

from dosestream.embedded.errors import StackError
from dosestream.embedded.process import Process

# A first death is mended at once; a child that keeps dying waits longer, never longer than the last.
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0)
# A life of this length clears the record.
GOOD_LIFE_S = 30.0


class Change(Enum):
    """What `Supervisor.tend` saw or did."""

    DIED = auto()
    STARTED = auto()


@dataclass
class Charge:
    """One child to look after.

    Attributes:
        name: for people.
        launch: starts it and returns it; called on the supervisor's thread, again after each death.
        stop: ends it in order.
        stage: those of one stage, started one after the other, end together; empty: it ends alone.
    """

    name: str
    launch: Callable[[], Process]
    stop: Callable[[Process], None]
    stage: str = ""
    process: Process | None = None
    restarts: int = 0
    _deaths: int = field(default=0, repr=False)
    _since: float = field(default=0.0, repr=False)
    _due: float | None = field(default=None, repr=False)

    def start(self) -> None:
        """Launch it now."""
        self._since, self._due = time.monotonic(), None
        self.process = self.launch()

    def tend(self, now: float) -> Change | None:
        """Look once; start it again where its pause is over."""
        if self._due is not None:
            if now < self._due:
                return None
            self.restarts += 1
            try:
                self.start()
            except (OSError, StackError):
                # A full disk, say: it may be mended while we wait.
                self.process = None
                return self._pause(now)
            return Change.STARTED
        if self.process is None or self.process.poll() is None:
            return None
        return self._pause(now)

    def _pause(self, now: float) -> Change:
        if now - self._since >= GOOD_LIFE_S:
            self._deaths = 0
        self._due = now + PAUSES_S[min(self._deaths, len(PAUSES_S) - 1)]
        self._deaths += 1
        return Change.DIED

    def end(self) -> None:
        """End it, and start it no more."""
        self._due = None
        if self.process is not None:
            self.stop(self.process)
            self.process = None


@dataclass
class Supervisor:
    """The charges in the order of their start; they end in the opposite order.

    Every call comes from the one thread that lives as long as the children (see `process.spawn`).
    """

    changed: Callable[[Charge, Change], None]
    charges: list[Charge] = field(default_factory=list)

    def add(self, charge: Charge) -> None:
        """Start a charge and look after it from now on."""
        self.charges.append(charge)
        charge.start()

    def tend(self) -> None:
        """Look at every charge once."""
        for charge in self.charges:
            if (change := charge.tend(time.monotonic())) is not None:
                self.changed(charge, change)

    def end(self) -> None:
        """End all, the last stage started first."""
        with ThreadPoolExecutor() as pool:
            for _, stage in groupby(reversed(self.charges), lambda charge: charge.stage or charge.name):
                for ended in [pool.submit(charge.end) for charge in stage]:
                    ended.result()
        self.charges.clear()
