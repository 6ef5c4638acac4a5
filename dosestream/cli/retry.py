"""Rejected messages interpreted again, as their services would today, and what they say published."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from time import time_ns

from dosestream.admission import PEER_NOT_ALLOWED
from dosestream.embedded.errors import StackError
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import RawMessage, Rejection
from dosestream.events.resolution import resolved
from dosestream.kafka.codec import codec_for, reading_codec
from dosestream.kafka.publisher import Position, Publication, Publisher, PublishError
from dosestream.kafka.reader import PartitionReader, ReadError
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic
from dosestream.mapping.normalise import interpret
from dosestream.settings import Settings
from services.arrivals.publications import Publications as DicomPublications
from services.ingest.publications import Publications as Hl7Publications

# Messages whose events are under way together.
TOGETHER = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one rejection.

    Attributes:
        events: the records to publish.
        how: `retried`, `ignored` (it says nothing that is used), or empty where it stays.
        why: why it is ignored, or stays.
    """

    rejection: Rejection
    events: tuple[Publication, ...] = ()
    how: str = ""
    why: str = ""


def retry(rejections: Sequence[Rejection], settings: Settings, *, dry_run: bool) -> Iterator[Outcome]:
    """Interpret each again; publish its events, then the record that ends its rejection.

    Raises:
        StackError: the broker is away: what was told as done is done, the rest can be tried again.
    """
    codec = reading_codec(settings.kafka) if dry_run else codec_for(settings.kafka)
    publisher = None if dry_run else Publisher(settings.kafka, linger_ms=5)
    reader = PartitionReader(settings.kafka)
    try:
        for some in _batches(rejections):
            outcomes = [_interpret(one, settings, codec, reader) for one in some]
            if publisher is not None:
                _publish(publisher, [event for outcome in outcomes for event in outcome.events])
                _publish(publisher, _ends(outcomes, settings, codec))
            yield from outcomes
    except (PublishError, ReadError) as error:
        raise StackError(f"Not all were tried ({error}): try again, nothing happens twice.") from error
    finally:
        reader.close()
        if publisher is not None:
            publisher.close()


def _batches(rejections: Sequence[Rejection]) -> Iterator[Sequence[Rejection]]:
    for start in range(0, len(rejections), TOGETHER):
        yield rejections[start : start + TOGETHER]


def _interpret(one: Rejection, settings: Settings, codec: Codec, reader: PartitionReader) -> Outcome:
    if one.raw_offset < 0:
        return Outcome(one, why="its bytes were never a whole message: the sender has to send it again")
    if one.code == PEER_NOT_ALLOWED:
        return Outcome(one, why=f"{one.code}: its source has to send it itself")
    if one.transport == "dicom":
        return _interpret_dicom(one, settings, codec, reader)
    return interpret_hl7(one, settings, codec)


def interpret_hl7(one: Rejection, settings: Settings, codec: Codec) -> Outcome:
    """An HL7 message as ingest would take it today, but with its first receipt and its raw record."""
    raw = RawMessage(
        source=one.source,
        control_id=one.control_id,
        message_type=one.message_type,
        received_at=one.received_at,
        transport=one.transport,
        peer=one.peer,
        content_hash=content_hash(one.body),
        answer=one.answer,
        body=one.body,
    )
    known = next((source for source in settings.source if source.name == one.source), None)
    found = interpret(one.body, settings, known)
    # A message may be refused in part: its other orders are taken, and it stays for the rest.
    position = Position(one.raw_partition, one.raw_offset)
    taken = found._replace(refusal=None)
    events = tuple(Hl7Publications(settings, codec).normalised(taken, raw, position))
    if (refusal := found.refusal) is not None:
        why = f"{refusal.code} at {refusal.location or '-'}: {refusal.reason}"
        return Outcome(one, events, why=why)
    return Outcome(one, events, how="ignored" if found.ignored else "retried", why=found.ignored)


def _interpret_dicom(one: Rejection, settings: Settings, codec: Codec, reader: PartitionReader) -> Outcome:
    """An instance as arrivals would take it today."""
    partition = Partition(str(Topic.DICOM_RAW), one.raw_partition)
    batches = reader.read(partition, one.raw_offset, one.raw_offset + 1)
    value = next((record.value for batch in batches for record in batch), None)
    if value is None:
        return Outcome(one, why="its raw record is gone")
    publications = DicomPublications(settings, codec)
    arrival = publications.read(codec.decode(value, RawMessage), Position(one.raw_partition, one.raw_offset))
    if isinstance(arrival, Rejection):
        return Outcome(one, why=f"{arrival.code} at {arrival.location or '-'}: {arrival.reason}")
    return Outcome(one, (publications.event(arrival),), how="retried")


def _ends(outcomes: Sequence[Outcome], settings: Settings, codec: Codec) -> list[Publication]:
    publications, now = Hl7Publications(settings, codec), time_ns() // 1000
    return [publications.rejection(resolved(one.rejection, one.how, now)) for one in outcomes if one.how]


def _publish(publisher: Publisher, records: Sequence[Publication]) -> None:
    """Publish and wait.

    Raises:
        PublishError: one of them is not known to be stored.
    """
    futures: list[Future[Position | PublishError]] = []
    for record in records:
        future: Future[Position | PublishError] = Future()
        publisher.publish(*record, future.set_result)
        futures.append(future)
    for future in futures:
        result = future.result()
        if isinstance(result, PublishError):
            raise result
