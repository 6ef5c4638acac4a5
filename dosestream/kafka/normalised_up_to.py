"""Normalised up to here: no raw record stays without its events, whatever died in between.

Per partition of a raw topic a mark is kept: every raw record below it has its events (or its rejection) in
Kafka. The mark is a committed offset of a consumer group that nobody joins, so no database is needed. At
start, what lies between the mark and the end of the topic is normalised again; an event's id comes from the
message's bytes, so an event published twice has its effect once.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from dosestream.events.codec import Codec, MalformedRecordError
from dosestream.events.records import RawMessage
from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.client import consumer_config
from dosestream.kafka.publisher import Position, Publication, Publisher, PublishError
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.normalised_up_to")

HL7_GROUP = "dosestream-normalised-hl7"
DICOM_GROUP = "dosestream-normalised-dicom"

# What is to be published for one raw record: its events, or its rejection, or nothing.
Normalise = Callable[[RawMessage, Position], Iterable[Publication]]

TICK_S = 5.0
# Offsets of a group without members expire (broker default: 7 days after the commit), so they are renewed.
RENEW_S = 3600.0
CALL_TIMEOUT_S = 10.0
BATCH = 200
UNDER_WAY_BYTES = 32 * 1024 * 1024


class RepairStoppedError(Exception):
    """The repair was told to stop; the next start takes it up again."""


class LowWater:
    """The contiguous low-water mark of one raw partition: pure, not locked.

    Each offset is unknown, then open (stored, its events not yet), then finished. The mark is the lowest
    offset that is not finished.
    """

    def __init__(self, mark: int) -> None:
        self.mark = mark
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._end = mark

    def stored(self, offset: int) -> None:
        """The raw record is in Kafka, its events are under way."""
        if offset >= self.mark:
            self._open.add(offset)

    def finished(self, offset: int) -> None:
        """Everything made from the raw record is in Kafka."""
        self._open.discard(offset)
        if offset < self.mark:
            return
        self._finished.add(offset)
        while self.mark in self._finished:
            self._finished.remove(self.mark)
            self.mark += 1

    def failed(self, offset: int) -> None:
        """Something made from the raw record is not known to be in Kafka: the offset is a hole again."""
        self._open.discard(offset)
        self._end = max(self._end, offset + 1)

    def holes(self) -> list[tuple[int, int]]:
        """Ranges `[first, next)` that are neither open nor finished, below an offset that is known.

        A raw record whose events failed is one, and a record stored by a produce that timed out.
        """
        known = sorted(self._open | self._finished)
        ranges, expected = [], self.mark
        for offset in known:
            if offset > expected:
                ranges.append((expected, offset))
            expected = offset + 1
        if self._end > expected:
            ranges.append((expected, self._end))
        return ranges


class NormalisedUpTo:
    """The marks of one raw topic: repaired at start, kept while records pass, committed on a timer.

    Use: `repair()`, then `start()`; per message `stored(position)` and, when all its records are delivered,
    `finished(position)`, or `failed(position)`; at the end `close()`. One process per group.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        topic: str,
        group: str,
        normalise: Normalise,
        publisher: Publisher,
        codec: Codec,
        tick_s: float = TICK_S,
    ) -> None:
        self._kafka = kafka
        self._tick_s = tick_s
        self._topic = topic
        self._group = group
        self._normalise = normalise
        self._publisher = publisher
        self._codec = codec
        self._consumer: Any = Consumer(consumer_config(kafka, group=group))
        self._lock = threading.Lock()
        self._waters: dict[int, LowWater] = {}
        self._committed: dict[int, int] = {}
        self._committed_at = 0.0
        self._suspected: dict[int, list[tuple[int, int]]] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def repair(self) -> int:
        """Normalise every raw record from the marks to the end of the topic; how many there were.

        Raises:
            BrokerAwayError: try again when the broker is back; what was done is not lost.
            UnknownSchemaError: a raw record was written with a schema that is not known here.
            RepairStoppedError: `stop()` was called.
        """
        count = 0
        for partition, (committed, low, high) in sorted(self._bounds().items()):
            if 0 <= committed < low:
                log.error(
                    "%s[%d]: records from %d to %d are gone (retention) and may never have been normalised",
                    self._topic,
                    partition,
                    committed,
                    low,
                )
            first = min(max(committed, low), high)
            count += self._normalise_range(partition, first, high)
            with self._lock:
                self._waters[partition] = LowWater(high)
        self.commit()
        return count

    def start(self) -> None:
        """Commit on a timer, and normalise what a failed or timed-out produce left behind."""
        self._thread = threading.Thread(target=self._tick, name="normalised-up-to", daemon=True)
        self._thread.start()

    def stored(self, position: Position) -> None:
        """The raw record is in Kafka, its events are under way. Any thread."""
        with self._lock:
            self._water(position).stored(position.offset)

    def finished(self, position: Position) -> None:
        """Everything made from the raw record is in Kafka. Any thread."""
        with self._lock:
            self._water(position).finished(position.offset)

    def failed(self, position: Position) -> None:
        """Something made from the raw record failed: it is normalised again in a while, or at the next start."""
        with self._lock:
            self._water(position).failed(position.offset)

    def marks(self) -> Mapping[int, int]:
        """Partition to the lowest raw offset whose events are not known to be in Kafka."""
        with self._lock:
            return {partition: water.mark for partition, water in self._waters.items()}

    def commit(self) -> None:
        """Commit the marks that moved (all of them once an hour).

        Raises:
            BrokerAwayError: the broker did not take them.
        """
        marks = dict(self.marks())
        renew = time.monotonic() - self._committed_at > RENEW_S
        moved = {p: mark for p, mark in marks.items() if renew or self._committed.get(p) != mark}
        if not moved:
            return
        try:
            self._consumer.commit(
                offsets=[TopicPartition(self._topic, p, mark) for p, mark in moved.items()],
                asynchronous=False,
            )
        except KafkaException as error:
            raise BrokerAwayError(f"{self._group}: offsets were not committed: {error}") from error
        self._committed.update(moved)
        if renew:
            self._committed_at = time.monotonic()

    def stop(self) -> None:
        """Let a repair that runs in another thread end soon."""
        self._closing.set()

    def close(self) -> None:
        """Stop the timer and commit the marks once more."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.commit()
        except BrokerAwayError as error:
            log.warning("%s; the next start normalises a little again", error)
        self._consumer.close()

    def _water(self, position: Position) -> LowWater:
        if position.partition not in self._waters:
            # A partition added while running: nothing in it is known to be normalised.
            self._waters[position.partition] = LowWater(0)
        return self._waters[position.partition]

    def _tick(self) -> None:
        while not self._closing.wait(self._tick_s):
            try:
                self._consumer.poll(0)  # drops the client's own error events
                self._mend()
                self.commit()
            except RepairStoppedError:
                return
            except BrokerAwayError as error:
                log.warning("%s", error)
            except Exception:  # the marks stay behind, which is safe; the listener goes on
                log.exception("normalised-up-to: a repair failed and is tried again")

    def _mend(self) -> None:
        """Normalise the holes that were there a tick ago too (younger ones may just be late answers)."""
        with self._lock:
            holes = {p: water.holes() for p, water in self._waters.items()}
        for partition, ranges in holes.items():
            for first, end in ranges:
                if (first, end) not in self._suspected.get(partition, []):
                    continue
                count = self._normalise_range(partition, first, end)
                log.info("%s[%d]: %d raw records normalised again", self._topic, partition, count)
                with self._lock:
                    for offset in range(first, end):
                        self._waters[partition].finished(offset)
        self._suspected = holes

    def _bounds(self) -> dict[int, tuple[int, int, int]]:
        """Partition to (committed mark or a negative number, first offset held, end)."""
        try:
            metadata = self._consumer.list_topics(self._topic, timeout=CALL_TIMEOUT_S).topics[self._topic]
            if metadata.error is not None:
                raise BrokerAwayError(f"{self._topic}: {metadata.error}: create the topics first")
            wanted = [TopicPartition(self._topic, p) for p in metadata.partitions]
            bounds = {}
            for at in self._consumer.committed(wanted, timeout=CALL_TIMEOUT_S):
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic, at.partition), timeout=CALL_TIMEOUT_S
                )
                bounds[at.partition] = (at.offset, low, high)
            return bounds
        except KafkaException as error:
            raise BrokerAwayError(f"Kafka at {self._kafka.bootstrap} does not answer: {error}") from error

    def _normalise_range(self, partition: int, first: int, end: int) -> int:
        """Publish what is made from the raw records `[first, end)` and wait for it; how many records."""
        count = 0
        for batch in self._read(partition, first, end):
            if self._closing.is_set():
                raise RepairStoppedError(f"{self._topic}[{partition}]: the repair was stopped")
            pending = _Pending()
            for message in batch:
                position = Position(partition, message.offset())
                try:
                    raw = self._codec.decode(message.value() or b"", RawMessage)
                except MalformedRecordError as error:
                    log.error("%s[%d]@%d is skipped: %s", self._topic, partition, position.offset, error)
                    continue
                for publication in self._normalise(raw, position):
                    pending.add(len(publication.value or b""))
                    self._publisher.publish(*publication, pending.done)
                count += 1
                if pending.size > UNDER_WAY_BYTES:
                    pending.wait()
            pending.wait()
        return count

    def _read(self, partition: int, first: int, end: int) -> Iterator[list[Any]]:
        """Batches of records of `[first, end)`; a hole in the log is passed when the position passes it."""
        if first >= end:
            return
        here = TopicPartition(self._topic, partition, first)
        self._consumer.assign([here])
        try:
            silent_since, expected = time.monotonic(), first
            while True:
                # No more than are left: consume() waits until it has as many as it was asked for.
                messages = self._consumer.consume(min(BATCH, end - expected), timeout=0.5)
                for message in messages:
                    if message.error() is not None:
                        raise BrokerAwayError(f"{self._topic}[{partition}]: {message.error()}")
                batch = [message for message in messages if message.offset() < end]
                if batch:
                    yield batch
                    silent_since, expected = time.monotonic(), batch[-1].offset() + 1
                if (
                    expected >= end
                    or len(batch) < len(messages)
                    or self._consumer.position([here])[0].offset >= end
                ):
                    return
                if time.monotonic() - silent_since > 3 * CALL_TIMEOUT_S:
                    raise BrokerAwayError(f"{self._topic}[{partition}]: no records came from {first} on")
        except KafkaException as error:
            raise BrokerAwayError(f"{self._topic}[{partition}]: {error}") from error
        finally:
            self._consumer.unassign()


class _Pending:
    """Counts records under way (and the bytes since the last wait) and keeps the first error."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self.size = 0
        self._error: PublishError | None = None

    def add(self, size: int) -> None:
        with self._condition:
            self._count += 1
            self.size += size

    def done(self, result: Position | PublishError) -> None:
        with self._condition:
            self._count -= 1
            if isinstance(result, PublishError):
                self._error = self._error or result
            self._condition.notify_all()

    def wait(self) -> None:
        """Raises BrokerAwayError when a record failed."""
        with self._condition:
            self._condition.wait_for(lambda: self._count == 0)
            self.size = 0
        if self._error is not None:
            raise BrokerAwayError(str(self._error)) from self._error
