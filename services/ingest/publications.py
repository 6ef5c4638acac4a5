"""What ingest puts into Kafka: records with their keys and headers. Pure."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from dosestream.events import cloudevents
from dosestream.events.cloudevents import Headers
from dosestream.events.codec import Codec
from dosestream.events.codec import position as position_bytes
from dosestream.events.identity import event_id, record_key
from dosestream.events.records import (
    Appointment,
    Event,
    Identifier,
    Order,
    Patient,
    RawMessage,
    Rejection,
    Report,
)
from dosestream.kafka.publisher import Position, Publication
from dosestream.kafka.stretch import ANSWER_HEADER
from dosestream.kafka.topics import Topic
from dosestream.mapping.draft import Draft
from dosestream.mapping.normalise import CLASSES, Interpretation, Normalised, envelope, normalise, rejected
from dosestream.settings import Settings, SourceSettings

# The `ce_type` of an event: what subscribers tell it by.
KINDS: dict[type, str] = {
    Patient: "patient",
    Order: "order",
    Appointment: "appointment",
    Report: "report",
}


class Unplaced(NamedTuple):
    """A record of an event that lacks the position of its raw record, which stands between `before` and `behind`."""

    topic: str
    key: bytes
    before: bytes
    behind: bytes
    headers: Headers

    def at(self, position: Position) -> Publication:
        """The record, its raw record stored."""
        value = b"".join((self.before, position_bytes(*position), self.behind))
        return Publication(self.topic, self.key, value, self.headers)


@dataclass(frozen=True, slots=True)
class Publications:
    """Makes records as the site's settings say."""

    settings: Settings
    codec: Codec

    def raw(
        self, found: Interpretation, raw: RawMessage, instance: tuple[str, bytes], *, final: bool = True
    ) -> Publication:
        """The raw record of a message, keyed by the patient it names first, else by its source.

        `instance` is the header that says who stored it. An answer that is not `final` is not the one that
        the same message hears when it comes again.
        """
        answer = [(ANSWER_HEADER, raw.answer.encode())] if final else []
        return Publication(
            str(Topic.HL7_RAW),
            self._key(found.source, found.identifiers, raw.source),
            self.codec.encode(raw),
            [
                *cloudevents.headers(
                    event_id=raw.content_hash[:32], source=raw.source, kind="hl7.raw", at=raw.received_at
                ),
                instance,
                *answer,
            ],
        )

    def prepared(self, found: Interpretation, raw: RawMessage) -> list[Unplaced]:
        """The events of an interpretation as far as they can be made before its raw record is stored."""
        shared = envelope(found, raw)
        return [self._drafted(draft, shared, raw, found.source) for draft in found.drafts]

    def normalised(
        self,
        found: Interpretation,
        raw: RawMessage,
        position: Position,
        prepared: list[Unplaced] | None = None,
    ) -> list[Publication]:
        """The records made from an interpretation whose raw record is stored; of what was `prepared`, if it was.

        The same bytes as `repaired` makes of the raw record, without the events as objects between.
        """
        if prepared is None:
            prepared = self.prepared(found, raw)
        records = [one.at(position) for one in prepared]
        if found.refusal is not None:
            records.append(self.rejection(rejected(found.refusal, raw, position)))
        return records

    def repaired(self, raw: RawMessage, position: Position) -> list[Publication]:
        """The same records again, from the raw record alone."""
        sources = self.settings.source
        known = next((s for s in sources if s.name == raw.source), SourceSettings(name=raw.source))
        return self._all(normalise(raw, position, self.settings), known)

    def rejection(self, rejection: Rejection) -> Publication:
        """The record of a rejection, keyed by its source."""
        return Publication(
            str(Topic.REJECTED),
            self._key(SourceSettings(), (), rejection.source),
            self.codec.encode(rejection),
            cloudevents.headers(
                event_id=rejection.event_id,
                source=rejection.source,
                kind="hl7.rejected",
                at=rejection.received_at,
            ),
        )

    def _drafted(
        self, draft: Draft, shared: dict[str, Any], raw: RawMessage, source: SourceSettings
    ) -> Unplaced:
        identity = event_id(raw.source, raw.body, draft.number)
        kind = CLASSES[draft.topic]
        return Unplaced(
            str(draft.topic),
            self._key(source, draft.identifiers, raw.source),
            *self.codec.encode_around(kind, {**draft.fields, **shared, "event_id": identity}),
            cloudevents.headers(event_id=identity, source=raw.source, kind=KINDS[kind], at=raw.received_at),
        )

    def _all(self, normalised: Normalised, source: SourceSettings) -> list[Publication]:
        records = [self._event(topic, event, source) for topic, event in normalised.events]
        if normalised.rejection is not None:
            records.append(self.rejection(normalised.rejection))
        return records

    def _event(self, topic: Topic, event: Event, source: SourceSettings) -> Publication:
        assert isinstance(event, Patient | Order | Appointment | Report)
        patient = event.patient
        return Publication(
            str(topic),
            self._key(source, patient.identifiers if patient is not None else (), event.source),
            self.codec.encode(event),
            cloudevents.headers(
                event_id=event.event_id,
                source=event.source,
                kind=KINDS[type(event)],
                at=event.received_at,
            ),
        )

    def _key(self, source: SourceSettings, identifiers: tuple[Identifier, ...], fallback: str) -> bytes:
        site = self.settings.site
        return record_key(
            site.patient_key_secret.encode(), source.authority or site.authority, identifiers, fallback
        )


def raw_message(
    found: Interpretation,
    body: bytes,
    content: str,
    received_at: int,
    peer: str,
    answer: str,
    refused: str = "",
) -> RawMessage:
    """The raw record's content; `answer` is the first acknowledgement code decided, empty where none is due;
    `content` the body's hash; `refused` the code of a refusal that does not follow from the bytes.
    """
    return RawMessage(
        source=found.source.name,
        control_id=found.control_id,
        message_type=found.message_type,
        received_at=received_at,
        transport="mllp",
        peer=peer,
        content_hash=content,
        answer=answer,
        body=body,
        refused=refused,
    )
