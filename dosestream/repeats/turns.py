"""Repeats on an event loop: all that one turn of the loop hears is claimed in one transaction."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from dosestream.repeats.store import Heard, Learned, Store, Turn

# How often a message that is under way in another process is looked at.
POLL_S = 0.02
# An end waits so long for the next claim's transaction to go with it: what a crash takes of it is heard as new.
END_S = 0.01

# The message is new: store it, then call `end` or `fail`.
New = Callable[[], None]
# The message is a repeat: the answer of the first, None where that could not be stored.
Again = Callable[[str | None], None]


class _Claim(NamedTuple):
    key: bytes
    at: int
    new: New


class Repeats:
    """The messages of one process over a store that others may share. From the loop's thread only."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        # Key to those who wait for the end of the message under way here, or elsewhere.
        self._waiting: dict[bytes, list[Again]] = {}
        self._claims: list[_Claim] = []
        self._elsewhere: list[_Claim] = []
        self._ends: list[Learned] = []
        self._failures: list[bytes] = []
        self._scheduled = False
        self._ends_scheduled = False

    def hear(self, key: bytes, at: int, new: New, again: Again) -> None:
        """A message was heard at `at` (microseconds). Calls `new` or `again` once, later."""
        if (waiting := self._waiting.get(key)) is not None:
            waiting.append(again)
            return
        self._waiting[key] = [again]
        self._claims.append(_Claim(key, at, new))
        self._schedule()

    def end(self, key: bytes, at: int, answer: str) -> None:
        """The message is durable and its answer known: repeats get the same."""
        self._ends.append(Learned(key, at, answer))
        if not self._ends_scheduled:
            self._ends_scheduled = True
            self._loop.call_later(END_S, self._write_ends)
        self._tell(key, answer)

    def fail(self, key: bytes) -> None:
        """The message is not known to be stored: forget it, so that the sender's next try counts."""
        self._failures.append(key)
        self._schedule()
        self._tell(key, None)

    def flush(self) -> None:
        """Write what is queued now; at the end of the service."""
        while self._ends or self._failures or self._claims:
            self._turn()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        claims, self._claims = self._claims, []
        turn = Turn(self._ends, self._failures, [claim.key for claim in claims])
        self._ends, self._failures = [], []
        # Without a claim nothing is looked up, and the newest end says the time.
        now = claims[-1].at if claims else max((end.at for end in turn.ends), default=0)
        for claim, heard in zip(claims, self._store.turn(turn, now), strict=True):
            self._claimed(claim, heard)

    def _claimed(self, claim: _Claim, heard: Heard | None) -> None:
        if heard is None:
            # The first itself hears `new`; those behind it wait.
            del self._waiting[claim.key][0]
            claim.new()
        elif heard.answer is not None:
            self._tell(claim.key, heard.answer)
        else:
            if not self._elsewhere:
                self._loop.call_later(POLL_S, self._look_elsewhere)
            self._elsewhere.append(claim)

    def _write_ends(self) -> None:
        self._ends_scheduled = False
        if self._ends and not self._scheduled:
            self._turn()

    def _look_elsewhere(self) -> None:
        elsewhere, self._elsewhere = self._elsewhere, []
        self._claims += [claim._replace(at=claim.at + int(POLL_S * 1e6)) for claim in elsewhere]
        self._schedule()

    def _tell(self, key: bytes, answer: str | None) -> None:
        for again in self._waiting.pop(key, ()):
            again(answer)
