"""Which status may follow which. What the table forbids is kept, holds by its version, and is flagged; a performed
step's word that it forbids is flagged and moves nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dosestream.reconcile.standing import Word, in_order, moves


class Transition(NamedTuple):
    """One status after another, and the message that made it; `seen_at` is when both were known."""

    before: str
    after: str
    control_id: str
    seen_at: int


def forbidden(
    words: Iterable[Word], others: Iterable[Word], allowed: Mapping[str, Sequence[str]]
) -> Iterator[Transition]:
    """The forbidden transitions of an order, each pair of statuses once, as first seen.

    Args:
        words: what order messages that stand and performed steps say of its status.
        others: what else is said of it: that makes no forbidden transition, but a step may come after it.
        allowed: from a status to those that may follow it.
    """
    found: dict[tuple[str, str], Transition] = {}
    told: Word | None = None
    held: Word | None = None
    spoken = [*((word, True) for word in words), *((word, False) for word in others)]
    for word, judged in sorted(spoken, key=lambda one: in_order(one[0])):
        before = told if word.only_from is None else held
        held = word if moves(word, held) else held
        if not judged:
            continue
        told = word if moves(word, told) else told
        if before is None or before.status == word.status or word.status in allowed.get(before.status, ()):
            continue
        # Steps of one order go on after each other.
        if word.only_from is not None and before.path == word.path:
            continue
        seen_at = max(before.received_at, word.received_at)
        made = Transition(before.status, word.status, word.control_id, seen_at)
        pair = (before.status, word.status)
        if pair not in found or (made.seen_at, made.control_id) < (
            found[pair].seen_at,
            found[pair].control_id,
        ):
            found[pair] = made
    yield from (found[pair] for pair in sorted(found))
