"""What topics hold: every record up to now, read in one go."""

from collections.abc import Callable, Iterator
from contextlib import closing

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from dosestream.kafka.client import consumer_config
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Record
from dosestream.settings import KafkaSettings

# So long nothing at all may come before the end of every partition is reached.
STILL_S = 60.0
WAIT_S = 0.05


def stored(kafka: KafkaSettings, of: Callable[[str], bool]) -> Iterator[Message]:
    """Every record of the topics whose name passes, partitions mixed, each in its order.

    All partitions are read at once: taken one by one each costs a fetch that waits in vain.
    """
    consumer = Consumer(consumer_config(kafka, group="test-reader") | {"enable.partition.eof": True})
    try:
        listed = consumer.list_topics(timeout=20).topics
        left = {(name, number) for name in filter(of, listed) for number in listed[name].partitions}
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in left])
        still_s = 0.0
        while left:
            batch = consumer.consume(500, timeout=WAIT_S)
            still_s = 0.0 if batch else still_s + WAIT_S
            assert still_s < STILL_S, f"the ends of {left} were not reached"
            for message in batch:
                if (error := message.error()) is None:
                    yield message
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    left.discard((message.topic(), message.partition()))
    finally:
        consumer.close()


def held(kafka: KafkaSettings, topic: str) -> list[Record]:
    """Every record of one topic, partition by partition."""
    with closing(PartitionReader(kafka)) as reader:
        return list(reader.records(str(topic)))
