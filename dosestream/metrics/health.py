"""Live and ready, which are not the same.

*Live*: the loops of the process turn. Where one does not, starting the process again helps; a server that is away
is no reason to. *Ready*: it can do its job now, which needs its servers too.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

# A loop that did not turn for so long hangs.
SILENT_S: Final = 30.0
# What is asked of a server holds for so long, however many ask.
HOLDS_S: Final = 2.0

# Empty where all is well, else a sentence for a person.
Check = Callable[[], str]


class Pulse:
    """Beaten by a loop at each turn; a check that the loop turns."""

    __slots__ = ("_at", "_limit_s")

    def __init__(self, limit_s: float = SILENT_S) -> None:
        self._limit_s = limit_s
        self._at = time.monotonic()

    def beat(self) -> None:
        """The loop turns. Any thread."""
        self._at = time.monotonic()

    def __call__(self) -> str:
        silent = time.monotonic() - self._at
        return f"did not turn for {silent:.0f} s" if silent > self._limit_s else ""


class Remembered:
    """A check that asks a server, once for all who want to know at about the same time."""

    def __init__(self, check: Check, holds_s: float = HOLDS_S) -> None:
        self._check = check
        self._holds_s = holds_s
        self._lock = threading.Lock()
        self._until = 0.0
        self._said = ""

    def __call__(self) -> str:
        with self._lock:
            if time.monotonic() >= self._until:
                self._said = self._check()
                self._until = time.monotonic() + self._holds_s
            return self._said


class Openable(Protocol):
    """Who takes what comes, once it is open."""

    @property
    def is_open(self) -> bool:
        """Whether it takes what comes now."""


def opened(find: Callable[[], Openable | None], otherwise: str) -> Check:
    """A check that what `find` finds is there and open."""

    def check() -> str:
        found = find()
        return "" if found is not None and found.is_open else otherwise

    return check


@dataclass(frozen=True, slots=True)
class Health:
    """The checks of one service by their names.

    Attributes:
        live: of its loops: they wait for nothing.
        ready: of its servers and listeners: they may ask a server, briefly.
    """

    live: Mapping[str, Check]
    ready: Mapping[str, Check]
    stopping: threading.Event = field(default_factory=threading.Event)

    def is_live(self) -> tuple[bool, dict[str, str]]:
        """Whether all loops turn, and what each check says."""
        return _all(self.live)

    def is_ready(self) -> tuple[bool, dict[str, str]]:
        """Whether it can do its job now: never while it stops."""
        if self.stopping.is_set():
            return False, {"service": "stops"}
        return _all(self.ready)


def _all(checks: Mapping[str, Check]) -> tuple[bool, dict[str, str]]:
    said = {name: check() for name, check in checks.items()}
    return not any(said.values()), {name: wrong or "ok" for name, wrong in said.items()}
