"""Reading partitions by their offsets: holes in the ledger, idle tails, whole small topics."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

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


def offset_consumer(kafka: KafkaSettings, **more: Any) -> Consumer:
    """A consumer that reads by `assign`, outside any consumer group's assignment; see `messages`."""
    config = consumer_config(kafka, group="dosestream-reader")
    # The end of a partition is told with its offset: the position passes holes that no record fills.
    return Consumer({**config, "enable.partition.eof": True, **more})


def messages(
    consumer: Consumer,
    stretches: Mapping[Partition, tuple[int, int]],
    *,
    page: int = PAGE,
    turn_s: float = TURN_S,
    silence_s: float = SILENCE_S,
) -> Iterator[list[Message]]:
    """The messages of all stretches `[first, stop)`, of each partition in ascending order, in batches of at most
    `page`; an empty one where the broker said nothing for `turn_s`. A stretch ends when the position passes `stop`,
    since compaction and transaction markers leave legal holes.

    Raises:
        ReadError: the broker fell silent for `silence_s`.
    """
    positions = {where: first for where, (first, stop) in stretches.items() if first < stop}
    if not positions:
        return
    try:
        consumer.assign([TopicPartition(*where, at) for where, at in positions.items()])
        heard = time.monotonic()
        while positions:
            left = sum(stretches[where][1] - at for where, at in positions.items())
            # `consume` waits for as many as it is asked for, so it is asked in short turns.
            came = consumer.consume(min(page, left), timeout=turn_s)
            if came:
                heard = time.monotonic()
            elif time.monotonic() - heard > silence_s:
                where, at = next(iter(positions.items()))
                raise ReadError(f"{where.topic}[{where.number}]: nothing after offset {at}")
            yield [message for message in came if _passed(consumer, message, stretches, positions)]
    except KafkaException as error:
        raise ReadError(f"{', '.join(sorted({where.topic for where in stretches}))}: {error}") from error
    finally:
        consumer.unassign()


def _passed(
    consumer: Consumer,
    message: Message,
    stretches: Mapping[Partition, tuple[int, int]],
    positions: dict[Partition, int],
) -> bool:
    """Move on past what came; whether it is a record of its stretch. What is read to its end is let go."""
    where = Partition(message.topic(), message.partition())
    if (position := positions.get(where)) is None:
        return False
    stop, offset, error = stretches[where][1], message.offset(), message.error()
    if error is None:
        position = offset + 1
    elif error.code() == KafkaError._PARTITION_EOF:
        position = max(position, offset)
    elif not error.retriable():
        raise ReadError(f"{where.topic}[{where.number}]: {error}")
    positions[where] = position
    if position >= stop:
        del positions[where]
        if positions:
            consumer.incremental_unassign([TopicPartition(*where)])
    return error is None and offset < stop


class PartitionReader:
    """Reads partitions one at a time."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = offset_consumer(kafka)

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

    def messages(self, partition: Partition, start: int, stop: int, page: int = PAGE) -> Iterator[Message]:
        """What is there with start <= offset < stop, with keys, headers and times.

        Raises:
            ReadError: the broker fell silent.
        """
        for batch in messages(self._consumer, {partition: (start, stop)}, page=page):
            yield from batch

    def read(self, partition: Partition, start: int, stop: int) -> Iterator[list[Record]]:
        """Records with start <= offset < stop, in batches.

        Raises:
            RetentionError: `start` lies before the earliest offset held.
            ReadError: the broker fell silent.
        """
        low, _ = self.watermarks(partition)
        if start < low:
            raise lost(partition, start, low)
        for batch in messages(self._consumer, {partition: (start, stop)}):
            if batch:
                yield [Record(partition, message.offset(), message.value()) for message in batch]

    def records(self, topic: str) -> Iterator[Record]:
        """All that a topic holds up to now, partition by partition.

        Raises:
            ReadError: the broker fell silent.
        """
        for partition in self.partitions(topic):
            for batch in self.read(partition, *self.watermarks(partition)):
                yield from batch

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
