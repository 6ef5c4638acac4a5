"""Raw records mapped again, as ingest and arrivals would today: for a replay from raw."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from dosestream.events.codec import Codec
from dosestream.events.records import Event, RawMessage, Study
from dosestream.kafka.codec import codec_for
from dosestream.kafka.publisher import Position, Publication, Publisher
from dosestream.kafka.records import Partition
from dosestream.kafka.stretch import Renormaliser, Stamp, Stretches
from dosestream.kafka.topics import Topic
from dosestream.mapping.normalise import normalise
from dosestream.settings import Settings
from services.arrivals.publications import Publications as DicomPublications
from services.ingest.publications import Publications as Hl7Publications
from services.reconciler.replay.plan import Reading
from services.reconciler.replay.raw import reading as reading_of


def reading(settings: Settings) -> Reading:
    """What reads raw records as events."""
    codec = codec_for(settings.kafka)
    return reading_of(
        codec,
        {
            str(Topic.HL7_RAW): partial(_hl7, settings),
            str(Topic.DICOM_RAW): partial(_dicom, DicomPublications(settings, codec)),
        },
    )


def _hl7(settings: Settings, raw: RawMessage, position: Position) -> Iterator[tuple[Topic, Event]]:
    yield from normalise(raw, position, settings).events


def _dicom(
    publications: DicomPublications, raw: RawMessage, position: Position
) -> Iterator[tuple[Topic, Event]]:
    arrival = publications.read(raw, position)
    if isinstance(arrival, Study):
        yield Topic.STUDY, arrival


def publish(
    settings: Settings, codec: Codec, stops: Mapping[Partition, int], told: Callable[[int, int], None]
) -> int:
    """Publish the events that today's configuration makes of the raw records before `stops` on the normalised
    topics; returns of how many raw records. Rejections are not published again.

    Raises:
        BrokerAwayError: start it again: an event that is there twice has its effect once.
    """
    repaired: dict[str, Callable[[RawMessage, Position], list[Publication]]] = {
        str(Topic.HL7_RAW): Hl7Publications(settings, codec).repaired,
        str(Topic.DICOM_RAW): DicomPublications(settings, codec).repaired,
    }
    wanted = {partition: stop for partition, stop in stops.items() if partition.topic in repaired}
    total = sum(wanted.values())
    publisher = Publisher(settings.kafka, linger_ms=5.0)
    done = 0

    def between() -> None:
        told(done, total)

    try:
        for (topic, number), stop in sorted(wanted.items()):
            stretches = Stretches(settings.kafka, topic)
            again = Renormaliser(stretches, topic, partial(_events, repaired[topic]), publisher, codec)
            try:
                done += again.renormalise(number, 0, stop, _every, between)
            finally:
                stretches.close()
    finally:
        publisher.close()
    told(total, total)
    return done


def _every(_offset: int, _stamp: Stamp) -> bool:
    return True


def _events(
    repaired: Callable[[RawMessage, Position], list[Publication]], raw: RawMessage, position: Position
) -> list[Publication]:
    return [record for record in repaired(raw, position) if record.topic != Topic.REJECTED]
