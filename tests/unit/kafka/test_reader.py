"""Reading by offsets against librdkafka's mock cluster: the real protocol, without a broker."""

from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest
from confluent_kafka import Producer

from dosestream.kafka.reader import PartitionReader, ReadError, messages, offset_consumer
from dosestream.kafka.records import Partition
from dosestream.settings import KafkaSettings

ONE, OTHER = Partition("two", 0), Partition("two", 1)
Stretches = Mapping[Partition, tuple[int, int]]


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaSettings]:
    """A mock cluster with a topic whose first partition holds ten records and whose second five."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=60).brokers.values()))
    for where, count in ((ONE, 10), (OTHER, 5)):
        for number in range(count):
            cluster.produce(where.topic, b"%d" % number, partition=where.number)
    assert not cluster.flush(60)
    yield KafkaSettings(bootstrap=f"{broker.host}:{broker.port}")
    del cluster


def read(
    kafka: KafkaSettings, stretches: Stretches, page: int, silence_s: float = 60.0
) -> dict[int, list[int]]:
    """The offsets that came, by partition."""
    found: dict[int, list[int]] = {}
    with closing(offset_consumer(kafka)) as consumer:
        for batch in messages(consumer, stretches, page=page, silence_s=silence_s):
            assert len(batch) <= page
            for message in batch:
                found.setdefault(message.partition(), []).append(message.offset())
    return found


@pytest.mark.parametrize("page", [1, 3, 1000])
@pytest.mark.parametrize(
    ("stretches", "offsets"),
    [
        pytest.param({ONE: (0, 10)}, {0: [*range(10)]}, id="a whole partition"),
        pytest.param({ONE: (3, 7)}, {0: [3, 4, 5, 6]}, id="its middle"),
        pytest.param({ONE: (3, 7), OTHER: (0, 5)}, {0: [3, 4, 5, 6], 1: [*range(5)]}, id="two at once"),
        pytest.param(
            {ONE: (0, 1), OTHER: (0, 5)}, {0: [0], 1: [*range(5)]}, id="the first of one, all of two"
        ),
        pytest.param(
            {ONE: (0, 10), OTHER: (0, 1)}, {0: [*range(10)], 1: [0]}, id="all of one, the first of two"
        ),
        pytest.param({ONE: (9, 10), OTHER: (4, 4)}, {0: [9]}, id="one of them empty"),
        pytest.param({ONE: (7, 3)}, {}, id="none that ends before it begins"),
    ],
)
def test_a_stretch_is_read_from_its_first_offset_to_the_last_before_its_end(
    kafka: KafkaSettings, stretches: Stretches, offsets: dict[int, list[int]], page: int
) -> None:
    assert read(kafka, stretches, page) == offsets


def test_a_stretch_beyond_the_end_of_its_partition_is_given_up_when_nothing_more_comes(
    kafka: KafkaSettings,
) -> None:
    with pytest.raises(ReadError, match=r"two\[1\]: nothing after offset 5"):
        read(kafka, {ONE: (0, 10), OTHER: (0, 6)}, 1000, silence_s=5.0)


def test_all_that_a_topic_holds_is_read_partition_by_partition(kafka: KafkaSettings) -> None:
    with closing(PartitionReader(kafka)) as reader:
        found = [(record.partition, record.value) for record in reader.records("two")]
    assert found == [(where, b"%d" % n) for where, count in ((ONE, 10), (OTHER, 5)) for n in range(count)]
