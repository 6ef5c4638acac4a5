"""Where a key lies, against two who decide it apart from us: aiokafka's partitioner and librdkafka's."""

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.partitioner import murmur2 as aiokafkas_murmur2
from confluent_kafka import Producer
from hypothesis import example, given
from hypothesis import strategies as st

from dosestream.kafka.partitioning import murmur2, partition_of

KEYS = [b"", b"a", b"ab", b"abc", b"abcd", b"\xff" * 7, bytes(range(256)), b"HOSP|1234", b"\x00" * 33]


@given(st.binary(max_size=80))
@example(b"")
@example(b"\xff\xff\xff\xff\xff")
def test_the_hash_is_javas(data: bytes) -> None:
    assert murmur2(data) == aiokafkas_murmur2(data)


# Of Kafka's own test, UtilsTest.testMurmur2, as signed numbers.
@pytest.mark.parametrize(
    ("data", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_of_kafkas_own_examples(data: bytes, hashed: int) -> None:
    assert murmur2(data) == hashed & 0xFFFFFFFF


@given(st.binary(max_size=40), st.integers(1, 200))
def test_a_partition_is_one_of_the_topics(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


def test_librdkafka_puts_every_key_where_we_do() -> None:
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=60).brokers.values()))
    producer = Producer(
        {"bootstrap.servers": f"{broker.host}:{broker.port}", "partitioner": "murmur2_random", "log_level": 0}
    )
    found: dict[bytes, int] = {}

    def keep(key: bytes) -> Callable[[Any, Any], None]:
        def told(error: Any, message: Any) -> None:
            assert error is None
            found[key] = message.partition()

        return told

    # librdkafka takes an empty key for none, and puts it anywhere.
    keys = [key for key in KEYS if key] + [b"patient %d" % number for number in range(60)]
    for key in keys:
        producer.produce("keys", b"v", key, on_delivery=keep(key))
    assert producer.flush(60) == 0
    partitions = len(producer.list_topics("keys", timeout=60).topics["keys"].partitions)
    assert found == {key: partition_of(key, partitions) for key in keys}
    assert set(found.values()) == set(range(partitions))
