"""Full replacement: an XO that names fewer steps of an order than before removes those it leaves out.

IHE's Procedure Updated (RAD-13) sends every step that is still to be done. A step left out counts as CANCELED from
that message on, unless it had begun; a later message that names it brings it back, a late older one does not.
An XO that names no step speaks of all of them, one that names only new steps adds them, and one whose ORC-5
reports how a step stands (such as IP or CM) reports only that.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dosestream.reconcile.facts import OrderFact
from dosestream.reconcile.standing import Word
from dosestream.reconcile.status import CANCELED, OPEN, SCHEDULED
from dosestream.reconcile.version import Version

CODE = "XO"
# Where a removal is read, for the evidence.
PATH = "ORC-1"


class MessageKey(NamedTuple):
    """What the events of one message share. Not the receipt: a message doubled in part has two."""

    source: str
    control_id: str
    message_time: int


def names_a_row(fact: OrderFact) -> bool:
    """Whether a message speaks of certain rows of its order, not of all."""
    event = fact.event
    return bool(event.accession_number or event.requested_procedure_id or event.scheduled_step_id)


def message_key(fact: OrderFact) -> MessageKey:
    """The message an event came in."""
    event = fact.event
    time = event.message_time if event.message_time is not None else event.received_at
    return MessageKey(event.source, event.control_id, time)


def removals(rows: Sequence[Sequence[OrderFact]]) -> Iterator[tuple[Word, ...]]:
    """For each row of one order, in their order, the messages that removed it.

    Args:
        rows: the order's messages by row; what names no row is in all of them.
    """
    if len(rows) == 1 or not any(f.event.control_code == CODE for row in rows for f in row):
        for _ in rows:
            yield ()
        return
    naming = [[f for f in row if names_a_row(f)] for row in rows]
    updates: dict[MessageKey, list[OrderFact]] = {}
    for facts in naming:
        for fact in facts:
            if fact.event.control_code == CODE:
                updates.setdefault(message_key(fact), []).append(fact)
    versions = [{message_key(f): f.version for f in facts} for facts in naming]
    full: dict[MessageKey, OrderFact] = {}
    for key, facts in updates.items():
        newest = max(facts, key=lambda f: f.version)
        if any(f.status not in (None, SCHEDULED) for f in facts):
            continue
        if any(key in row and _named_before(row, key, newest.version) for row in versions):
            full[key] = newest
    for row in versions:
        last = max(row.values(), default=None)
        yield tuple(
            Word(CANCELED, fact.version, key.control_id, PATH, fact.event.received_at, OPEN)
            for key, fact in full.items()
            if last is not None and key not in row and fact.version > last
        )


def _named_before(row: dict[MessageKey, Version], key: MessageKey, version: Version) -> bool:
    return any(other != key and said < version for other, said in row.items())
