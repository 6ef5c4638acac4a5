"""Messages for the tests of the mapping, made from a few segments."""

from datetime import UTC, datetime

from dosestream.events.identity import content_hash
from dosestream.events.records import Event, RawMessage
from dosestream.hl7.header import read_header
from dosestream.kafka.publisher import Position
from dosestream.mapping.normalise import Normalised, normalise
from dosestream.settings import Settings

at = Position(3, 77)


def raw(kind: str, *segments: str, msh_7: str = "20260301120000", rest: str = "") -> RawMessage:
    """The raw record of a message of that kind, received a second after noon."""
    msh = f"MSH|^~\\&|HIS|HOSP|DS|CITY|{msh_7}||{kind}|42|P|2.5{rest}"
    body = "".join(f"{segment}\r" for segment in (msh, *segments)).encode()
    header = read_header(body)
    assert header is not None
    return RawMessage(
        source="his",
        control_id="42",
        message_type=header.message_type,
        received_at=1_772_366_400_000_001,
        transport="mllp",
        content_hash=content_hash(body),
        body=body,
    )


def normalised(
    kind: str, *segments: str, settings: Settings | None = None, msh_7: str = "20260301120000"
) -> Normalised:
    """What it becomes."""
    return normalise(raw(kind, *segments, msh_7=msh_7), at, settings or Settings())


def events(
    kind: str, *segments: str, settings: Settings | None = None, msh_7: str = "20260301120000"
) -> list[Event]:
    """Its events, when nothing is refused."""
    found = normalised(kind, *segments, settings=settings, msh_7=msh_7)
    assert found.rejection is None
    return [event for _, event in found.events]


def utc(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)
