"""The audit trail against librdkafka's mock cluster: the real protocol, without a broker's process."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from dosestream.audit.trail import LONGEST, TOPIC, Kind, Trail
from dosestream.events.codec import Codec
from dosestream.events.records import Audit
from dosestream.settings import KafkaSettings

AT = 1_772_438_400_000_000


@pytest.fixture
def mock_kafka() -> Iterator[KafkaSettings]:
    """A mock cluster of the test's own; topics make themselves."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=60).brokers.values()))
    yield KafkaSettings(bootstrap=f"{broker.host}:{broker.port}")
    del cluster


def stored(kafka: KafkaSettings) -> list[tuple[Any, Audit]]:
    """Every audit record in the order of its number, with its message."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "t"})
    try:
        partitions = [
            TopicPartition(TOPIC, p, 0)
            for p in consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        ]
        left = sum(consumer.get_watermark_offsets(p, timeout=60)[1] for p in partitions)
        consumer.assign(partitions)
        found = []
        while left:
            messages = consumer.consume(left, timeout=60)
            assert messages
            left -= len(messages)
            found += [(message, Codec().decode(message.value(), Audit)) for message in messages]
        return sorted(found, key=lambda one: int(one[1].event_id.rpartition("-")[2]))
    finally:
        consumer.close()


def test_a_record_has_its_source_as_key_and_a_number_of_its_own(mock_kafka: KafkaSettings) -> None:
    trail = Trail(mock_kafka, Codec(), "ingest")
    trail.write(Kind.RECEIPT, AT, "RIS|HOSP", "10.0.0.1:4711", control_id="M1", answer="AA", raw_offset=5)
    trail.write(Kind.OPENED, AT, peer="10.0.0.2:1")
    trail.close(10)
    found = stored(mock_kafka)
    assert [record.kind for _, record in found] == ["started", "receipt", "connection_opened", "stopped"]
    assert [message.key() for message, _ in found] == [b"ingest", b"RIS|HOSP", b"ingest", b"ingest"]
    numbers = [int(record.event_id.rpartition("-")[2]) for _, record in found]
    assert numbers == [1, 2, 3, 4]
    receipt = found[1][1]
    assert (receipt.received_at, receipt.control_id, receipt.answer, receipt.raw_offset) == (
        AT,
        "M1",
        "AA",
        5,
    )
    headers = dict(found[1][0].headers())
    assert headers["ce_type"] == b"org.dosestream.audit.v1"
    assert headers["ce_id"] == receipt.event_id.encode()


def test_what_a_sender_writes_is_kept_short(mock_kafka: KafkaSettings) -> None:
    trail = Trail(mock_kafka, Codec(), "ingest")
    trail.write(Kind.RECEIPT, AT, "S" * 5000, control_id="C" * 5000, message_type="T" * 5000)
    trail.close(10)
    receipt = stored(mock_kafka)[1][1]
    assert {len(receipt.source), len(receipt.control_id), len(receipt.message_type)} == {LONGEST}


def test_records_that_found_no_room_are_a_gap_once_there_is_room(mock_kafka: KafkaSettings) -> None:
    trail = Trail(mock_kafka, Codec(), "ingest", queued=10)
    for number in range(25):
        trail.write(Kind.RECEIPT, AT, "S", control_id=str(number))
    lost = trail.lost
    assert lost
    deadline = time.monotonic() + 90
    while len(trail._producer):
        assert time.monotonic() < deadline
        trail._producer.poll(0.1)
    trail.write(Kind.RECEIPT, AT, "S", control_id="after")
    trail.close(10)
    records = [record for _, record in stored(mock_kafka)]
    gaps = [record for record in records if record.kind == Kind.GAP]
    assert [gap.count for gap in gaps] == [lost]
    receipts = [record.control_id for record in records if record.kind == Kind.RECEIPT]
    assert receipts == [*map(str, range(25 - lost)), "after"]
    assert records.index(gaps[0]) < len(records) - 2, "the gap is told before what came after it"


@pytest.mark.parametrize(("queued", "missing"), [(100, 0), (3, 2)], ids=["room", "no room"])
def test_records_of_before_the_registry_gave_an_id_are_held(
    mock_kafka: KafkaSettings, queued: int, missing: int
) -> None:
    codec = Codec(ask_registry=dict)
    trail = Trail(mock_kafka, codec, "ingest", queued=queued)
    for number in range(4):
        trail.write(Kind.RECEIPT, AT, "S", control_id=str(number))
        trail.poll()
    assert trail.lost == missing
    codec.register()
    trail.poll()
    trail._producer.flush(60)
    trail.close(10)
    records = [record for _, record in stored(mock_kafka)]
    heard = [record.control_id for record in records if record.kind == "receipt"]
    assert heard == ["0", "1", "2", "3"][: 4 - missing]
    assert sum(record.count for record in records if record.kind == "gap") == missing
    assert {record.kind for record in records} >= {"started", "stopped"}


def test_while_the_broker_is_away_records_wait_and_at_the_end_the_log_says_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers
        trail = Trail(KafkaSettings(bootstrap=f"127.0.0.1:{nobody.getsockname()[1]}"), Codec(), "ingest")
        for number in range(5):
            trail.write(Kind.RECEIPT, AT, "S", control_id=str(number))
        trail.poll()
        assert trail.lost == 0
        trail.close(0.2)
    assert "7 audit records are lost" in caplog.text
