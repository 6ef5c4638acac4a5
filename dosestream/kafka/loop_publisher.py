"""Publishing from an event loop, on the loop itself: no thread, no queue of another's between it and the broker.

What is published while a request is under way travels in the next one, the records of all topics and partitions of a
broker together (Kafka protocol, Produce): so a lone record leaves at once, and the more senders there are, the more
records share a request. A producer on threads costs each record several wake-ups and the interpreter's lock, and
librdkafka sends a request for every partition. Connections, metadata, TLS and SASL are aiokafka's client's.

Each partition has one request under way at most, whose batch is sent again until the broker has it or its records are
late; the broker knows a batch that it has already. Records of one key may be stored out of order all the same, after
an error: nothing here depends on their order.
"""

import asyncio
import logging
from collections import Counter, defaultdict, deque
from typing import Any, Final

import aiokafka.errors as broker_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.transaction import InitProducerIdRequest

from dosestream.kafka import security
from dosestream.kafka.outgoing import BATCH_BYTES, Batch, Identity, Place, Waiting, size_of
from dosestream.kafka.partitioning import partition_of
from dosestream.kafka.produce import Answer
from dosestream.kafka.produce_connection import CLIENT, ProduceConnection, open_connection
from dosestream.kafka.publisher import Done, Position, Publication, PublishError
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.loop_publisher")

# Requests to one broker that are not answered yet: one that it works on, and the next.
UNANSWERED: Final = 2
# A request carries batches until it is so large, or one batch of any size.
REQUEST_BYTES: Final = 4 * BATCH_BYTES
# Records that may wait: bytes of their values, beyond what the largest needs.
QUEUED_BYTES: Final = 256 << 20
# After an error a partition rests; and so often late records are looked for.
REST_S: Final = 0.1
LOOK_S: Final = 0.1
# Whoever does not answer what is not a record is given up in this part of a record's time: another may answer.
GREETING: Final = 1 / 3
# The broker has met other numbers from this producer: it begins anew under another identity.
FORGOTTEN: Final = frozenset({45, 46, 47, 49, 59})
# Something of the batch can never be stored: each record is tried by itself.
NEVER_TOGETHER: Final = frozenset({2, 10, 18, 87})
# A record that will never be stored: too large, not authorised, not valid. Anything else may pass another time.
NEVER: Final = frozenset({10, 18, 29, 87})


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
        self._address = kafka.bootstrap
        self._timeout_s = kafka.delivery_timeout_ms / 1000
        self._greeting_ms = int(kafka.delivery_timeout_ms * GREETING)
        self._largest = kafka.max_record_bytes
        self._most_queued = max(QUEUED_BYTES, 4 * kafka.max_record_bytes)
        self._access = _access(kafka)
        self._client = AIOKafkaClient(
            loop=loop,
            bootstrap_servers=kafka.bootstrap,
            client_id=CLIENT,
            request_timeout_ms=self._greeting_ms,
            **self._access,
        )
        self._client.cluster.add_listener(self._learn)
        self._partitions: dict[str, int] = {}
        self._leaders: dict[Place, int] = {}
        self._identity: Identity | None = None
        # Partitions that go on under the next identity; the others keep this one until it is there.
        self._given_up: set[Place] = set()
        self._homeless: defaultdict[str, deque[Waiting]] = defaultdict(deque)
        self._queues: defaultdict[Place, deque[Waiting]] = defaultdict(deque)
        self._queued_bytes = 0
        # Batches that an error sent back, partitions that have one out or rest, and requests without an answer.
        self._again: dict[Place, Batch] = {}
        self._out: dict[Place, Batch] = {}
        # How many of a partition's next records travel in a batch of their own.
        self._alone: Counter[Place] = Counter()
        self._connections: dict[int, ProduceConnection] = {}
        self._opening: set[int] = set()
        self._flushing = self._identifying = False
        self._reason = "it does not answer"
        self._away = False
        self._look: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.under_way = 0
        self._start(self._connect())

    def publish(self, record: Publication, done: Done) -> None:
        """Hand one record over; `done` hears its position or its error exactly once, in a later turn of the
        loop. It may publish; it must not raise.
        """
        topic, key, value, _ = record
        loop = self._loop
        self.under_way += 1
        size = len(value or b"")
        if size > self._largest // 2 and size_of(record) > self._largest:
            refused = PublishError(f"{topic}: the record is larger than Kafka takes here", retriable=False)
            loop.call_soon(self._tell, done, refused)
            return
        if self._queued_bytes > self._most_queued:
            full = PublishError(f"{topic}: too much waits for Kafka: send slower", retriable=True)
            loop.call_soon(self._tell, done, full)
            return
        self._queued_bytes += size
        waiting = Waiting(record, done, loop.time() + self._timeout_s)
        partitions = self._partitions.get(topic)
        if partitions is None:
            if topic not in self._homeless:
                self._client.add_topic(topic)
            self._homeless[topic].append(waiting)
        else:
            self._queues[Place(topic, partition_of(key, partitions))].append(waiting)
            if not self._flushing:
                self._flush_soon()
        if self._look is None:
            self._look = loop.call_later(LOOK_S, self._fail_late)

    async def close(self) -> None:
        """Wait until every record has its answer."""
        while self.under_way:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._look is not None:
            self._look.cancel()
        for connection in list(self._connections.values()):
            connection.close("")
        await self._client.close()

    # What the brokers are.

    async def _connect(self) -> None:
        while True:
            try:
                await self._client.bootstrap()
                break
            except Exception as error:  # as in _open
                self._hear(type(error).__name__)
                await asyncio.sleep(REST_S)
        self._flush_soon()

    def _learn(self, cluster: Any) -> None:
        """The metadata is new."""
        for topic in (*self._homeless, *self._partitions):
            places = cluster.partitions_for_topic(topic)
            if not places:
                self._reason = "Kafka has no such topic"
                if topic in cluster.unauthorized_topics:
                    self._refuse(topic)
                continue
            self._partitions[topic] = len(places)
            for number in places:
                place = Place(topic, number)
                leader = cluster.leader_for_partition(place)
                self._leaders[place] = -1 if leader is None else leader
        for topic in [topic for topic in self._homeless if topic in self._partitions]:
            for waiting in self._homeless.pop(topic):
                key = waiting.record.key
                self._queues[Place(topic, partition_of(key, self._partitions[topic]))].append(waiting)
        self._flush_soon()

    def _refuse(self, topic: str) -> None:
        refused = PublishError(f"{topic}: Kafka does not let this client write to it", retriable=False)
        for waiting in self._homeless.pop(topic, ()):
            self._answer(waiting, refused)

    async def _identify(self) -> None:
        """Ask a broker for a producer's identity."""
        try:
            node = self._client.get_random_node()
            request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
            response = await self._client.send(node, request)
            if response.error_code:
                raise broker_errors.for_code(response.error_code)
            self._identity = Identity(response.producer_id, response.producer_epoch)
            self._given_up.clear()
        except Exception as error:  # as in _open
            self._hear(type(error).__name__)
            await asyncio.sleep(REST_S)
        self._identifying = False
        self._flush_soon()

    # The way of a record.

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits, as far as brokers may have more."""
        self._flushing = False
        if not (self._queues or self._again):
            return
        identity = self._identity
        wanted = identity is None or self._given_up
        if wanted and not self._identifying and self._client.cluster.brokers():
            self._identifying = True
            self._start(self._identify())
        if identity is None:
            return
        requests: dict[int, list[Batch]] = {}
        sizes: Counter[int] = Counter()
        for place in (*self._again, *self._queues):
            if place in self._out or place in self._given_up:
                continue
            node = self._leaders.get(place, -1)
            if node < 0:
                continue
            connection = self._connections.get(node)
            if connection is None:
                if node not in self._opening:
                    self._opening.add(node)
                    self._start(self._open(node))
                continue
            if len(connection.unanswered) >= UNANSWERED or sizes[node] > REQUEST_BYTES:
                continue
            batch = self._again.pop(place, None) or self._batch(identity, place)
            self._out[place] = batch
            requests.setdefault(node, []).append(batch)
            sizes[node] += len(batch.payload)
        for node, batches in requests.items():
            self._connections[node].send(batches, int(self._timeout_s * 1000))

    def _batch(self, identity: Identity, place: Place) -> Batch:
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

    def _sent_back(self, batches: list[Batch], found: list[Answer]) -> None:
        """A request has its answer."""
        self._away = False
        for place, code, offset in found:
            self._answered(self._out[place], code, offset)
        self._flush_soon()

    async def _open(self, node: int) -> None:
        """Connect to a broker."""
        broker = self._client.cluster.broker_metadata(node)
        try:
            if broker is None:
                raise broker_errors.BrokerNotAvailableError
            self._connections[node] = await open_connection(
                *(self._loop, broker.host, broker.port, self._greeting_ms, self._access),
                *(self._sent_back, lambda connection, reason: self._lost(node, connection, reason)),
            )
        except Exception as error:  # aiokafka also fails with what is no KafkaError
            self._hear(type(error).__name__)
            self._client.force_metadata_update()
            await asyncio.sleep(REST_S)
        self._opening.discard(node)
        self._flush_soon()

    def _lost(self, node: int, connection: ProduceConnection, reason: str) -> None:
        self._connections.pop(node, None)
        if connection.unanswered:
            self._hear(reason)
        for sent in connection.unanswered:
            for batch in sent.batches:
                self._rest(batch)
        self._client.force_metadata_update()

    def _answered(self, batch: Batch, code: int, offset: int) -> None:
        if not code:
            del self._out[batch.place]
            partition = batch.place.partition
            for number, waiting in enumerate(batch.records, offset):
                if waiting is not None:
                    self._answer(waiting, Position(partition, number))
            return
        error = broker_errors.for_code(code)
        self._reason = error.description or error.__name__
        if error.invalid_metadata:
            self._client.force_metadata_update()
        if code in FORGOTTEN or (code in NEVER_TOGETHER and len(batch.records) > 1):
            self._unpack(batch, alone=code not in FORGOTTEN)
        elif error.retriable:
            self._rest(batch)
        else:
            del self._out[batch.place]
            self._given_up.add(batch.place)
            said = f"{batch.place.topic}: Kafka refuses it: {self._reason}"
            refused = PublishError(said, retriable=code not in NEVER)
            for waiting in batch.unanswered:
                self._answer(waiting, refused)

    def _unpack(self, batch: Batch, *, alone: bool) -> None:
        """Its records wait again, for a batch of another identity."""
        place = batch.place
        self._given_up.add(place)
        if unanswered := batch.unanswered:
            self._queues[place].extendleft(reversed(unanswered))
            # They are answered from there: the batch, which is out until it has rested, has none any more.
            batch.records = []
            if alone:
                self._alone[place] = len(unanswered)
        self._loop.call_later(REST_S, self._rested, place)

    def _rest(self, batch: Batch) -> None:
        """Send it again in a while, unless all its records are late."""
        if batch.unanswered:
            self._again[batch.place] = batch
        else:
            # Whether it is stored is not known: its numbers cannot be counted on from.
            self._given_up.add(batch.place)
        self._loop.call_later(REST_S, self._rested, batch.place)

    def _rested(self, place: Place) -> None:
        self._out.pop(place, None)
        self._flush_soon()

    def _fail_late(self) -> None:
        """Answer records whose time is over, wherever they are."""
        self._look = None
        now = self._loop.time()
        late: list[Waiting] = []
        for queues in (self._homeless, self._queues):
            for place, queue in list(queues.items()):
                while queue and queue[0].deadline <= now:
                    late.append(queue.popleft())
                if not queue:
                    del queues[place]  # type: ignore[arg-type]
        for batch in (*self._out.values(), *self._again.values()):
            late += batch.late(now)
        for place, batch in list(self._again.items()):
            if not batch.unanswered:
                del self._again[place]
                self._given_up.add(place)
        for waiting in late:
            topic = waiting.record.topic
            self._answer(
                waiting, PublishError(f"{topic}: not stored in time: {self._reason}", retriable=True)
            )
        for connection in list(self._connections.values()):
            if connection.unanswered and connection.unanswered[0].at + self._timeout_s <= now:
                connection.close("no answer in time")
        if self._homeless or any(self._leaders.get(place, -1) < 0 for place in (*self._again, *self._queues)):
            self._client.force_metadata_update()
        # An answer may have published, and so begun the next look.
        if self.under_way and self._look is None:
            self._look = self._loop.call_later(LOOK_S, self._fail_late)

    def _answer(self, waiting: Waiting, result: Position | PublishError) -> None:
        self._queued_bytes -= len(waiting.record.value or b"")
        self.under_way -= 1
        waiting.done(result)

    def _tell(self, done: Done, error: PublishError) -> None:
        self.under_way -= 1
        done(error)

    def _hear(self, why: str) -> None:
        """A broker does not answer: once in the log, until it does."""
        self._reason = f"Kafka at {self._address} does not answer ({why})"
        if not self._away:
            self._away = True
            log.warning("%s: it is tried again until it does", self._reason)

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _access(kafka: KafkaSettings) -> dict[str, Any]:
    """How aiokafka's client says who it is."""
    access: dict[str, Any] = {"security_protocol": kafka.security_protocol}
    if security.is_tls(kafka):
        access["ssl_context"] = security.tls_context(kafka)
    if security.is_sasl(kafka):
        access |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.user,
            "sasl_plain_password": security.password(kafka),
        }
    return access
