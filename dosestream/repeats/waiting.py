"""Repeats on threads: whoever hears a message that is under way waits for its answer."""

import time

from dosestream.repeats.store import Learned, Store, Turn

# How often a message that is under way is looked at.
POLL_S = 0.02


class WaitingRepeats:
    """The messages of one process over a store that others may share. Any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, key: bytes, at: int, deadline: float) -> str | None:
        """The answer of the first where the message is a repeat; None where it is new, and the caller's to store
        and then to `end` or `fail`. `at` is microseconds since 1970 UTC, `deadline` as `time.monotonic()`.

        Raises:
            TimeoutError: the first was still under way at the deadline.
        """
        since = time.monotonic()
        while True:
            waited = time.monotonic() - since
            (heard,) = self._store.turn(Turn(claims=[key]), at + int(waited * 1_000_000))
            if heard is None:
                return None
            if heard.answer is not None:
                return heard.answer
            if time.monotonic() + POLL_S > deadline:
                raise TimeoutError("the same message is still under way elsewhere")
            time.sleep(POLL_S)

    def end(self, key: bytes, at: int, answer: str) -> None:
        """The message is durable and its answer known: repeats get the same."""
        self._store.turn(Turn(ends=[Learned(key, at, answer)]), at)

    def fail(self, key: bytes, at: int) -> None:
        """The message is not known to be stored: forget it, so that the sender's next try counts."""
        self._store.turn(Turn(failures=[key]), at)
