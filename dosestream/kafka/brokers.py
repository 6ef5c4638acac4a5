"""The brokers as an event loop's producer knows them: who leads a partition, the connections, the producer's identity.

Metadata, TLS and SASL are aiokafka's. What cannot be had now is asked for again until it can: nothing here fails.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import aiokafka.errors as broker_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.structs import TopicPartition

from dosestream.kafka import security
from dosestream.kafka.outgoing import Batch, Identity
from dosestream.kafka.produce_connection import CLIENT, Answered, ProduceConnection, open_connection
from dosestream.kafka.records import Partition
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.brokers")

# After an error the same is tried again so much later.
REST_S: Final = 0.1
NOBODY: Final = -1
# While none of the known brokers answers, those of the configuration are asked again so often.
BEGIN_AGAIN_S: Final = 5.0
# Whoever does not answer what is not a record is given up in this part of a record's time: another may answer.
GREETING: Final = 1 / 3

# Of each topic that was asked for: its partitions, by number.
Topics = dict[str, tuple[Partition, ...]]


class Brokers:
    """From one event loop only.

    Attributes:
        topics: the topics known, with their partitions.
        refused: topics that this client may not write to.
        identity: what batches are sent under; None until a broker gave one.
        given_up: partitions whose numbers cannot be known any more; they go on under the next identity.
        reason: why something is not stored yet, for a person.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[], None],
        answered: Answered,
        lost: Callable[[list[Batch]], None],
    ) -> None:
        """`changed` is called when there is more to work with than before, `answered` with what a broker says of
        batches, `lost` with those whose connection ended before it did.

        Raises:
            SettingsError: a password or certificate cannot be read.
        """
        self._loop = loop
        self._address = kafka.bootstrap
        self._timeout_s = kafka.delivery_timeout_ms / 1000
        self._greeting_ms = int(kafka.delivery_timeout_ms * GREETING)
        self._changed, self._answered, self._lost = changed, answered, lost
        self._access = _access(kafka)
        self._asked: set[str] = set()
        self._client = self._new_client()
        self.topics: Topics = {}
        self.refused: set[str] = set()
        self.identity: Identity | None = None
        self.given_up: set[Partition] = set()
        self.reason = "Kafka does not answer"
        self._away = False
        self._leaders: dict[Partition, int] = {}
        self._connections: dict[int, ProduceConnection] = {}
        self._opening: set[int] = set()
        self._began = self._connecting = self._identifying = False
        self._begun_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin()

    def ask(self, topic: str) -> None:
        """Find out about a topic."""
        if topic not in self._asked:
            self._asked.add(topic)
            self._client.add_topic(topic)

    def refresh(self) -> None:
        """What is known has proved wrong, or too little."""
        self._client.force_metadata_update()

    def leader(self, place: Partition) -> int:
        """The node that leads a partition; NOBODY where none is known."""
        return self._leaders.get(place, NOBODY)

    def connection(self, node: int) -> ProduceConnection | None:
        """The connection to a node; None while there is none, and `changed` is called when there is."""
        found = self._connections.get(node)
        if found is None and node not in self._opening:
            self._opening.add(node)
            self._start(self._open(node))
        return found

    def identify(self) -> None:
        """Have an identity, unless one is on its way."""
        if not self._identifying and self._client.cluster.brokers():
            self._identifying = True
            self._start(self._identify())

    def look(self, now: float, *, waiting: bool) -> None:
        """End connections whose broker has not answered in time. Where none answers, or records are `waiting` for a
        leader, there may be other brokers by now: they are asked for as at the start.
        """
        if (self._away or waiting) and now > self._begun_at + BEGIN_AGAIN_S:
            self._begin()
        if waiting:
            self.refresh()
        for connection in list(self._connections.values()):
            if connection.unanswered and connection.unanswered[0].at + self._timeout_s <= now:
                connection.close("no answer in time")

    def heard(self) -> None:
        """A broker answers."""
        self._away = False

    async def close(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.close("")
        await self._client.close()

    def _begin(self) -> None:
        self._begun_at = self._loop.time()
        if not self._connecting:
            self._connecting = True
            self._start(self._connect())

    def _new_client(self) -> Any:
        client = AIOKafkaClient(
            loop=self._loop,
            bootstrap_servers=self._address,
            client_id=CLIENT,
            request_timeout_ms=self._greeting_ms,
            **self._access,
        )
        client.cluster.add_listener(self._learn)
        client.set_topics(self._asked)
        return client

    async def _connect(self) -> None:
        if self._began:
            # What asks for metadata in aiokafka may have ended by an error that it did not expect: all of it is new.
            before, self._client = self._client, self._new_client()
            await before.close()
        while True:
            try:
                await self._client.bootstrap()
                break
            except Exception as error:  # as in _open
                self._miss(type(error).__name__)
                await asyncio.sleep(REST_S)
        self._began, self._connecting = True, False
        # A beginning tells of the brokers only.
        self.refresh()
        self._changed()

    def _learn(self, cluster: Any) -> None:
        """The metadata is new."""
        self.refused = self._asked & set(cluster.unauthorized_topics)
        for topic in self._asked:
            numbers = cluster.partitions_for_topic(topic)
            if not numbers:
                # What was known of a topic stays: it may just be hidden by an election.
                self.reason = "Kafka has no such topic"
                continue
            self.topics[topic] = places = tuple(Partition(topic, number) for number in range(len(numbers)))
            for place in places:
                leader = cluster.leader_for_partition(TopicPartition(*place))
                self._leaders[place] = NOBODY if leader is None else leader
        self._changed()

    async def _open(self, node: int) -> None:
        broker = self._client.cluster.broker_metadata(node)
        try:
            if broker is None:
                raise broker_errors.BrokerNotAvailableError
            self._connections[node] = await open_connection(
                *(self._loop, broker.host, broker.port, self._greeting_ms, self._access),
                *(self._answered, lambda connection, reason: self._ended(node, connection, reason)),
            )
        except Exception as error:  # aiokafka also fails with what is no KafkaError
            self._miss(type(error).__name__)
            self.refresh()
            await asyncio.sleep(REST_S)
        self._opening.discard(node)
        self._changed()

    def _ended(self, node: int, connection: ProduceConnection, reason: str) -> None:
        self._connections.pop(node, None)
        lost = [batch for sent in connection.unanswered for batch in sent.batches]
        if lost:
            self._miss(reason)
            self._lost(lost)
        self.refresh()

    async def _identify(self) -> None:
        try:
            node = self._client.get_random_node()
            request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
            response = await self._client.send(node, request)
            if response.error_code:
                raise broker_errors.for_code(response.error_code)
            self.identity = Identity(response.producer_id, response.producer_epoch)
            self.given_up.clear()
        except Exception as error:  # as in _open
            self._miss(type(error).__name__)
            await asyncio.sleep(REST_S)
        self._identifying = False
        self._changed()

    def _miss(self, why: str) -> None:
        """A broker does not answer: once in the log, until one does."""
        self.reason = f"Kafka at {self._address} does not answer ({why})"
        if not self._away:
            self._away = True
            log.warning("%s: it is tried again until it does", self.reason)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _access(kafka: KafkaSettings) -> dict[str, Any]:
    """How aiokafka says who we are."""
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
