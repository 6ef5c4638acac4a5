"""Raw records as the events that today's configuration makes of them, for a build.

The same pure code as ingest and arrivals: refused and ignored messages make none, and event ids are those of the
live events. Decisions and ticks are read as they are.
"""

from collections.abc import Callable, Iterable, Sequence

from dosestream.db.facts import KINDS
from dosestream.db.records import Decoded, Stopped, decode, decoded
from dosestream.events.codec import Codec, MalformedRecordError, UnknownSchemaError
from dosestream.events.records import Event, RawMessage
from dosestream.kafka.publisher import Position
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from services.reconciler.replay.plan import Reading

# What a raw record says today: topic and event of each.
Mapped = Iterable[tuple[Topic, Event]]
Mapping = Callable[[RawMessage, Position], Mapped]
# Raw topics, and what is read beside them as it is.
RAW: tuple[Topic, ...] = (Topic.HL7_RAW, Topic.DICOM_RAW)
AS_THEY_ARE: tuple[Topic, ...] = (Topic.DECISION, Topic.CLOCK)


def reading(codec: Codec, mappings: dict[str, Mapping]) -> Reading:
    """A reading of raw topics.

    Args:
        codec: reads raw records and writes events.
        mappings: by raw topic what maps its messages.
    """

    def read(records: Sequence[Record]) -> tuple[list[Decoded], list[Stopped]]:
        plain = [record for record in records if record.partition.topic not in mappings]
        found, stopped = decode(codec, plain) if plain else ([], [])
        stops: dict[Partition, Stopped] = {stop.partition: stop for stop in stopped}
        for record in records:
            mapping = mappings.get(record.partition.topic)
            if mapping is None or record.partition in stops:
                continue
            try:
                found += _mapped(codec, mapping, record)
            except UnknownSchemaError as error:
                stops[record.partition] = Stopped(record.partition, record.offset, str(error))
        return found, list(stops.values())

    return read


def _mapped(codec: Codec, mapping: Mapping, record: Record) -> list[Decoded]:
    """The events of a raw record; of one that is no raw record, its place among what could not be read."""
    try:
        if record.value is None:
            raise MalformedRecordError("a record without value")
        raw = codec.decode(record.value, RawMessage)
    except MalformedRecordError as error:
        return [Decoded(record, None, str(error))]
    position = Position(record.partition.number, record.offset)
    found = []
    for topic, event in mapping(raw, position):
        # Only facts are kept as they are written; most messages are about patients, and no facts.
        value = codec.encode(event) if type(event) in KINDS else None
        where = Partition(str(topic), record.partition.number)
        found.append(decoded(codec, Record(where, record.offset, value), event))
    return found
