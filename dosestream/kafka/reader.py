"""Reading a stretch of one partition by its offsets: holes in the ledger, idle tails, whole small topics."""

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from dosestream.kafka.client import consumer_config
from dosestream.kafka.records import Partition, Record
from dosestream.settings import KafkaSettings

# How long the broker may say nothing before reading is given up.
SILENCE_S = 10.0


class ReadError(Exception):
    """The broker did not deliver: it is away, or the records are gone. Try again when it is back."""


class RetentionError(ReadError):
    """Records that were still to be applied are no longer in the topic: data was lost to retention."""


class PartitionReader:
    """Reads stretches by `assign`, outside any consumer group's assignment."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = Consumer(consumer_config(kafka, group="dosestream-reader"))

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Earliest offset held, and the offset after the last.

        Raises:
            ReadError: the broker did not answer.
        """
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(partition.topic, partition.number), timeout=SILENCE_S
            )
        except KafkaException as error:
            raise ReadError(f"{partition.topic}[{partition.number}]: {error}") from error
        return int(low), int(high)

    def partitions(self, topic: str) -> list[Partition]:
        """The partitions of a topic, none where it does not exist."""
        try:
            found = self._consumer.list_topics(topic, timeout=SILENCE_S).topics.get(topic)
        except KafkaException as error:
            raise ReadError(f"{topic}: {error}") from error
        return [] if found is None or found.error else [Partition(topic, n) for n in sorted(found.partitions)]

    def read(self, partition: Partition, start: int, stop: int) -> Iterator[list[Record]]:
        """Records with start <= offset < stop, in batches; ends when the position passes `stop`, since
        compaction and transaction markers leave legal holes.

        Raises:
            RetentionError: `start` lies before the earliest offset held.
            ReadError: the broker fell silent.
        """
        low, _ = self.watermarks(partition)
        if start < low:
            raise RetentionError(
                f"{partition.topic}[{partition.number}]: offsets {start} to {low} are no longer held: "
                "restore the topic from its archive, or accept the loss by setting the ledger forward"
            )
        where = TopicPartition(partition.topic, partition.number, start)
        self._consumer.assign([where])
        try:
            position = start
            while position < stop:
                messages = self._consumer.consume(1000, timeout=SILENCE_S)
                if not messages:
                    raise ReadError(f"{partition.topic}[{partition.number}]: nothing after offset {position}")
                failed = next((m.error() for m in messages if m.error()), None)
                if failed is not None:
                    raise ReadError(f"{partition.topic}[{partition.number}]: {failed}")
                position = messages[-1].offset() + 1
                batch = [Record(partition, m.offset(), m.value()) for m in messages if m.offset() < stop]
                if batch:
                    yield batch
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
