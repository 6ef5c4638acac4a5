"""What topics hold: every record up to now, read in one go."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from dosestream.events.codec import Codec, CodecError, UnknownSchemaError
from dosestream.events.records import Event
from dosestream.kafka.client import consumer_config
from dosestream.kafka.publisher import Position
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Record
from dosestream.settings import KafkaSettings

E = TypeVar("E", bound=Event)

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


@dataclass
class _Held:
    """What was read of a topic, and for each partition how far."""

    found: list[tuple[Position, Any]] = field(default_factory=list)
    reached: dict[int, int] = field(default_factory=dict)


# By the broker's cluster and the topic.
_HELD: dict[tuple[str, str], _Held] = {}


def records(
    kafka: KafkaSettings, topic: str, kind: type[E], skip: type[CodecError] = UnknownSchemaError
) -> list[tuple[Position, E]]:
    """Every record of a topic of one kind that is stored now; what `skip` is raised of, which other tests leave, not.

    Tests that share a broker ask again and again: it is read on from where it was left.
    """
    consumer = Consumer(consumer_config(kafka, group="test-reader"))
    codec = Codec()
    try:
        listed = consumer.list_topics(topic, timeout=20)
        held = _HELD.setdefault((listed.cluster_id, topic), _Held())
        left = {}
        for number in listed.topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
            held.reached[number] = begin = max(low, held.reached.get(number, low))
            assert begin <= high, f"{topic} was made anew"
            if high > begin:
                left[number] = high - begin
        consumer.assign([TopicPartition(topic, number, held.reached[number]) for number in left])
        while any(left.values()):
            # Asked for no more than are there, or it would wait for more.
            messages = consumer.consume(min(500, sum(left.values())), timeout=20)
            assert messages, f"{topic}: {left} records did not come"
            for message in messages:
                assert message.error() is None
                number = message.partition()
                if left[number]:
                    left[number] -= 1
                    held.reached[number] = message.offset() + 1
                    if (value := message.value()) is not None:
                        with suppress(skip):
                            found = codec.decode(value, kind)
                            held.found.append((Position(number, message.offset()), found))
        return list(held.found)
    finally:
        consumer.close()
