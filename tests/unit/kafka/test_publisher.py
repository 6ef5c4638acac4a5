"""The publisher against librdkafka's mock cluster: the real protocol, without a broker."""

import socket
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from dosestream.kafka.client import consumer_config
from dosestream.kafka.publisher import Position, Publisher, PublishError
from dosestream.settings import KafkaSettings


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[KafkaSettings]:
    """Settings of a mock cluster; topics make themselves, with four partitions."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=60).brokers.values()))
    yield KafkaSettings(bootstrap=f"{broker.host}:{broker.port}", delivery_timeout_ms=2000)
    del cluster


def stored(
    kafka: KafkaSettings, topic: str, position: Position
) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    consumer = Consumer(consumer_config(kafka, group="reader"))
    try:
        consumer.assign([TopicPartition(topic, position.partition, position.offset)])
        (message,) = consumer.consume(1, timeout=60)
        return message.key(), message.value(), message.headers()
    finally:
        consumer.close()


def test_a_record_is_stored_with_key_and_headers_at_its_position(mock_kafka: KafkaSettings) -> None:
    publisher = Publisher(mock_kafka)
    position = publisher.publish_and_wait("one", b"key", b"value", [("ce_id", b"1")])
    publisher.close()
    assert stored(mock_kafka, "one", position) == (b"key", b"value", [("ce_id", b"1")])


def test_every_record_gets_its_answer_before_close_returns(mock_kafka: KafkaSettings) -> None:
    publisher = Publisher(mock_kafka)
    answers: list[Position | PublishError] = []
    for number in range(500):
        publisher.publish("many", b"%d" % number, b"v", [], answers.append)
    publisher.close()
    assert len(answers) == 500
    assert all(isinstance(answer, Position) for answer in answers)
    assert len(set(answers)) == 500


def test_answers_come_on_one_thread_that_is_not_the_callers(mock_kafka: KafkaSettings) -> None:
    publisher = Publisher(mock_kafka)
    threads: set[int] = set()
    for _ in range(20):
        publisher.publish("threads", b"k", b"v", [], lambda _: threads.add(threading.get_ident()))
    publisher.close()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_one_key_is_one_partition_in_order(mock_kafka: KafkaSettings) -> None:
    publisher = Publisher(mock_kafka)
    positions = [publisher.publish_and_wait("order", b"patient", b"%d" % n, []) for n in range(5)]
    publisher.close()
    assert len({position.partition for position in positions}) == 1
    offsets = [position.offset for position in positions]
    assert offsets == list(range(offsets[0], offsets[0] + 5))


def test_a_record_that_is_too_large_fails_for_ever(mock_kafka: KafkaSettings) -> None:
    small = KafkaSettings(bootstrap=mock_kafka.bootstrap, max_message_bytes=1000)
    publisher = Publisher(small)
    with pytest.raises(PublishError) as caught:
        publisher.publish_and_wait("large", b"k", b"x" * (small.max_record_bytes + 1), [])
    publisher.close()
    assert not caught.value.retriable


def test_with_the_broker_away_a_record_fails_and_may_be_tried_again() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening: nobody else takes the port, nobody answers
        publisher = Publisher(
            KafkaSettings(bootstrap=f"127.0.0.1:{nobody.getsockname()[1]}", delivery_timeout_ms=500)
        )
        with pytest.raises(PublishError) as caught:
            publisher.publish_and_wait("away", b"k", b"v", [])
        publisher.close()
    assert caught.value.retriable
