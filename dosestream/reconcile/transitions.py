"""Which status may follow which. What the table forbids is kept, holds by its version, and is flagged."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from dosestream.reconcile.facts import OrderFact


class Transition(NamedTuple):
    """One status after another, and the message that made it; `seen_at` is when both were known."""

    before: str
    after: str
    control_id: str
    seen_at: int


def forbidden(facts: Sequence[OrderFact], allowed: Mapping[str, Sequence[str]]) -> Iterator[Transition]:
    """The forbidden transitions of an order's messages, each pair of statuses once, as first seen.

    Args:
        facts: the messages that say a status of one row and stand, the oldest first.
        allowed: from a status to those that may follow it.
    """
    found: dict[tuple[str, str], Transition] = {}
    for before, after in pairwise(facts):
        if before.status is None or after.status is None or before.status == after.status:
            continue
        if after.status in allowed.get(before.status, ()):
            continue
        seen_at = max(before.event.received_at, after.event.received_at)
        made = Transition(before.status, after.status, after.event.control_id, seen_at)
        pair = (before.status, after.status)
        if pair not in found or (made.seen_at, made.control_id) < (
            found[pair].seen_at,
            found[pair].control_id,
        ):
            found[pair] = made
    yield from (found[pair] for pair in sorted(found))
