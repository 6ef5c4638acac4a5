"""Reading stretches of many partitions at once, by their offsets."""

from collections.abc import Iterator, Mapping

from dosestream.kafka.reader import messages, offset_consumer
from dosestream.kafka.records import Partition, Record
from dosestream.settings import KafkaSettings

PAGE = 2000
TURN_S = 0.05
# The broker waits for further records no longer than this: what is read is there already.
WAIT_MS = 10


class Scanner:
    """Reads many partitions at once."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = offset_consumer(kafka, **{"fetch.wait.max.ms": WAIT_MS, "log_level": 3})

    def read(self, stretches: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Record]]:
        """Records of all stretches `[start, stop)`, in batches; of each partition in ascending order.

        Raises:
            ReadError: the broker fell silent.
        """
        for batch in messages(self._consumer, stretches, page=PAGE, turn_s=TURN_S):
            if batch:
                yield [
                    Record(Partition(one.topic(), one.partition()), one.offset(), one.value())
                    for one in batch
                ]

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
