"""Reading a stretch of one partition by its offsets: holes in the ledger, idle tails, whole small topics."""

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dosestream.kafka.client import consumer_config
from dosestream.kafka.records import Partition, Record
from dosestream.settings import KafkaSettings

# How long the broker may say nothing before reading is given up.
SILENCE_S = 10.0
TURN_S = 0.1
PAGE = 1000


class ReadError(Exception):
    """The broker did not deliver: it is away, or the records are gone. Try again when it is back."""


class RetentionError(ReadError):
    """Records that were still to be applied are no longer in the topic: data was lost to retention."""


def lost(partition: Partition, start: int, low: int) -> RetentionError:
    """The error of a partition that is held from `low` on only."""
    return RetentionError(
        f"{partition.topic}[{partition.number}]: offsets {start} to {low} are no longer held: "
        "restore the topic from its archive, or accept the loss by setting the ledger forward"
    )


class PartitionReader:
    """Reads stretches by `assign`, outside any consumer group's assignment."""

    def __init__(self, kafka: KafkaSettings) -> None:
        config = consumer_config(kafka, group="dosestream-reader")
        # The end of a partition is told with its offset: the position passes holes that no record fills.
        self._consumer = Consumer({**config, "enable.partition.eof": True})

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
            raise lost(partition, start, low)
        where = TopicPartition(partition.topic, partition.number, start)
        self._consumer.assign([where])
        try:
            position, heard = start, time.monotonic()
            while position < stop:
                # `consume` waits for as many as it is asked for, so it is asked in short turns.
                messages = self._consumer.consume(min(PAGE, stop - position), timeout=TURN_S)
                if messages:
                    heard = time.monotonic()
                elif time.monotonic() - heard > SILENCE_S:
                    raise ReadError(f"{partition.topic}[{partition.number}]: nothing after offset {position}")
                batch = []
                for message in messages:
                    error = message.error()
                    if error is None:
                        position = message.offset() + 1
                        if message.offset() < stop:
                            batch.append(Record(partition, message.offset(), message.value()))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        position = max(position, message.offset())
                    elif not error.retriable():
                        raise ReadError(f"{partition.topic}[{partition.number}]: {error}")
                if batch:
                    yield batch
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
