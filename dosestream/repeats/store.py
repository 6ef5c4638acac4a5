"""What a store of repeats does, and the one in memory."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

DAY_US = 24 * 3600 * 1_000_000
# A claim without an end is over: every message is answered, or given up, long before.
CLAIM_US = 20 * 1_000_000


class Heard(NamedTuple):
    """A message heard before.

    Attributes:
        at: its receipt time, microseconds since 1970 UTC.
        answer: the acknowledgement code or DIMSE status it got (empty where none was due); None while it is
            under way.
    """

    at: int
    answer: str | None


class Learned(NamedTuple):
    """A message that the raw topic holds; its answer as `Heard.answer`."""

    key: bytes
    at: int
    answer: str


@dataclass(slots=True)
class Turn:
    """What one transaction does, in this order.

    Attributes:
        ends: messages that are done.
        failures: claims given up: the message is new again.
        claims: keys of messages just heard; no key twice.
    """

    ends: list[Learned] = field(default_factory=list)
    failures: list[bytes] = field(default_factory=list)
    claims: list[bytes] = field(default_factory=list)


class Store(Protocol):
    """Messages of the last 24 hours by key. Every call is atomic, between processes too; any thread."""

    @property
    def name(self) -> str:
        """The same for all that share the store."""

    def turn(self, turn: Turn, now: int) -> Sequence[Heard | None]:
        """Do all of it; for each claim what was heard before, None where the message is the caller's now.

        A claim under way is the caller's once its process is gone or it is older than `CLAIM_US`. `now` is microseconds since 1970 UTC.
        """

    def learn(self, learned: Iterable[Learned], positions: Mapping[int, int], now: int) -> None:
        """Take over what the raw topic says, up to the positions (partition to offset); claims under way stay."""

    def positions(self) -> Mapping[int, int]:
        """How far the raw topic was taken over; empty for a store that is new."""

    def forget(self) -> None:
        """Empty it: it holds messages of a topic that is gone."""

    def close(self) -> None:
        """Claims of this process are over."""


def repeat_key(source: str, content_hash: str) -> bytes:
    """What makes messages identical: source and bytes. `content_hash` is their SHA-256 in hex (or its first
    half, as the raw record's headers have it).
    """
    return hashlib.blake2b(f"{source}\0{content_hash[:32]}".encode(), digest_size=16).digest()


class MemoryStore:
    """For one process; the oldest are forgotten first. Filled from the raw topic at every start."""

    def __init__(self, name: str, capacity: int = 500_000) -> None:
        self._name = name
        self._capacity = capacity
        self._entries: OrderedDict[bytes, Heard] = OrderedDict()
        self._positions: dict[int, int] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._name

    def turn(self, turn: Turn, now: int) -> Sequence[Heard | None]:
        with self._lock:
            return self._turn(turn, now)

    def _turn(self, turn: Turn, now: int) -> Sequence[Heard | None]:
        entries = self._entries
        for key, at, answer in turn.ends:
            entries[key] = Heard(at, answer)
        for key in turn.failures:
            entries.pop(key, None)
        found: list[Heard | None] = []
        for key in turn.claims:
            entry = entries.get(key)
            if entry is not None and _holds(entry, now):
                found.append(entry)
                continue
            entries[key] = Heard(now, None)
            entries.move_to_end(key)
            found.append(None)
        while len(entries) > self._capacity:
            entries.popitem(last=False)
        return found

    def learn(self, learned: Iterable[Learned], positions: Mapping[int, int], now: int) -> None:
        with self._lock:
            for key, at, answer in learned:
                entry = self._entries.get(key)
                if entry is None or not _holds(entry, now):
                    self._entries[key] = Heard(at, answer)
            self._positions.update(positions)

    def positions(self) -> Mapping[int, int]:
        return dict(self._positions)

    def forget(self) -> None:
        self._entries.clear()
        self._positions.clear()

    def close(self) -> None:
        pass


def _holds(entry: Heard, now: int) -> bool:
    return now - entry.at <= (CLAIM_US if entry.answer is None else DAY_US)
