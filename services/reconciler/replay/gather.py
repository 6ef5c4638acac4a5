"""The first stage: records read once, each event put where it is needed next.

A worker has the partitions of some numbers, of all topics: what is said of one patient has one key and so one number.
Of an event its row of the message index goes to the database at once; a fact is put aside with the keys that
connect it, what is said of a patient in the bucket of that patient, and what may be a repeat by itself.
"""

import marshal
import pickle
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition
from psycopg import Connection

from dosestream.db import apply, message_index
from dosestream.db.copy import BEGIN, END, EPOCH_2000_US, integer_field, send, text_field
from dosestream.db.facts import KINDS, Fact
from dosestream.db.records import Decoded, Stopped, decode
from dosestream.db.snapshots import TOPIC_OF
from dosestream.events.codec import Codec, MalformedRecordError, UnknownSchemaError
from dosestream.events.records import (
    Appointment,
    Clock,
    Decision,
    EntitySnapshot,
    Order,
    Patient,
    Report,
    Study,
)
from dosestream.kafka.client import consumer_config
from dosestream.kafka.codec import codec_for
from dosestream.kafka.records import Partition, Record
from dosestream.reconcile.bonds import bonds_of
from dosestream.reconcile.connecting import KEYS
from dosestream.reconcile.patients import demographics_of
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.snapshot import fact_of
from dosestream.reconcile.version import is_ahead
from dosestream.reconcile.watermark import Mark, join, mark
from dosestream.settings import KafkaSettings, Settings
from services.reconciler.replay.plan import BuildError, Reading, StoppedPartitionsError
from services.reconciler.replay.repeats import MaybeHeard
from services.reconciler.replay.spill import Buckets, Frames, Keys, bucket_key, key_of

Row = tuple[object, ...]
PAGE = 2000
TURN_S = 0.2
SILENCE_S = 30.0
# Bytes of message rows that are sent at a time.
SENT = 1 << 22
MESSAGE = 'COPY message (event_id, topic, partition, "offset", source, control_id, message_type, received_at) FROM STDIN (FORMAT binary)'
# Events by what is put aside of them; of those that name something or are nothing, the last.
SPEAK_OF_PATIENTS = frozenset({Patient, Order, Report})
SPEAK_OF_TWO = frozenset({Patient, Decision})
NAMING = frozenset({Decision, Appointment})
# Those whose repeats are known by the message index.
Message = Patient | Order | Study | Appointment | Report
CLASS_NAMED: Mapping[str, type[Message | Decision]] = {
    cls.__name__: cls for cls in (Patient, Order, Study, Appointment, Report, Decision)
}
# Files of a shelf that are looked up in the message index: possible repeats, and what snapshots hold.
SUSPECTS, RECALLED = "suspects", "recalled"
# Lengths, and eight bytes behind theirs, of the binary format.
LENGTH, EIGHT = struct.Struct(">i").pack, struct.Struct(">iq").pack
# Kafka's client holds no more of what it has fetched ahead.
AHEAD_KB = 32_768


@dataclass(slots=True)
class Gathered:
    """What one worker found; sums of several are one's."""

    events: int = 0
    left_out: int = 0
    repeats: int = 0
    quarantined: int = 0
    facts: int = 0
    tick: int | None = None
    first_tick: int | None = None
    marks: dict[str, Mark] = field(default_factory=dict)

    def hear(self, event: Message) -> None:
        """Note how far the source of an event has come."""
        left, known = mark(event), self.marks.get(event.source)
        if known is None:
            self.marks[event.source] = left
        elif left.spoken_of > known.spoken_of or left.received_at > known.received_at:
            self.marks[event.source] = join(known, left)

    def add(self, other: "Gathered") -> None:
        """Count what another found too."""
        self.events += other.events
        self.left_out += other.left_out
        self.repeats += other.repeats
        self.quarantined += other.quarantined
        self.facts += other.facts
        ticks = [t for t in (self.tick, other.tick) if t is not None]
        self.tick = max(ticks, default=None)
        firsts = [t for t in (self.first_tick, other.first_tick) if t is not None]
        self.first_tick = min(firsts, default=None)
        for source, left in other.marks.items():
            known = self.marks.get(source)
            self.marks[source] = left if known is None else join(known, left)


class Shelf:
    """Where one worker puts aside what it gathered: facts with their keys, patients by bucket, bonds, repeats."""

    def __init__(self, folder: Path, buckets: int, rules: Rules) -> None:
        self._rules = rules
        self._facts = Frames(folder / "facts")
        self._keys = Keys(folder / "keys")
        self._patients = Buckets(folder / "patients", buckets)
        self._bonds = Frames(folder / "bonds")
        self._suspects = Frames(folder / SUSPECTS)
        self._recalled = Frames(folder / RECALLED)

    def file(self, item: Decoded, found: Gathered) -> None:
        """Put aside what an event says."""
        event, rules = item.event, self._rules
        kind: type = type(event)
        if kind in SPEAK_OF_PATIENTS:
            for identity, fold in demographics_of(event, rules):  # type: ignore[arg-type]
                authority, value = identity
                self._patients.add(bucket_key(value), marshal.dumps((authority, value, fold)))
        if kind in SPEAK_OF_TWO:
            for bond in bonds_of(event, rules):  # type: ignore[arg-type]
                self._bonds.add(pickle.dumps(bond))
        if kind in KINDS:
            keys = KEYS[kind](event, rules)
            if not keys and kind in NAMING:
                return
            # A fact that names nothing is a group of its own, known by its id.
            connecting = [key_of(key) for key in keys] or [key_of(f"e:{event.event_id}")]  # type: ignore[union-attr]
            self._keys.add(len(connecting), *connecting)
            self._facts.add(
                marshal.dumps((KINDS[kind], event.received_at, item.record.value or b""))  # type: ignore[union-attr]
            )
            found.facts += 1

    def suspect(self, record: Record, event: Message) -> None:
        """Put an event aside that may be a repeat."""
        self._suspects.add(_aside(record, event, None))

    def recall(self, record: Record, fact: Fact) -> None:
        """Put a fact of a snapshot aside, with its first receipt."""
        self._recalled.add(_aside(record, fact, fact.received_at))

    def close(self) -> None:
        """All of it is on its way to the disk."""
        for part in (
            self._facts,
            self._keys,
            self._patients,
            self._bonds,
            self._suspects,
            self._recalled,
        ):
            part.close()


def _aside(record: Record, event: Message | Fact, first: int | None) -> bytes:
    return marshal.dumps((*record.partition, record.offset, type(event).__name__, record.value, first))


class Messages:
    """Rows of the message index on their way to the database."""

    def __init__(self, connection: Connection[Row]) -> None:
        self._connection = connection
        self._rows: list[bytes] = []
        self._size = 0
        self._fields: dict[object, bytes] = {}

    def add(self, record: Record, event: Any) -> None:
        """A row of an event; few sources, kinds of messages and partitions there are of many."""
        fields = self._fields
        where = fields.get(record.partition)
        if where is None:
            topic, number = record.partition
            where = fields[record.partition] = text_field(topic) + integer_field(number)
        source = fields.get(event.source) or fields.setdefault(event.source, text_field(event.source))
        kind = fields.get(event.message_type) or fields.setdefault(
            event.message_type, text_field(event.message_type)
        )
        event_id, control_id = event.event_id.encode(), event.control_id.encode()
        row = b"".join(
            (
                b"\0\x08",
                LENGTH(len(event_id)),
                event_id,
                where,
                EIGHT(8, record.offset),
                source,
                LENGTH(len(control_id)),
                control_id,
                kind,
                EIGHT(8, event.received_at - EPOCH_2000_US),
            )
        )
        self._rows.append(row)
        self._size += len(row)
        if self._size > SENT:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._rows:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                send(cursor, MESSAGE, b"".join((BEGIN, *self._rows, END)))
        self._rows.clear()
        self._size = 0


def normalised(settings: Settings) -> Reading:
    """Records of the normalised topics as events."""
    codec = codec_for(settings.kafka)
    return lambda records: decode(codec, records)


def gather(
    kafka: KafkaSettings,
    connection: Connection[Row],
    reading: Reading,
    rules: Rules,
    stretches: Mapping[Partition, tuple[int, int]],
    snapshots: Mapping[Partition, tuple[int, int]],
    own: Collection[Partition],
    until: int | None,
    folder: Path,
    buckets: int,
    told: Callable[[int], None],
) -> Gathered:
    """Read partitions, each from its first offset up to its stop, and put aside what they say.

    Args:
        snapshots: what is read of the snapshot topic, where the others no longer hold all: what it holds may be
            a repeat wherever it is heard again.
        own: partitions of it whose facts are put aside here.
        told: hears how many records were read since it was called last.

    Raises:
        BuildError: the broker fell silent.
        StoppedPartitionsError: a schema is not known.
    """
    shelf = Shelf(folder, buckets, rules)
    messages = Messages(connection)
    heard = MaybeHeard(sum(stop - start for start, stop in (*stretches.values(), *snapshots.values())))
    found = Gathered()
    codec = codec_for(kafka)
    for records in read(kafka, snapshots):
        _recall(connection, codec, records, own, until, shelf, heard, found)
        told(sum(record.partition in own for record in records))
    for records in read(kafka, stretches):
        batch, stopped = reading(records)
        if stopped:
            raise StoppedPartitionsError(stopped)
        unreadable, ahead = [], []
        for item in batch:
            event = item.event
            if event is None:
                unreadable.append(item)
            elif type(event) is Clock:
                at = event.at
                found.first_tick = at if found.first_tick is None else min(found.first_tick, at)
                if until is None or at <= until:
                    found.tick = at if found.tick is None else max(found.tick, at)
                found.events += 1
            elif until is not None and event.received_at > until:  # type: ignore[union-attr]
                found.left_out += 1
            elif isinstance(event, Decision):
                found.events += 1
                shelf.file(item, found)
            else:
                found.events += 1
                if heard.again(event.event_id):  # type: ignore[union-attr]
                    record = item.record
                    if record.value is None:
                        record = record._replace(value=codec.encode(event))
                    shelf.suspect(record, event)  # type: ignore[arg-type]
                else:
                    messages.add(item.record, event)
                    shelf.file(item, found)
                    found.hear(event)  # type: ignore[arg-type]
                    if is_ahead(event, rules.future_tolerance_us):  # type: ignore[arg-type]
                        ahead.append(item)
        if unreadable or ahead:
            with connection.transaction(), connection.cursor() as cursor:
                apply.quarantine(cursor, unreadable)
                message_index.note_ahead(cursor, ahead, rules)
            found.quarantined += len(unreadable)
        told(len(records))
    messages.flush()
    shelf.close()
    return found


def _recall(
    connection: Connection[Row],
    codec: Codec,
    records: Iterable[Record],
    own: Collection[Partition],
    until: int | None,
    shelf: Shelf,
    heard: MaybeHeard,
    found: Gathered,
) -> None:
    """Put aside what snapshots hold, and let it be known that it was heard: it is older than what topics hold of it."""
    for record in records:
        if record.value is None:
            continue
        mine = record.partition in own
        try:
            held = codec.decode(record.value, EntitySnapshot).facts
            facts = [(fact_of(kept, codec), kept) for kept in held]
        except UnknownSchemaError as error:
            raise StoppedPartitionsError([Stopped(record.partition, record.offset, str(error))]) from error
        except MalformedRecordError as error:
            if not mine:
                continue
            with connection.transaction(), connection.cursor() as cursor:
                apply.quarantine(cursor, [Decoded(record, None, str(error))])
            found.quarantined += 1
            continue
        for fact, kept in facts:
            heard.again(kept.event_id)
            if not mine:
                continue
            if until is not None and kept.received_at > until:
                found.left_out += 1
                continue
            found.events += 1
            where = Partition(TOPIC_OF[kept.kind], kept.partition)
            shelf.recall(Record(where, kept.offset, kept.value), fact)


def settle(
    connection: Connection[Row],
    codec: Codec,
    suspects: Iterable[bytes],
    rules: Rules,
    folder: Path,
    buckets: int,
) -> Gathered:
    """Put aside what snapshots hold or may be repeats, each at its first receipt, as the message index knows it."""
    shelf = Shelf(folder, buckets, rules)
    found = Gathered()
    for page in _pages(suspects):
        batch = [_suspected(codec, frame) for frame in page]
        with connection.transaction(), connection.cursor() as cursor:
            heard, fresh = message_index.note(cursor, batch).heard()
            message_index.note_ahead(cursor, heard, rules)
        found.repeats += len(batch) - len(fresh)
        for item in heard:
            shelf.file(item, found)
            if not isinstance(item.event, Decision):
                found.hear(item.event)  # type: ignore[arg-type]
    shelf.close()
    return found


def _suspected(codec: Codec, frame: bytes) -> Decoded:
    topic, number, offset, name, value, first = marshal.loads(frame)
    event = codec.decode(value, CLASS_NAMED[name])
    if first is not None and event.received_at != first:
        event = replace(event, received_at=first)
    return Decoded(Record(Partition(topic, number), offset, value), event)


def _pages(frames: Iterable[bytes]) -> Iterator[list[bytes]]:
    page: list[bytes] = []
    for frame in frames:
        page.append(frame)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def read(kafka: KafkaSettings, stretches: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Record]]:
    """Records of partitions at once, ascending in each, until the position of each has passed its stop.

    Raises:
        BuildError: the broker fell silent, or refused.
    """
    left = {partition: stop for partition, (start, stop) in stretches.items() if start < stop}
    if not left:
        return
    config = consumer_config(kafka, group="dosestream-replay")
    config |= {"enable.partition.eof": True, "queued.max.messages.kbytes": AHEAD_KB}
    consumer = Consumer(config)
    try:
        consumer.assign([TopicPartition(*partition, stretches[partition][0]) for partition in left])
        names = {tuple(partition): partition for partition in left}
        last = time.monotonic()
        while left:
            messages = consumer.consume(PAGE, timeout=TURN_S)
            if messages:
                last = time.monotonic()
            elif time.monotonic() - last > SILENCE_S:
                where = ", ".join(f"{p.topic}[{p.number}]" for p in sorted(left))
                raise BuildError(f"nothing came of {where}: see that the broker runs, then build again")
            batch = []
            for message in messages:
                partition = names[message.topic(), message.partition()]
                error = message.error()
                if error is None:
                    offset, stop = message.offset(), left.get(partition, 0)
                    if offset < stop:
                        batch.append(Record(partition, offset, message.value()))
                    if offset + 1 >= stop:
                        _done(consumer, left, partition)
                elif error.code() == KafkaError._PARTITION_EOF:
                    if message.offset() >= left.get(partition, 0):
                        _done(consumer, left, partition)
                elif not error.retriable():
                    raise BuildError(
                        f"{partition.topic}[{partition.number}]: {error}: mend it, then build again"
                    )
            if batch:
                yield batch
    finally:
        consumer.close()


def _done(consumer: Any, left: dict[Partition, int], partition: Partition) -> None:
    """Read no more of a partition: what was fetched ahead is passed over."""
    if left.pop(partition, None) is not None:
        consumer.incremental_unassign([TopicPartition(*partition)])
