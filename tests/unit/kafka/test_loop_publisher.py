"""The loop's publisher against librdkafka's mock cluster and against scripted brokers: the real protocol, without a
broker.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Producer
from publisher_contract import Door, Kafka, PublisherContract, Result, reached
from scripted_broker import scripted

from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.publisher import Position, Publication
from dosestream.kafka.records import Partition
from dosestream.settings import KafkaSettings


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[KafkaSettings]:
    """Settings of a mock cluster; topics make themselves, with four partitions."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=60).brokers.values()))
    yield KafkaSettings(bootstrap=f"{broker.host}:{broker.port}", delivery_timeout_ms=2000)
    del cluster


class TestMockCluster(PublisherContract):
    @pytest.fixture
    def door(self, mock_kafka: KafkaSettings) -> Door:
        return reached(mock_kafka, "loop")


class TestScriptedBrokers(PublisherContract):
    @pytest.fixture
    def door(self) -> Door:
        @asynccontextmanager
        async def door() -> AsyncIterator[Kafka]:
            async with scripted() as cluster:

                async def stored(position: Position) -> Publication:
                    return cluster.logs[Partition("loop", position.partition)].records[position.offset]

                yield Kafka(cluster.settings, "loop", stored)

        return door


def test_with_the_broker_away_the_loop_lives_on_and_the_record_fails() -> None:
    answers: list[Result] = []
    turns = 0

    async def publish() -> None:
        nonlocal turns
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # bound, not listening: nobody else takes the port, nobody answers
            away = KafkaSettings(bootstrap=f"127.0.0.1:{nobody.getsockname()[1]}", delivery_timeout_ms=500)
            publisher = LoopPublisher(away, asyncio.get_running_loop())
            publisher.publish(Publication("loop", b"k", b"v", []), answers.append)
            while publisher.under_way:
                turns += 1
                await asyncio.sleep(0.01)
            await publisher.close()

    asyncio.run(publish())
    assert [getattr(answer, "retriable", None) for answer in answers] == [True]
    assert turns > 1
