"""The loop's publisher against a real broker: the same contract, and a broker that stops or dies under it."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic
from publisher_contract import PARTITIONS, Door, PublisherContract, Result, reached
from started_server import started

from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.kafka.administration import Administration
from dosestream.kafka.client import consumer_config
from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.publisher import Position, Publication
from dosestream.settings import KafkaSettings

pytestmark = pytest.mark.stack

RATE = 200
TURN_S = 1 / RATE
# Records fail sooner than in service, so that a broker need not be away for long.
FAILS_MS = 1500


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker of the module's own, which its tests stop and kill."""
    taken: set[int] = set()
    server = EmbeddedKafka(
        tmp_path_factory.mktemp("kafka"), KafkaSettings(), ports.free(taken), ports.free(taken)
    )
    with started(server):
        yield server


def topic(kafka: KafkaSettings, name: str) -> str:
    """A new topic of four partitions."""
    admin = Administration(kafka)
    (future,) = admin.client.create_topics([NewTopic(name, PARTITIONS, 1)]).values()
    admin.settle(f"to make {name}", future)
    return name


class TestRealBroker(PublisherContract):
    @pytest.fixture
    def door(self, broker: EmbeddedKafka, request: pytest.FixtureRequest) -> Door:
        kafka = broker.client_settings()
        # One key's records are counted: each test has a topic of its own.
        name = "".join(one if one.isalnum() else "-" for one in request.node.name)
        return reached(kafka, topic(kafka, name))


@dataclass
class Load:
    """Records at an even rate, and what is heard of each."""

    publisher: LoopPublisher
    topic: str
    results: list[list[Result]] = field(default_factory=list)
    over: bool = False

    async def run(self) -> None:
        while not self.over:
            heard: list[Result] = []
            number = b"%d" % len(self.results)
            self.results.append(heard)
            self.publisher.publish(Publication(self.topic, number, b"v" + number, []), heard.append)
            await asyncio.sleep(TURN_S)

    async def stored(self, count: int) -> None:
        """Wait until so many more are stored."""
        wanted = self.count() + count
        while self.count() < wanted:
            await asyncio.sleep(0.05)

    async def failed(self) -> None:
        """Wait until one has failed."""
        while not any(not isinstance(result, Position) for heard in self.results for result in heard):
            await asyncio.sleep(0.05)

    def count(self) -> int:
        return sum(isinstance(result, Position) for heard in self.results for result in heard)


def end(consumer: Consumer, place: TopicPartition) -> int:
    """Of a partition; a broker that was fenced while it was suspended leads none for a moment."""
    while True:
        try:
            return int(consumer.get_watermark_offsets(place, timeout=60)[1])
        except KafkaException as error:
            assert error.args[0].code() == KafkaError._UNKNOWN_PARTITION
            time.sleep(0.1)


def held(kafka: KafkaSettings, name: str) -> dict[Position, tuple[bytes, bytes]]:
    """Every record of a topic."""
    consumer = Consumer(consumer_config(kafka, group="reader"))
    try:
        found: dict[Position, tuple[bytes, bytes]] = {}
        places = [TopicPartition(name, number, 0) for number in range(PARTITIONS)]
        total = sum(end(consumer, place) for place in places)
        consumer.assign(places)
        while len(found) < total:
            for message in consumer.consume(1000, timeout=1):
                assert message.error() is None
                found[Position(message.partition(), message.offset())] = (message.key(), message.value())
        return found
    finally:
        consumer.close()


async def suspended(broker: EmbeddedKafka, load: Load) -> None:
    """Not scheduled for longer than a record may wait, and then as if nothing had been."""
    assert broker.process is not None
    os.killpg(broker.process.pid, signal.SIGSTOP)
    try:
        await load.failed()
        await asyncio.sleep(FAILS_MS / 1000)
    finally:
        os.killpg(broker.process.pid, signal.SIGCONT)


async def killed(broker: EmbeddedKafka, load: Load) -> None:
    """Killed, away for longer than a record may wait, and started again."""
    assert broker.process is not None
    broker.process.kill()
    broker.process.wait()
    await load.failed()
    broker.launch()
    await asyncio.to_thread(partial(broker.wait_ready, 200))


@pytest.mark.parametrize("happens", [suspended, killed], ids=["suspended", "killed"])
def test_every_position_heard_is_in_the_topic_when_the_broker_is(
    broker: EmbeddedKafka,
    happens: Callable[[EmbeddedKafka, Load], Awaitable[None]],
    request: pytest.FixtureRequest,
) -> None:
    kafka = replace(broker.client_settings(), delivery_timeout_ms=FAILS_MS)
    name = topic(kafka, request.node.callspec.id)
    results: list[list[Result]] = []

    async def publish() -> None:
        publisher = LoopPublisher(kafka, asyncio.get_running_loop())
        load = Load(publisher, name, results)
        running = asyncio.create_task(load.run())
        await load.stored(200)
        await happens(broker, load)
        await load.stored(200)
        load.over = True
        await running
        await publisher.close()

    asyncio.run(publish())
    assert {len(heard) for heard in results} == {1}
    failures = [heard[0] for heard in results if not isinstance(heard[0], Position)]
    assert failures
    assert all(failure.retriable for failure in failures)
    found = held(kafka, name)
    for number, (result,) in enumerate(results):
        if isinstance(result, Position):
            assert found[result] == (b"%d" % number, b"v%d" % number)
    assert len({result for (result,) in results if isinstance(result, Position)}) == len(results) - len(
        failures
    )
