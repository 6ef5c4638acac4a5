"""Reading stretches of many partitions at once, by their offsets."""

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dosestream.kafka.client import consumer_config
from dosestream.kafka.reader import SILENCE_S, ReadError
from dosestream.kafka.records import Partition, Record
from dosestream.settings import KafkaSettings

PAGE = 2000
TURN_S = 0.05
# The broker waits for further records no longer than this: what is read is there already.
WAIT_MS = 10


class Scanner:
    """Reads by `assign`, outside any consumer group's assignment."""

    def __init__(self, kafka: KafkaSettings) -> None:
        config = consumer_config(kafka, group="dosestream-reader")
        # The end of a partition is told with its offset: the position passes holes that no record fills.
        self._consumer = Consumer(
            {**config, "enable.partition.eof": True, "fetch.wait.max.ms": WAIT_MS, "log_level": 3}
        )

    def read(self, stretches: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Record]]:
        """Records of all stretches `[start, stop)`, in batches; of each partition in ascending order.

        Raises:
            ReadError: the broker fell silent.
        """
        positions = {partition: start for partition, (start, stop) in stretches.items() if start < stop}
        if not positions:
            return
        try:
            self._consumer.assign(
                [TopicPartition(*partition, offset) for partition, offset in positions.items()]
            )
            heard = time.monotonic()
            while positions:
                left = sum(stretches[partition][1] - at for partition, at in positions.items())
                # `consume` waits for as many as it is asked for, so it is asked in short turns.
                messages = self._consumer.consume(min(PAGE, left), timeout=TURN_S)
                if messages:
                    heard = time.monotonic()
                elif time.monotonic() - heard > SILENCE_S:
                    where, at = next(iter(positions.items()))
                    raise ReadError(f"{where.topic}[{where.number}]: nothing after offset {at}")
                batch: list[Record] = []
                for message in messages:
                    self._take(message, stretches, positions, batch)
                if batch:
                    yield batch
        except KafkaException as error:
            raise ReadError(f"{error}") from error
        finally:
            self._consumer.unassign()

    def _take(
        self,
        message: object,
        stretches: Mapping[Partition, tuple[int, int]],
        positions: dict[Partition, int],
        batch: list[Record],
    ) -> None:
        """One message into the batch; a partition that came to its end is no longer read."""
        partition = Partition(message.topic(), message.partition())  # type: ignore[attr-defined]
        if partition not in positions:
            return
        stop, offset, error = stretches[partition][1], message.offset(), message.error()  # type: ignore[attr-defined]
        if error is None:
            if offset < stop:
                batch.append(Record(partition, offset, message.value()))  # type: ignore[attr-defined]
            positions[partition] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            positions[partition] = max(positions[partition], offset)
        elif not error.retriable():
            raise ReadError(f"{partition.topic}[{partition.number}]: {error}")
        if positions[partition] >= stop:
            del positions[partition]
            self._consumer.incremental_unassign([TopicPartition(*partition)])

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
