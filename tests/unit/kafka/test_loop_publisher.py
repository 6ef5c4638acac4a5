"""The loop's publisher against librdkafka's mock cluster: the real protocol, without a broker."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.publisher import Position, Publication, PublishError
from dosestream.settings import KafkaSettings

Result = Position | PublishError


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[KafkaSettings]:
    """Settings of a mock cluster; topics make themselves, with four partitions."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=60).brokers.values()))
    yield KafkaSettings(bootstrap=f"{broker.host}:{broker.port}", delivery_timeout_ms=2000)
    del cluster


def records(count: int) -> list[Publication]:
    return [Publication("loop", b"%d" % number, b"v", []) for number in range(count)]


@pytest.mark.parametrize(
    "count", [1, 48, 240], ids=["a lone record", "few at once", "more than are sent one by one"]
)
def test_every_record_is_answered_once_with_a_position_of_its_own(
    mock_kafka: KafkaSettings, count: int
) -> None:
    answers: list[Result] = []

    async def publish() -> None:
        publisher = LoopPublisher(mock_kafka, asyncio.get_running_loop())
        for record in records(count):
            publisher.publish(record, answers.append)
        assert publisher.under_way == count
        await publisher.close()
        assert publisher.under_way == 0

    asyncio.run(publish())
    assert len({answer for answer in answers if isinstance(answer, Position)}) == len(answers) == count


def test_an_answer_comes_on_the_loops_thread_and_may_publish_the_next(mock_kafka: KafkaSettings) -> None:
    threads: set[int] = set()
    chain: list[Result] = []

    async def publish() -> None:
        publisher = LoopPublisher(mock_kafka, asyncio.get_running_loop())

        def done(result: Result) -> None:
            threads.add(threading.get_ident())
            chain.append(result)
            if len(chain) < 4:
                publisher.publish(records(1)[0], done)

        publisher.publish(records(1)[0], done)
        await publisher.close()

    asyncio.run(publish())
    assert threads == {threading.get_ident()}
    assert [type(result) for result in chain] == [Position] * 4


def test_a_record_that_is_too_large_fails_for_ever_and_the_others_pass(mock_kafka: KafkaSettings) -> None:
    small = KafkaSettings(bootstrap=mock_kafka.bootstrap, max_message_bytes=1000)
    answers: list[Result] = []

    async def publish() -> None:
        publisher = LoopPublisher(small, asyncio.get_running_loop())
        publisher.publish(Publication("loop", b"k", b"x" * (small.max_record_bytes + 1), []), answers.append)
        publisher.publish(records(1)[0], answers.append)
        await publisher.close()

    asyncio.run(publish())
    assert [getattr(answer, "retriable", "stored") for answer in answers] == [False, "stored"]


def test_with_the_broker_away_the_loop_lives_on_and_the_record_fails() -> None:
    answers: list[Result] = []
    turns = 0

    async def publish() -> None:
        nonlocal turns
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # bound, not listening: nobody else takes the port, nobody answers
            away = KafkaSettings(bootstrap=f"127.0.0.1:{nobody.getsockname()[1]}", delivery_timeout_ms=500)
            publisher = LoopPublisher(away, asyncio.get_running_loop())
            publisher.publish(records(1)[0], answers.append)
            while publisher.under_way:
                turns += 1
                await asyncio.sleep(0.01)

    asyncio.run(publish())
    assert [getattr(answer, "retriable", None) for answer in answers] == [True]
    assert turns > 1
