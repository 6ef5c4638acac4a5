"""What ingest and arrivals make of raw records, without a wire or a broker between."""

from dosestream.db.records import Decoded
from dosestream.dose.arrival import study_event
from dosestream.events.codec import Codec
from dosestream.events.records import Event, RawMessage, Study
from dosestream.kafka.publisher import Position
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.mapping.normalise import normalise
from dosestream.settings import Settings
from dosestream.simulate.stored import stored
from dosestream.simulate.timeline import Step

CODEC = Codec()


def events_of(raw: RawMessage, position: Position, settings: Settings) -> list[tuple[Topic, Event]]:
    """The events of a raw record, a rejection among them."""
    if raw.transport == "mllp":
        normalised = normalise(raw, position, settings)
        rejection = normalised.rejection
        return [*normalised.events, *([] if rejection is None else [(Topic.REJECTED, rejection)])]
    arrival = study_event(raw, position.partition, position.offset, settings)
    return [(Topic.STUDY if isinstance(arrival, Study) else Topic.REJECTED, arrival)]


def heard(step: Step, number: int, settings: Settings) -> list[tuple[Topic, Event]]:
    """The events of a step that is received when it is sent and that nobody refuses."""
    _, raw = stored(step, settings)
    events = events_of(raw, Position(0, number), settings)
    assert all(topic != Topic.REJECTED for topic, _ in events), events
    return events


def recorded(topic: Topic, event: Event, offset: int) -> Decoded:
    """An event as it comes back from Kafka."""
    value = CODEC.encode(event)
    return Decoded(Record(Partition(str(topic), 0), offset, value), CODEC.decode(value, type(event)))
