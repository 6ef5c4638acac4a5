"""What arrivals puts into Kafka: records with their keys and headers. Pure, but for the log of its own mistakes."""

import logging
import traceback
from dataclasses import dataclass, replace

from dosestream.dose.arrival import study_event
from dosestream.events import cloudevents
from dosestream.events.codec import Codec
from dosestream.events.identity import event_id, record_key
from dosestream.events.records import Identifier, RawMessage, Rejection, Study
from dosestream.kafka.publisher import Position, Publication
from dosestream.kafka.stretch import ANSWER_HEADER
from dosestream.kafka.topics import Topic
from dosestream.settings import Settings, SourceSettings
from services.arrivals.steps import TABLE, Ruling

log = logging.getLogger("dosestream.arrivals")

Arrival = Study | Rejection

# Answers in raw records of messages about steps that do not count.
REFUSED = {f"{one.status:04X}": one for one in TABLE.values() if not one.counts}


@dataclass(frozen=True, slots=True)
class Publications:
    """Makes records as the site's settings say."""

    settings: Settings
    codec: Codec

    def read(self, raw: RawMessage, position: Position) -> Arrival:
        """What the instance says, or why it cannot be read; a mistake of ours is a rejection too."""
        try:
            arrival = study_event(raw, position.partition, position.offset, self.settings)
            # A message about a step that was refused when it came does not count when it is read again.
            if (
                not isinstance(arrival, Study)
                or arrival.kind != "performed_step"
                or raw.answer not in REFUSED
            ):
                return arrival
            rejection = refusal(raw, REFUSED[raw.answer])
        except Exception as error:
            # The message of an unforeseen error may quote the patient: its place and kind are enough.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {frame.name}:{frame.lineno}"
            log.error("%s %s: reading failed: %s", raw.source, raw.control_id, kind)
            reason = f"The reader failed ({kind}): report it; a replay after the repair catches it up."
            rejection = rejection_of(raw, "unforeseen", reason)
        return replace(rejection, raw_partition=position.partition, raw_offset=position.offset)

    def raw(self, raw: RawMessage, arrival: Arrival, instance: tuple[str, bytes]) -> Publication:
        """The raw record, keyed by the patient of the instance, else by its study or its own UID.

        `instance` is the header that says who stored it.
        """
        return Publication(
            str(Topic.DICOM_RAW),
            self._key(arrival),
            self.codec.encode(raw),
            [
                *cloudevents.headers(
                    event_id=raw.content_hash[:32], source=raw.source, kind="dicom.raw", at=raw.received_at
                ),
                instance,
                (ANSWER_HEADER, raw.answer.encode()),
            ],
        )

    def event(self, arrival: Arrival) -> Publication:
        """The record of the study event or of the rejection."""
        topic, key, kind = (
            (Topic.STUDY, self._key(arrival), "study")
            if isinstance(arrival, Study)
            else (Topic.REJECTED, self._hash(SourceSettings(), (), arrival.source), "dicom.rejected")
        )
        return Publication(
            str(topic),
            key,
            self.codec.encode(arrival),
            cloudevents.headers(
                event_id=arrival.event_id, source=arrival.source, kind=kind, at=arrival.received_at
            ),
        )

    def repaired(self, raw: RawMessage, position: Position) -> list[Publication]:
        """The record made from a raw record, again."""
        return [self.event(self.read(raw, position))]

    def _key(self, arrival: Arrival) -> bytes:
        if isinstance(arrival, Rejection):
            return self._hash(SourceSettings(), (), arrival.control_id or arrival.source)
        sources = self.settings.source
        source = next((one for one in sources if one.name == arrival.source), SourceSettings())
        return self._hash(
            source, arrival.patient.identifiers, arrival.study_instance_uid or arrival.control_id
        )

    def _hash(self, source: SourceSettings, identifiers: tuple[Identifier, ...], fallback: str) -> bytes:
        site = self.settings.site
        return record_key(
            site.patient_key_secret.encode(), source.authority or site.authority, identifiers, fallback
        )


def rejection_of(raw: RawMessage, code: str, reason: str, location: str = "") -> Rejection:
    """Why an instance is not taken, with its bytes; it has no place in the raw topic yet."""
    return Rejection(
        event_id=event_id(f"{raw.source}\0{code}", raw.body, 0),
        source=raw.source,
        control_id=raw.control_id,
        received_at=raw.received_at,
        message_type=raw.message_type,
        transport=raw.transport,
        peer=raw.peer,
        code=code,
        reason=reason,
        location=location,
        answer=raw.answer,
        body=raw.body,
    )


def refusal(raw: RawMessage, step: Ruling) -> Rejection:
    """Of a message about a performed step that comes when it must not."""
    return rejection_of(raw, step.code, step.reason, "(0040,0252)")
