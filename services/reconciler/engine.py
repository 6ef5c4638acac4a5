"""Batches into the database, whatever happens: holes are read, a database away is waited for."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg

from dosestream.db import ledger, reference_levels
from dosestream.db.apply import (
    BOUNDED,
    Applied,
    apply,
    derive_dirty,
    mark_other_rules,
)
from dosestream.db.facts import ForgottenError
from dosestream.db.generations import Generation, enter
from dosestream.db.ledger import Hole, HoleError
from dosestream.db.records import Decoded, decode
from dosestream.db.snapshots import recall
from dosestream.events.codec import Codec
from dosestream.kafka.errors import BrokerAwayError
from dosestream.kafka.reader import PartitionReader, ReadError, RetentionError
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.snapshots import SnapshotReader
from dosestream.kafka.topics import FACTS, Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import Settings
from services.reconciler.numbers import EngineNumbers

log = logging.getLogger("dosestream.reconciler")

RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
# Of a busy feed the log says so often how much was applied, and how many transactions began again.
TOLD_S = 60.0
# Groups that patients touched are derived again when nothing else waits: a group touched often by a backlog is
# then derived once. While batches wait, a lot is derived so often all the same, of at most one group for so many
# events of the batch: a large lot costs less a group and takes no longer than the batch.
LOT_S = 0.5
EVENTS_A_GROUP = 5
# How often partitions from which nothing came are held against the ends of their topics, others going on.
IDLE_S = 10.0
# Of idle tails so many records are read at a time.
TAIL_RECORDS = 2000

T = TypeVar("T")


class StoppingError(Exception):
    """The service is asked to stop while it waits for a server."""


@dataclass(frozen=True, slots=True)
class Read:
    """Records as events, the offsets at which partitions stop, and how many bytes they were."""

    batch: list[Decoded] = field(default_factory=list)
    stopped: dict[Partition, int] = field(default_factory=dict)
    size: int = 0

    @classmethod
    def joined(cls, reads: Iterable["Read"]) -> "Read":
        """All of them as one: a partition stops where it stops first."""
        batch: list[Decoded] = []
        stopped: dict[Partition, int] = {}
        size = 0
        for one in reads:
            batch += one.batch
            size += one.size
            for partition, offset in one.stopped.items():
                stopped[partition] = min(offset, stopped.get(partition, offset))
        return cls(_before(stopped, batch, ())[0] if stopped else batch, stopped, size)


def _before(
    stopped: Mapping[Partition, int], batch: Iterable[Decoded], covered: Iterable[Hole]
) -> tuple[list[Decoded], list[Hole]]:
    """What may be applied of stopped partitions: nothing from the offset on at which each of them stops."""
    kept = [d for d in batch if d.record.offset < stopped.get(d.record.partition, d.record.offset + 1)]
    closed = [h._replace(stop=min(h.stop, stopped.get(h.partition, h.stop))) for h in covered]
    return kept, [h for h in closed if h.start < h.stop]


class Engine:
    """Applies records to the dose database on one connection; thread-safe, one transaction at a time.

    To the live generation, whichever that is at each transaction, or to the one that is named.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        rules: Rules,
        generation: Generation | None = None,
        numbers: EngineNumbers | None = None,
    ) -> None:
        self._settings, self._codec, self._rules = settings, codec, rules
        self._generation = generation
        self._numbers = numbers or EngineNumbers()
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._reader = PartitionReader(settings.kafka)
        self._snapshots = SnapshotReader(settings.kafka, codec)
        self.stopping = threading.Event()
        self.applied = self.transactions = self.restarts = 0
        # Whether more groups may wait to be derived again than the last lot had.
        self.owing = False
        self._drained_at = time.monotonic()
        self._housekept = -1
        self._idle_at, self._idle_from = time.monotonic(), dict[Partition, int]()
        self._told, self._told_at = (0, 0, 0), time.monotonic()

    def start(self) -> None:
        """Give every partition a ledger row, load the site's reference levels, and mark rows that other rules
        derived; waits for a server that is away."""

        def begin() -> None:
            self._codec.register()
            low = {
                partition: self._reader.watermarks(partition)[0]
                for topic in FACTS
                for partition in self._reader.partitions(topic)
            }
            with self._connect().transaction(), self._connect().cursor() as cursor:
                enter(cursor, self._generation)
                ledger.begin(cursor, low)
                if reference_levels.load(cursor, self._settings.reference_level):
                    log.info("%d reference levels loaded", len(self._settings.reference_level))
            mark_other_rules(self._connect(), self._rules, self._generation)

        self._insist(begin)
        self.owing = True

    def positions(self) -> dict[Partition, int]:
        """Next offset by partition, as the ledger says; waits for a database that is away."""

        def read() -> dict[Partition, int]:
            with self._connect().transaction(), self._connect().cursor() as cursor:
                enter(cursor, self._generation)
                return ledger.read(cursor)

        return self._insist(read)

    def read(self, records: Iterable[Record]) -> Read:
        """Records as events; what `apply_read` takes. Touches no server but for a schema that is not known."""
        found = list(records)
        batch, stopped = self._decode(found)
        return Read(batch, stopped, sum(len(record.value or b"") for record in found))

    def apply(self, records: Iterable[Record]) -> Applied:
        """`read` and `apply_read` at once, and a lot of the groups that were touched."""
        applied = self.apply_read(self.read(records))
        self.drain()
        return applied

    def apply_read(self, read: Read) -> Applied:
        """Apply records, with those missing before them; returns when they are committed.

        Raises:
            StoppingError: the service stops; nothing of the batch was applied.
        """
        batch, stopped = read.batch, dict(read.stopped)
        covered: list[Hole] = []
        while True:
            try:
                applied = self._apply(batch, covered)
                break
            except HoleError as missing:
                log.info(
                    "reading %d holes before the batch, such as %s", len(missing.holes), missing.holes[0]
                )
                for hole in missing.holes:
                    found, stops = self._decode(self._stretch(hole))
                    stopped |= stops
                    batch = found + batch
                    covered.append(hole)
                batch, covered = _before(stopped, batch, covered)
        self.applied += applied.events
        self.transactions += 1
        self.restarts += applied.restarts
        self._numbers.applied(batch)
        self._numbers.tell(self.applied, self.transactions, self.restarts)
        self.owing = True
        if time.monotonic() - self._drained_at > LOT_S:
            self.drain(max(BOUNDED, applied.events // EVENTS_A_GROUP))
        return applied

    def _apply(self, batch: Sequence[Decoded], covered: Sequence[Hole]) -> Applied:
        return self._remembering(
            lambda: apply(self._connect(), self._codec, self._rules, batch, covered, self._generation)
        )

    def _remembering(self, work: Callable[[], T]) -> T:
        """Do the work; where it needs facts that were let go, they come back first."""
        while True:
            try:
                return self._insist(work)
            except ForgottenError as let_go:
                self._recall(let_go.entities)

    def _recall(self, entities: Collection[str]) -> None:
        self._insist(
            lambda: recall(self._connect(), self._codec, entities, self._snapshots.fetch, self._generation)
        )

    def catch_up(self, partitions: Iterable[Partition], most: int = sys.maxsize) -> None:
        """Read and apply what lies between the ledger and the end of these partitions, so many records at most."""
        ledger_positions, left = self.positions(), most
        for partition in partitions:
            if not left:
                return
            position = ledger_positions.get(partition)
            try:
                low, high = self._reader.watermarks(partition)
                if position is None or position >= high:
                    continue
                if partition.topic == Topic.CLOCK:
                    position = max(low, high - 1)
                stop = min(high, position + left)
                left -= stop - position
                for records in self._reader.read(partition, position, stop):
                    self.apply(records)
            except RetentionError as lost:
                log.critical("%s", lost)
                raise
            except ReadError as away:
                log.warning("idle tail not read: %s", away)
                return

    def drain(self, limit: int = BOUNDED) -> int:
        """Derive again up to `limit` groups that patients, the clock or the rules touched; returns how many."""

        def restarted() -> None:
            self.restarts += 1

        groups = self._remembering(
            lambda: derive_dirty(
                self._connect(), self._codec, self._rules, limit, restarted, self._generation
            )
        )
        self.transactions += groups > 0
        self.owing = groups >= limit
        self._drained_at = time.monotonic()
        return groups

    def housekeep(self, assigned: Iterable[Partition]) -> dict[Partition, int]:
        """What is to be done from time to time: derive again what was touched, and read the idle tails of these
        partitions: of all where nothing came meanwhile, else of those that stand still for long. Returns the
        ledger's positions."""
        self.drain()
        before = self.applied
        if before == self._housekept:
            # A long tail is a backlog on its way here: whoever reads it whole holds up those who read it in batches.
            self.catch_up(assigned, TAIL_RECORDS)
            before = self.applied
        elif time.monotonic() - self._idle_at > IDLE_S:
            positions = self.positions()
            still = [p for p in assigned if positions.get(p) == self._idle_from.get(p, -1)]
            self.catch_up(still, TAIL_RECORDS)
            self._idle_at, self._idle_from = time.monotonic(), self.positions()
        self._housekept = before
        self._numbers.tell(self.applied, self.transactions, self.restarts)
        if time.monotonic() - self._told_at >= TOLD_S:
            self._tell()
        return self.positions()

    def _tell(self) -> None:
        """Say what was done since the last time, where there is something."""
        now = (self.applied, self.transactions, self.restarts)
        if now != self._told:
            done = (after - before for after, before in zip(now, self._told, strict=True))
            log.info("%d events in %d transactions; %d began again for a lock", *done)
        self._told, self._told_at = now, time.monotonic()

    def close(self) -> None:
        """Leave the servers."""
        self.stopping.set()
        self._tell()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._reader.close()
            self._snapshots.close()

    def _decode(self, records: Iterable[Record]) -> tuple[list[Decoded], dict[Partition, int]]:
        """Records as events, and the offsets at which partitions stop."""
        decoded, stopped = decode(self._codec, records)
        for stop in stopped:
            log.critical("%s[%d] stopped at offset %d: %s", *stop.partition, stop.offset, stop.reason)
        self._numbers.stopped(len(stopped))
        return decoded, {stop.partition: stop.offset for stop in stopped}

    def _stretch(self, hole: Hole) -> list[Record]:
        def read() -> list[Record]:
            return [r for batch in self._reader.read(hole.partition, hole.start, hole.stop) for r in batch]

        return self._insist(read)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._settings.postgres.url, autocommit=True)
        return self._connection

    def _insist(self, work: Callable[[], T]) -> T:
        """Do the work, again and again while a server is away."""
        attempt = 0
        while True:
            try:
                with self._lock:
                    return work()
            except RetentionError:
                raise
            except (psycopg.OperationalError, psycopg.InterfaceError, ReadError, BrokerAwayError) as away:
                if self.stopping.is_set():
                    raise StoppingError from away
                if attempt in (0, 10) or attempt % 60 == 0:
                    log.warning("waiting for a server: %s", str(away).strip().splitlines()[0])
                self._drop_connection()
                self._numbers.turn()
                self.stopping.wait(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
