"""Publishing from an event loop, on the loop itself: no thread, and no queue of another's, between it and the broker.

What is published while a request is under way travels in the next one, the records of all topics and partitions of a
broker together (Kafka protocol, Produce): so a lone record leaves at once, and the more senders there are, the more
records share a request. A producer on threads costs each record several wake-ups and the interpreter's lock, and
librdkafka sends a request for every partition.

Each partition has one batch under way at most, which is sent again until the broker has it or its records are late;
the broker knows a batch that it has already. Records of one key may be stored out of order all the same, after an
error: nothing here depends on their order.
"""

import asyncio
import logging
from collections import Counter, defaultdict, deque
from typing import Final, TypeVar

import aiokafka.errors as broker_errors

from dosestream.kafka.brokers import NOBODY, REST_S, Brokers
from dosestream.kafka.outgoing import BATCH_BYTES, Batch, Identity, Waiting, size_of
from dosestream.kafka.partitioning import partition_of
from dosestream.kafka.produce import Answer
from dosestream.kafka.produce_connection import ProduceConnection
from dosestream.kafka.publisher import Done, Position, Publication, PublishError
from dosestream.kafka.records import Partition
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.loop_publisher")

# Requests to one broker that are not answered yet: one that it works on, and the next.
UNANSWERED: Final = 2
# A request carries batches until it is so large, or one batch of any size.
REQUEST_BYTES: Final = 4 * BATCH_BYTES
# Records that may wait: bytes of their values, beyond what the largest needs.
QUEUED_BYTES: Final = 256 << 20
# So often late records are looked for.
LOOK_S: Final = 0.1
# The broker has met other numbers from this producer: it begins anew under another identity.
FORGOTTEN: Final = frozenset({45, 46, 47, 49, 59})
# Something of the batch can never be stored: each record is tried by itself.
NEVER_TOGETHER: Final = frozenset({2, 10, 18, 87})
# A record that will never be stored: too large, not authorised, not valid. Anything else may pass another time.
NEVER: Final = frozenset({10, 18, 29, 87})

K = TypeVar("K")


class LoopPublisher:
    """The idempotent producer of one event loop, acks from all in-sync replicas.

    A record fails within `kafka.delivery_timeout_ms` (and LOOK_S) when the broker is away; the publisher works again
    by itself when it is back. Everything, `done` included, happens on the loop's thread.
    """

    def __init__(self, kafka: KafkaSettings, loop: asyncio.AbstractEventLoop) -> None:
        """Connects by itself, in a later turn of the loop.

        Raises:
            SettingsError: a password or certificate cannot be read.
        """
        self._loop = loop
        self._timeout_ms = kafka.delivery_timeout_ms
        self._timeout_s = self._timeout_ms / 1000
        # Beyond the first a record's size is counted whole, and may not be over the second.
        self._large, self._largest = kafka.max_record_bytes // 2, kafka.max_record_bytes
        self._most_queued = max(QUEUED_BYTES, 4 * kafka.max_record_bytes)
        # Records of topics that are not known yet, and of partitions; and the bytes of all.
        self._homeless: defaultdict[str, deque[Waiting]] = defaultdict(deque)
        self._queues: defaultdict[Partition, deque[Waiting]] = defaultdict(deque)
        self._queued_bytes = 0
        # Batches under way, or at rest after an error; those that go again; and how many of a partition's next
        # records travel in a batch of their own.
        self._out: dict[Partition, Batch] = {}
        self._again: dict[Partition, Batch] = {}
        self._alone: Counter[Partition] = Counter()
        self._flushing = False
        self._look: asyncio.TimerHandle | None = None
        self.under_way = 0
        self._brokers = Brokers(kafka, loop, self._changed, self._heard, self._lost)

    def publish(self, record: Publication, done: Done) -> None:
        """Hand one record over; `done` hears its position or its error exactly once, in a later turn of the
        loop. It may publish; it must not raise.
        """
        topic, key, value, _ = record
        loop = self._loop
        self.under_way += 1
        size = len(value) if value is not None else 0
        self._queued_bytes += size
        waiting = Waiting(record, done, loop.time() + self._timeout_s)
        if size > self._large and size_of(record) > self._largest:
            loop.call_soon(self._refuse, waiting, "the record is larger than Kafka takes here", False)
        elif self._queued_bytes > self._most_queued:
            loop.call_soon(self._refuse, waiting, "too much waits for Kafka: send slower", True)
        elif (places := self._brokers.topics.get(topic)) is None:
            self._brokers.ask(topic)
            self._homeless[topic].append(waiting)
        else:
            self._queues[places[partition_of(key, len(places))]].append(waiting)
            self._flush_soon()
        if self._look is None:
            self._look = loop.call_later(LOOK_S, self._fail_late)

    async def close(self) -> None:
        """Wait until every record has its answer, and end the connections."""
        while self.under_way:
            await asyncio.sleep(0.01)
        if self._look is not None:
            self._look.cancel()
        await self._brokers.close()

    # What waits, to the brokers.

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits, as far as brokers may have more."""
        self._flushing = False
        if not (self._queues or self._again):
            return
        brokers, identity = self._brokers, self._brokers.identity
        if identity is None or brokers.given_up:
            brokers.identify()
        if identity is None:
            return
        requests: dict[ProduceConnection, list[Batch]] = {}
        sizes: defaultdict[ProduceConnection, int] = defaultdict(int)
        for place in (*self._again, *self._queues):
            if place in self._out or place in brokers.given_up:
                continue
            node = brokers.leader(place)
            connection = brokers.connection(node) if node != NOBODY else None
            if (
                connection is None
                or len(connection.unanswered) >= UNANSWERED
                or sizes[connection] > REQUEST_BYTES
            ):
                continue
            batch = self._again.pop(place) if place in self._again else self._batch(identity, place)
            self._out[place] = batch
            requests.setdefault(connection, []).append(batch)
            sizes[connection] += len(batch.payload)
        for connection, batches in requests.items():
            connection.send(batches, self._timeout_ms)

    def _batch(self, identity: Identity, place: Partition) -> Batch:
        queue = self._queues[place]
        if alone := self._alone.pop(place, 0):
            batch = identity.batch(place, queue, 1)
            if alone > 1:
                self._alone[place] = alone - 1
        else:
            batch = identity.batch(place, queue)
        if not queue:
            del self._queues[place]
        return batch

    # What the brokers say.

    def _changed(self) -> None:
        """More is known of the brokers than before."""
        topics = self._brokers.topics
        for topic in list(self._homeless):
            if topic in topics:
                places = topics[topic]
                for waiting in self._homeless.pop(topic):
                    self._queues[places[partition_of(waiting.record.key, len(places))]].append(waiting)
            elif topic in self._brokers.refused:
                for waiting in self._homeless.pop(topic):
                    self._refuse(waiting, "Kafka does not let this client write to it", False)
        self._flush_soon()

    def _heard(self, answers: list[Answer]) -> None:
        """A request has its answer."""
        self._brokers.heard()
        for place, code, offset in answers:
            if (batch := self._out.get(place)) is None:
                continue
            if code:
                self._failed(batch, code)
                continue
            del self._out[place]
            partition = place.number
            for number, waiting in enumerate(batch.records, offset):
                if waiting is not None:
                    self._answer(waiting, Position(partition, number))
        self._flush_soon()

    def _lost(self, batches: list[Batch]) -> None:
        """Their connection ended: they may be stored or not."""
        for batch in batches:
            self._rest(batch)

    def _failed(self, batch: Batch, code: int) -> None:
        brokers = self._brokers
        error = broker_errors.for_code(code)
        brokers.reason = error.description or error.__name__
        if error.invalid_metadata:
            brokers.refresh()
        if code in FORGOTTEN or (code in NEVER_TOGETHER and len(batch.records) > 1):
            self._unpack(batch, alone=code not in FORGOTTEN)
        elif error.retriable:
            self._rest(batch)
        else:
            del self._out[batch.place]
            brokers.given_up.add(batch.place)
            for waiting in batch.unanswered:
                self._refuse(waiting, f"Kafka refuses it: {brokers.reason}", code not in NEVER)

    def _unpack(self, batch: Batch, *, alone: bool) -> None:
        """Its records wait again, for a batch under another identity."""
        self._brokers.given_up.add(batch.place)
        if unanswered := batch.unanswered:
            self._queues[batch.place].extendleft(reversed(unanswered))
            # They are answered from there: the batch, which is out until it has rested, has none any more.
            batch.records = []
            if alone:
                self._alone[batch.place] = len(unanswered)
        self._loop.call_later(REST_S, self._rested, batch.place)

    def _rest(self, batch: Batch) -> None:
        """Send it again in a while, unless all its records are late."""
        if batch.unanswered:
            self._again[batch.place] = batch
        else:
            # Whether it is stored is not known: its numbers cannot be counted on from.
            self._brokers.given_up.add(batch.place)
        self._loop.call_later(REST_S, self._rested, batch.place)

    def _rested(self, place: Partition) -> None:
        self._out.pop(place, None)
        self._flush_soon()

    # What the publishers of records hear.

    def _fail_late(self) -> None:
        """Answer records whose time is over, wherever they are."""
        self._look = None
        now = self._loop.time()
        late = [*_late(self._homeless, now), *_late(self._queues, now)]
        for batch in self._out.values():
            late += batch.late(now)
        for place, batch in list(self._again.items()):
            late += batch.late(now)
            if not batch.unanswered:
                del self._again[place]
                self._brokers.given_up.add(place)
        for waiting in late:
            self._refuse(waiting, f"not stored in time: {self._brokers.reason}", True)
        leader = self._brokers.leader
        unled = bool(self._homeless) or any(
            leader(place) == NOBODY for place in (*self._again, *self._queues)
        )
        self._brokers.look(now, waiting=unled)
        # An answer may have published, and so begun the next look.
        if self.under_way and self._look is None:
            self._look = self._loop.call_later(LOOK_S, self._fail_late)

    def _refuse(self, waiting: Waiting, why: str, retriable: bool) -> None:
        self._answer(waiting, PublishError(f"{waiting.record.topic}: {why}", retriable=retriable))

    def _answer(self, waiting: Waiting, result: Position | PublishError) -> None:
        record, done, _ = waiting
        if record.value is not None:
            self._queued_bytes -= len(record.value)
        self.under_way -= 1
        try:
            done(result)
        except Exception:
            # It must not; others' records are not to wait for ever because one did.
            log.exception("%s: what hears of a record failed", record.topic)


def _late(queues: dict[K, deque[Waiting]], now: float) -> list[Waiting]:
    """Taken out of the queues: what should have an answer by now."""
    late: list[Waiting] = []
    for key, queue in list(queues.items()):
        while queue and queue[0].deadline <= now:
            late.append(queue.popleft())
        if not queue:
            del queues[key]
    return late
