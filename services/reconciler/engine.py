"""Batches into the database, whatever happens: holes are read, a database away is waited for."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import psycopg

from dosestream.db import ledger
from dosestream.db.apply import Applied, apply, derive_dirty, enter_live_generation, mark_other_rules
from dosestream.db.ledger import Hole, HoleError
from dosestream.db.records import Decoded, decode
from dosestream.events.codec import Codec
from dosestream.kafka.reader import PartitionReader, ReadError, RetentionError
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import FACTS, Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import Settings

log = logging.getLogger("dosestream.reconciler")

RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)


T = TypeVar("T")


class StoppingError(Exception):
    """The service is asked to stop while it waits for a server."""


def _before(
    stopped: Mapping[Partition, int], batch: Iterable[Decoded], covered: Iterable[Hole]
) -> tuple[list[Decoded], list[Hole]]:
    """What may be applied of stopped partitions: nothing from the offset on at which each of them stops."""
    kept = [d for d in batch if d.record.offset < stopped.get(d.record.partition, d.record.offset + 1)]
    closed = [h._replace(stop=min(h.stop, stopped.get(h.partition, h.stop))) for h in covered]
    return kept, [h for h in closed if h.start < h.stop]


class Engine:
    """Applies records to the dose database on one connection; thread-safe, one transaction at a time."""

    def __init__(self, settings: Settings, codec: Codec, rules: Rules) -> None:
        self._settings, self._codec, self._rules = settings, codec, rules
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._reader = PartitionReader(settings.kafka)
        self.stopping = threading.Event()
        self.applied = 0

    def start(self) -> None:
        """Give every partition a ledger row and mark rows that other rules derived."""
        low = {
            partition: self._reader.watermarks(partition)[0]
            for topic in FACTS
            for partition in self._reader.partitions(topic)
        }
        with self._connect().transaction(), self._connect().cursor() as cursor:
            enter_live_generation(cursor)
            ledger.begin(cursor, low)
        mark_other_rules(self._connect(), self._rules)

    def positions(self) -> dict[Partition, int]:
        """Next offset by partition, as the ledger says; waits for a database that is away."""

        def read() -> dict[Partition, int]:
            with self._connect().transaction(), self._connect().cursor() as cursor:
                enter_live_generation(cursor)
                return ledger.read(cursor)

        return self._insist(read)

    def apply(self, records: Iterable[Record]) -> Applied:
        """Apply records, with those missing before them; returns when they are committed.

        Raises:
            StoppingError: the service stops; nothing of the batch was applied.
        """
        batch, stopped = self._decode(records)
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
        self._insist(lambda: derive_dirty(self._connect(), self._codec, self._rules))
        return applied

    def _apply(self, batch: Sequence[Decoded], covered: Sequence[Hole]) -> Applied:
        return self._insist(lambda: apply(self._connect(), self._codec, self._rules, batch, covered))

    def catch_up(self, partitions: Iterable[Partition]) -> None:
        """Read and apply what lies between the ledger and the end of these partitions: idle tails."""
        ledger_positions = self.positions()
        for partition in partitions:
            position = ledger_positions.get(partition)
            try:
                low, high = self._reader.watermarks(partition)
                if position is None or position >= high:
                    continue
                if partition.topic == Topic.CLOCK:
                    position = max(low, high - 1)
                for records in self._reader.read(partition, position, high):
                    self.apply(records)
            except RetentionError as lost:
                log.critical("%s", lost)
                raise
            except ReadError as away:
                log.warning("idle tail not read: %s", away)
                return

    def drain(self) -> int:
        """Derive again what patients, the clock or the rules touched; returns how many groups."""
        return self._insist(lambda: derive_dirty(self._connect(), self._codec, self._rules))

    def close(self) -> None:
        """Leave the servers."""
        self.stopping.set()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._reader.close()

    def _decode(self, records: Iterable[Record]) -> tuple[list[Decoded], dict[Partition, int]]:
        """Records as events, and the offsets at which partitions stop."""
        decoded, stopped = decode(self._codec, records)
        for stop in stopped:
            log.critical("%s[%d] stopped at offset %d: %s", *stop.partition, stop.offset, stop.reason)
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
            except (psycopg.OperationalError, psycopg.InterfaceError, ReadError) as away:
                if self.stopping.is_set():
                    raise StoppingError from away
                if attempt in (0, 10) or attempt % 60 == 0:
                    log.warning("waiting for a server: %s", str(away).strip().splitlines()[0])
                self._drop_connection()
                self.stopping.wait(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
