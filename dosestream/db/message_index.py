"""The message index: every event noted once, at its first receipt."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg import Cursor

from dosestream.db.records import Decoded
from dosestream.db.values import bigint_array, text_array
from dosestream.events.records import Appointment, Order, Patient, Report, Study
from dosestream.kafka.records import Record
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.version import is_ahead

Row = tuple[object, ...]
Message = Patient | Order | Study | Appointment | Report


@dataclass(frozen=True, slots=True)
class Noting:
    """A batch whose events are being noted: the server works on it until `heard` is asked."""

    due: Sequence[Decoded]
    receipts: Mapping[str, int]
    cursor: Cursor[Row]

    def heard(self) -> tuple[list[Decoded], Collection[str]]:
        """The batch in its order with every repeat at its first receipt, so that a message heard again says nothing
        it had not said, and the events that were not heard before. Nothing else may have been asked of the cursor
        meanwhile."""
        if not self.receipts:
            return list(self.due), ()
        repeated = {str(event_id): int(str(at)) for event_id, at in self.cursor.fetchall()}
        receipts = {**self.receipts, **repeated}
        return [_first_heard(item, receipts) for item in self.due], receipts.keys() - repeated.keys()


def note(cursor: Cursor[Row], due: Sequence[Decoded]) -> Noting:
    """Note every event of a batch in the message index."""
    first: dict[str, tuple[Record, Message]] = {}
    for item in due:
        event = item.event
        if isinstance(event, Message):
            known = first.get(event.event_id)
            if known is None or event.received_at < known[1].received_at:
                first[event.event_id] = (item.record, event)
    # Two workers that hear the same messages wait for each other in one order.
    first = dict(sorted(first.items()))
    if first:
        cursor.execute(
            "WITH stored AS ("
            'INSERT INTO message (event_id, topic, partition, "offset", source, control_id, message_type, received_at) '
            "SELECT event_id, topic, part, off, source, control, kind, 'epoch'::timestamptz + at * interval '1 microsecond' "
            "FROM unnest(%s::text[], %s::text[], %s::int[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[]) "
            "AS n (event_id, topic, part, off, source, control, kind, at) ON CONFLICT (event_id) DO UPDATE "
            "SET received_at = least(excluded.received_at, message.received_at) "
            # A row that was there is locked before it is written again.
            "RETURNING event_id, received_at, xmax <> 0 AS repeated) "
            "SELECT event_id, (extract(epoch FROM received_at) * 1000000)::bigint FROM stored WHERE repeated",
            (
                text_array(first),
                text_array(record.partition.topic for record, _ in first.values()),
                bigint_array(record.partition.number for record, _ in first.values()),
                bigint_array(record.offset for record, _ in first.values()),
                text_array(event.source for _, event in first.values()),
                text_array(event.control_id for _, event in first.values()),
                text_array(event.message_type for _, event in first.values()),
                bigint_array(event.received_at for _, event in first.values()),
            ),
        )
    return Noting(due, {event_id: event.received_at for event_id, (_, event) in first.items()}, cursor)


def note_ahead(cursor: Cursor[Row], heard: Iterable[Decoded], rules: Rules) -> None:
    """Note the messages dated past their receipt and the tolerance: a repeat of one counts from its first receipt,
    however late it comes, so its row of the index stays."""
    ahead = {
        item.event.event_id
        for item in heard
        if isinstance(item.event, Message) and is_ahead(item.event, rules.future_tolerance_us)
    }
    if ahead:
        cursor.execute(
            "INSERT INTO ahead SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (text_array(sorted(ahead)),)
        )


def _first_heard(item: Decoded, receipts: Mapping[str, int]) -> Decoded:
    event = item.event
    if not isinstance(event, Message) or event.received_at == receipts[event.event_id]:
        return item
    return replace(item, event=replace(event, received_at=receipts[event.event_id]))
