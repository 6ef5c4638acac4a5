"""Marks and repeats of one raw topic brought up together: what a listener needs before it may accept.

Before the first message: the schemas are published, the registry has given them their ids, this life is on the
roster, and the store of repeats is open and filled.
"""

import logging
import time
from collections.abc import Callable

from dosestream.events.codec import Codec
from dosestream.kafka.admin import publish_schemas
from dosestream.kafka.generations import Ends
from dosestream.kafka.normalised_up_to import NormalisedUpTo
from dosestream.kafka.roster import Member
from dosestream.repeats.follower import Follower
from dosestream.repeats.opened import OpenedStore
from dosestream.repeats.store import MemoryStore, Store
from dosestream.settings import Settings

log = logging.getLogger("dosestream.repeats")

# Senders wait no longer for the store to be filled; the rest is taken over beside.
FILL_S = 30.0


class Desk:
    """Opens the store when the cluster is known, and keeps it filled. Runs on the thread of the marks."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        marks: NormalisedUpTo,
        codec: Codec,
        opened: Callable[[Store], None],
        caretaker: bool = True,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._marks = marks
        self._codec = codec
        self._opened = opened
        self._caretaker = caretaker
        self._follower: Follower | None = None
        self.store: OpenedStore | None = None

    def start(self) -> None:
        """Begin; messages may be begun once `marks.is_open`."""
        self._marks.start(
            before=self._before, joined=self._joined, looked=self._looked, looks_anyway=self._follows
        )

    def close(self) -> None:
        """Stop, with nothing under way."""
        self._marks.close()
        if self.store is not None:
            self.store.close()

    def _before(self) -> None:
        publish_schemas(self._settings.kafka, first=False)
        self._codec.register()
        if self.store is None:
            self.store = OpenedStore(self._settings.repeats, self._marks.roster.cluster(), self._topic)
        self._marks.store = self.store.name

    def _joined(self) -> None:
        assert self.store is not None
        until = time.monotonic() + FILL_S
        if self._follows():
            self._follower = Follower(self.store, self._marks.stretches, self._marks.keep)
            self._follower.catch_up(self._marks.roster.firsts(), self._marks.roster.base(), until)
        else:
            # One process of the machine fills what all share.
            while not self.store.positions() and time.monotonic() < until:
                self._marks.keep()
                time.sleep(0.05)
        self._opened(self.store)

    def _looked(self, members: list[Member], base: Ends) -> None:
        assert self.store is not None
        if self._follower is None and self._follows():
            # The shared store became unusable: from now on this process remembers for itself.
            self._follower = Follower(self.store, self._marks.stretches, self._marks.keep)
        if self._follower is not None:
            self._follower.looked(self._marks.roster.firsts(), members, base)

    def _follows(self) -> bool:
        return self._caretaker or (self.store is not None and isinstance(self.store.kept_in, MemoryStore))
