"""Which status of an order holds: everything said of it, walked in the order of versions.

Order messages say a status outright. A patient's arrival, an appointment, a performed step and a step left out of
a full replacement move it only from where they can, so that a rebooking does not undo an exam that has begun.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dosestream.reconcile.facts import OrderFact
from dosestream.reconcile.status import REFUSING
from dosestream.reconcile.version import Version

# Where a status of an order message is read, for the evidence.
PATH = "ORC-1, ORC-5"


class Word(NamedTuple):
    """One thing said of an order's status; `only_from` are the statuses it moves (None: no status yet),
    None where it moves any. A word always moves what one of its own path set."""

    status: str
    version: Version
    control_id: str
    path: str
    received_at: int
    only_from: frozenset[str | None] | None = None


class Held(NamedTuple):
    """A status, the version it was said with, and the message first received that said it."""

    status: str
    version: Version
    control_id: str
    path: str
    first_received_at: int


def standing(facts: Sequence[OrderFact]) -> list[OrderFact]:
    """The order messages that say a status, without the requests that were refused later."""
    refused: dict[str, Version] = {}
    for fact in facts:
        for request in REFUSING.get(fact.event.control_code, ()):
            known = refused.get(request)
            refused[request] = fact.version if known is None else max(known, fact.version)
    return [
        f
        for f in facts
        if f.status and not (f.event.control_code in refused and f.version < refused[f.event.control_code])
    ]


def words_of(facts: Iterable[OrderFact]) -> list[Word]:
    """What the order messages that stand say of its status."""
    return [
        Word(f.status, f.version, f.event.control_id, PATH, f.event.received_at) for f in facts if f.status
    ]


def in_order(word: Word) -> tuple[Version, str, str]:
    """What words are walked by."""
    return word.version, word.path, word.status


def moves(word: Word, current: Word | None) -> bool:
    """Whether a word moves the status from where an older one set it (None: no status yet)."""
    return (
        word.only_from is None
        or (None if current is None else current.status) in word.only_from
        or (current is not None and current.path == word.path)
    )


def held(words: Sequence[Word]) -> Held | None:
    """The status that holds, None where nothing was said. It is cited from the first message that said it."""
    current: Word | None = None
    for word in sorted(words, key=in_order):
        if moves(word, current):
            current = word
    if current is None:
        return None
    received_at, control_id = min(
        [
            (w.received_at, w.control_id)
            for w in words
            if w.status == current.status and w.path == current.path
        ]
    )
    return Held(current.status, current.version, control_id, current.path, received_at)
