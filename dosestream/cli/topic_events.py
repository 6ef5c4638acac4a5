"""The events a topic holds, for commands that only read."""

import sys
from collections.abc import Iterator
from typing import TypeVar

from dosestream.embedded.errors import StackError
from dosestream.events.codec import MalformedRecordError, UnknownSchemaError
from dosestream.kafka.codec import reading_codec
from dosestream.kafka.reader import PartitionReader, ReadError
from dosestream.kafka.records import Record
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

E = TypeVar("E")


def events(kafka: KafkaSettings, topic: Topic, cls: type[E]) -> Iterator[tuple[Record, E]]:
    """Each record with its event, partition by partition. One that is no Avro of ours is told on standard error and
    left out.

    Raises:
        StackError: the broker is away, or a record's schema is not known.
    """
    codec, reader = reading_codec(kafka), PartitionReader(kafka)
    try:
        for record in reader.records(str(topic)):
            where = f"{topic}[{record.partition.number}] offset {record.offset}"
            try:
                event = codec.decode(record.value or b"", cls)
            except MalformedRecordError as error:
                print(f"dosestream: {where} is left out: {error}", file=sys.stderr)
                continue
            except UnknownSchemaError as error:
                raise StackError(f"{where} cannot be read: {error}.") from error
            yield record, event
    except ReadError as error:
        raise StackError(f"Kafka at {kafka.bootstrap} does not answer: {error}") from error
    finally:
        reader.close()
