"""Raw records of a stretch of the topic normalised again: those that nobody else looks after."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, TopicPartition

from dosestream.events.codec import Codec, MalformedRecordError
from dosestream.events.records import RawMessage
from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.publisher import Position, Publication, Publisher, PublishError
from dosestream.kafka.reader import ReadError, messages, offset_consumer
from dosestream.kafka.records import Partition
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.stretch")

# Who stored a raw record, and what was answered: CloudEvents extension attributes.
INSTANCE_HEADER = "ce_instance"
ANSWER_HEADER = "ce_answer"

# What is to be published for one raw record: its events, or its rejection, or nothing.
Normalise = Callable[[RawMessage, Position], Iterable[Publication]]

BATCH = 200
UNDER_WAY_BYTES = 32 * 1024 * 1024
SILENCE_S = 30.0


class Stamp(NamedTuple):
    """What a raw record's headers say without reading its body.

    Attributes:
        instance: the life that stored it (see `dosestream.life`), empty where none is named.
        content: the first 32 hex digits of the hash of the message.
        source: the source it came from.
        answer: the acknowledgement code or DIMSE status decided; None where it is not said.
    """

    instance: str
    content: str
    source: str
    answer: str | None


def stamp(message: Any) -> Stamp:
    """The stamp of a raw record."""
    found = {name: value for name, value in message.headers() or () if value is not None}
    answer = found.get(ANSWER_HEADER)
    return Stamp(
        found.get(INSTANCE_HEADER, b"").decode(errors="replace"),
        found.get("ce_id", b"").decode(errors="replace"),
        found.get("ce_source", b"").decode(errors="replace").removeprefix("urn:dosestream:"),
        None if answer is None else answer.decode(errors="replace"),
    )


class Stretches:
    """Reads stretches of one raw topic. Not to be used from two threads at once.

    Raises BrokerAwayError wherever the broker does not deliver or does not store.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._consumer = offset_consumer(kafka)

    def read(self, partition: int, first: int, end: int) -> Iterator[list[Any]]:
        """The messages of `[first, end)`, in batches; an empty batch while the broker is silent."""
        stretch = {Partition(self._topic, partition): (first, end)}
        try:
            yield from messages(self._consumer, stretch, page=BATCH, silence_s=SILENCE_S)
        except ReadError as error:
            raise BrokerAwayError(str(error)) from error

    def starts_at(self, millis: int, partitions: Iterable[int]) -> dict[int, int]:
        """Partition to the offset of its first record of that time or later; without one it is left out."""
        wanted = [TopicPartition(self._topic, p, millis) for p in partitions]
        try:
            found = self._consumer.offsets_for_times(wanted, timeout=10.0) if wanted else []
        except KafkaException as error:
            raise BrokerAwayError(f"{self._topic}: {error}") from error
        return {at.partition: int(at.offset) for at in found if at.offset >= 0}

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


class Renormaliser:
    """Publishes again what is made from raw records, and waits until it is stored."""

    def __init__(
        self, stretches: Stretches, topic: str, normalise: Normalise, publisher: Publisher, codec: Codec
    ) -> None:
        self._stretches = stretches
        self._topic = topic
        self._normalise = normalise
        self._publisher = publisher
        self._codec = codec

    def renormalise(
        self,
        partition: int,
        first: int,
        end: int,
        wanted: Callable[[int, Stamp], bool],
        between: Callable[[], None],
    ) -> int:
        """Normalise the raw records of `[first, end)` that are wanted (by offset and stamp); how many.

        `between` is called between batches and may raise to stop.

        Raises:
            BrokerAwayError: try again; what was done is done again then.
            UnknownSchemaError: a raw record was written with a schema that is not known here.
        """
        count = 0
        for batch in self._stretches.read(partition, first, end):
            between()
            pending = _Pending()
            for message in batch:
                if not wanted(message.offset(), stamp(message)):
                    continue
                position = Position(partition, message.offset())
                try:
                    raw = self._codec.decode(message.value() or b"", RawMessage)
                except MalformedRecordError as error:
                    log.error("%s[%d]@%d is skipped: %s", self._topic, partition, position.offset, error)
                    continue
                for publication in self._normalise(raw, position):
                    pending.add(len(publication.value or b""))
                    self._publisher.publish(*publication, pending.done)
                count += 1
                if pending.size > UNDER_WAY_BYTES:
                    pending.wait()
            pending.wait()
        return count


class _Pending:
    """Counts records under way (and the bytes since the last wait) and keeps the first error."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self.size = 0
        self._error: PublishError | None = None

    def add(self, size: int) -> None:
        with self._condition:
            self._count += 1
            self.size += size

    def done(self, result: Position | PublishError) -> None:
        with self._condition:
            self._count -= 1
            if isinstance(result, PublishError):
                self._error = self._error or result
            self._condition.notify_all()

    def wait(self) -> None:
        """Raises BrokerAwayError when a record failed."""
        with self._condition:
            self._condition.wait_for(lambda: self._count == 0)
            self.size = 0
        if self._error is not None:
            raise BrokerAwayError(str(self._error)) from self._error
