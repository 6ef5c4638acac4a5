"""A DICOM instance as arrivals reads it."""

from dosestream.dose.arrival import study_event
from dosestream.events.records import RawMessage, Study
from dosestream.settings import Settings


def instance(
    body: bytes, *, source: str = "ROOM1", control_id: str = "1", message_type: str = "", received_at: int = 1
) -> RawMessage:
    """The raw record of a DICOM file."""
    return RawMessage(
        source=source,
        control_id=control_id,
        message_type=message_type,
        received_at=received_at,
        transport="dicom",
        content_hash="",
        body=body,
    )


def study_of(raw: RawMessage, offset: int = 0) -> Study:
    """The event of a raw record that can be read."""
    event = study_event(raw, 0, offset, Settings())
    assert isinstance(event, Study), event
    return event
