"""What the loop's publisher does with any Kafka: the same tests against each that there is."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import pytest
import uvloop
from confluent_kafka import Consumer, TopicPartition

from dosestream.kafka.client import consumer_config
from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.partitioning import partition_of
from dosestream.kafka.publisher import Position, Publication, PublishError
from dosestream.settings import KafkaSettings

Result = Position | PublishError
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass(frozen=True)
class Kafka:
    """A Kafka under test: how to reach it, a topic of four partitions, and what lies at a position of it."""

    settings: KafkaSettings
    topic: str
    stored: Callable[[Position], Awaitable[Publication]]


# Opened on the loop of the test, and closed on it.
Door = Callable[[], AbstractAsyncContextManager[Kafka]]
PARTITIONS = 4


def reached(settings: KafkaSettings, topic: str) -> Door:
    """A Kafka outside of the loop, which a consumer reads."""

    def read(position: Position) -> Publication:
        consumer = Consumer(consumer_config(settings, group="reader"))
        try:
            consumer.assign([TopicPartition(topic, position.partition, position.offset)])
            (message,) = consumer.consume(1, timeout=60)
            return Publication(topic, message.key(), message.value(), list(message.headers() or []))
        finally:
            consumer.close()

    async def stored(position: Position) -> Publication:
        return await asyncio.to_thread(read, position)

    @asynccontextmanager
    async def door() -> AsyncIterator[Kafka]:
        yield Kafka(settings, topic, stored)

    return door


Test = Callable[[Kafka], Awaitable[None]]
Run = Callable[[Test], None]


def left_over() -> list[str]:
    """Tasks beside the test's own, and those that serve it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    names = [getattr(task.get_coro(), "__qualname__", "") for task in others]
    return [name for name in names if not (name.startswith("Broker.") or "_accept_connection" in name)]


class PublisherContract:
    """To be inherited; `door` says which Kafka."""

    @pytest.fixture
    def door(self) -> Door:
        raise NotImplementedError

    @pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
    def run(self, request: pytest.FixtureRequest, door: Door) -> Run:
        """Runs a test on a loop of its own; the end of the publisher leaves nothing on it."""

        def run(test: Test) -> None:
            async def whole() -> None:
                async with door() as kafka:
                    await test(kafka)
                    left = left_over()
                    assert not left, left

            with asyncio.Runner(loop_factory=request.param) as runner:
                runner.run(whole())

        return run

    @pytest.mark.parametrize(
        "count", [1, 48, 240], ids=["a lone record", "few at once", "more than are sent one by one"]
    )
    def test_every_record_is_answered_once_with_a_position_of_its_own(self, run: Run, count: int) -> None:
        answers: list[Result] = []

        async def publish(kafka: Kafka) -> None:
            publisher = LoopPublisher(kafka.settings, asyncio.get_running_loop())
            for number in range(count):
                publisher.publish(Publication(kafka.topic, b"%d" % number, b"v", []), answers.append)
            assert publisher.under_way == count
            await publisher.close()
            assert publisher.under_way == 0

        run(publish)
        assert len({answer for answer in answers if isinstance(answer, Position)}) == len(answers) == count

    def test_a_record_lies_at_its_position_with_key_value_and_headers(self, run: Run) -> None:
        async def publish(kafka: Kafka) -> None:
            publisher = LoopPublisher(kafka.settings, asyncio.get_running_loop())
            records = [
                Publication(kafka.topic, b"one", b"value", [("ce_id", b"1"), ("ce_type", "größe".encode())]),
                Publication(kafka.topic, b"two", b"", []),
                Publication(kafka.topic, b"three", None, [("ce_id", b"")]),
                Publication(kafka.topic, b"", bytes(range(256)) * 5000, []),
            ]
            answers: dict[bytes, Result] = {}
            for record in records:
                publisher.publish(record, partial(answers.__setitem__, record.key))
            await publisher.close()
            for record in records:
                position = answers[record.key]
                assert isinstance(position, Position)
                assert position.partition == partition_of(record.key, PARTITIONS)
                assert await kafka.stored(position) == record

        run(publish)

    def test_one_key_published_in_turn_lies_in_that_order(self, run: Run) -> None:
        answers: list[Result] = []

        async def publish(kafka: Kafka) -> None:
            publisher = LoopPublisher(kafka.settings, asyncio.get_running_loop())
            for number in range(20):
                publisher.publish(Publication(kafka.topic, b"patient", b"%d" % number, []), answers.append)
            await publisher.close()

        run(publish)
        positions = [answer for answer in answers if isinstance(answer, Position)]
        assert [one.offset - positions[0].offset for one in positions] == list(range(20))

    def test_an_answer_comes_on_the_loops_thread_and_may_publish_the_next(self, run: Run) -> None:
        threads: set[int] = set()
        chain: list[Result] = []

        async def publish(kafka: Kafka) -> None:
            publisher = LoopPublisher(kafka.settings, asyncio.get_running_loop())
            record = Publication(kafka.topic, b"k", b"v", [])

            def done(result: Result) -> None:
                threads.add(threading.get_ident())
                chain.append(result)
                if len(chain) < 4:
                    publisher.publish(record, done)

            publisher.publish(record, done)
            assert chain == []
            await publisher.close()

        run(publish)
        assert threads == {threading.get_ident()}
        assert [type(result) for result in chain] == [Position] * 4

    def test_a_record_that_is_too_large_fails_for_ever_and_the_others_pass(self, run: Run) -> None:
        answers: list[Result] = []

        async def publish(kafka: Kafka) -> None:
            small = replace(kafka.settings, max_message_bytes=1000)
            publisher = LoopPublisher(small, asyncio.get_running_loop())
            large = Publication(kafka.topic, b"k", b"x" * (small.max_record_bytes + 1), [])
            publisher.publish(large, answers.append)
            publisher.publish(Publication(kafka.topic, b"k", b"v", []), answers.append)
            await publisher.close()

        run(publish)
        assert [getattr(answer, "retriable", "stored") for answer in answers] == [False, "stored"]

    def test_a_publisher_that_is_closed_at_once_leaves_nothing(self, run: Run) -> None:
        async def publish(kafka: Kafka) -> None:
            await LoopPublisher(kafka.settings, asyncio.get_running_loop()).close()
            early = LoopPublisher(kafka.settings, asyncio.get_running_loop())
            await asyncio.sleep(0)
            await early.close()

        run(publish)
