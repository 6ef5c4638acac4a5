"""A store of repeats filled from the raw topic: after its file was lost, and with what other hosts received.

Only records whose events are in Kafka too are taken over, those below the mark of all: a repeat of one may be
answered with success. Only headers are looked at.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from dosestream.kafka.roster import Member
from dosestream.kafka.stretch import Stretches, stamp
from dosestream.repeats.store import DAY_US, Learned, Store, repeat_key

log = logging.getLogger("dosestream.repeats")


def _now() -> int:
    return time.time_ns() // 1000


class Follower:
    """Follows one raw topic for one store.

    What reads raises BrokerAwayError where the broker does not deliver, and what `between` raises.
    """

    def __init__(
        self,
        store: Store,
        stretches: Stretches,
        between: Callable[[], None],
        now: Callable[[], int] = _now,
    ) -> None:
        self._store = store
        self._stretches = stretches
        self._between = between
        self._now = now
        # At first it is not known who else wrote.
        self._others = True

    def catch_up(
        self, firsts: Mapping[int, int], base: Mapping[int, int], until: float | None = None
    ) -> None:
        """Take over what lies between the store's positions (24 hours ago at most) and the mark of all.

        `firsts` and `base` are partition to offset; past `until` (as `time.monotonic()`) the rest is left for the
        next time.
        """
        store = self._store
        positions = store.positions()
        if any(base.get(partition, 0) < at for partition, at in positions.items() if partition in firsts):
            # Marks never go back: this is another topic of the same name.
            log.warning("the raw topic was made anew: what was heard of the old one is forgotten")
            store.forget()
            positions = {}
        day_ago = self._stretches.starts_at((self._now() - DAY_US) // 1000, firsts)
        for partition, first in firsts.items():
            end = base.get(partition, first)
            start = max(first, positions.get(partition, 0), day_ago.get(partition, end))
            store.learn((), {partition: min(start, end)}, self._now())
            for batch in self._stretches.read(partition, start, end):
                self._between()
                if batch:
                    learned = [one for message in batch if (one := _learned(message)) is not None]
                    store.learn(learned, {partition: batch[-1].offset() + 1}, self._now())
                if until is not None and time.monotonic() > until:
                    return
            store.learn((), {partition: end}, self._now())

    def looked(self, firsts: Mapping[int, int], members: list[Member], base: Mapping[int, int]) -> None:
        """After each look at who writes: follow others, or note that there are none."""
        others = any(member.store != self._store.name for member in members)
        if others and not self._others:
            log.info("others receive too: what they do is followed")
        if others or self._others:
            self.catch_up(firsts, base)
        else:
            # All that was received since is in the store already.
            self._store.learn((), base, self._now())
        self._others = others


def _learned(message: Any) -> Learned | None:
    """What a raw record says; None where it is of a release that did not name the answer in a header."""
    of = stamp(message)
    if of.answer is None:
        return None
    _, millis = message.timestamp()
    return Learned(repeat_key(of.source, of.content), millis * 1000, of.answer)
