"""A step as ingest and arrivals store it, received when it is sent. Pure."""

from dosestream.events.identity import content_hash
from dosestream.events.records import RawMessage
from dosestream.kafka.topics import Topic
from dosestream.settings import Settings, source_for_ae, source_for_hl7
from dosestream.simulate.timeline import HL7, Step


def stored(step: Step, settings: Settings) -> tuple[Topic, RawMessage]:
    """The raw record of a step, and its topic."""
    if step.channel == HL7:
        topic, transport = Topic.HL7_RAW, "mllp"
        head = step.body.split(b"\r", 1)[0].decode("latin-1").split("|")
        source = source_for_hl7(settings, head[2], head[3])
    else:
        topic, transport = Topic.DICOM_RAW, "dicom"
        source = source_for_ae(settings, step.sender)
    return topic, RawMessage(
        source=source.name,
        control_id=step.name,
        message_type=step.kind,
        received_at=step.sent_at,
        transport=transport,
        content_hash=content_hash(step.body),
        answer=step.answer,
        body=step.body,
    )
