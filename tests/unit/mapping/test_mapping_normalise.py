"""One message whole: what is mapped, ignored or rejected, and that it is the same every time."""

from dataclasses import replace
from pathlib import Path

import pytest
from hl7_cases import at, normalised, raw
from hypothesis import given, settings
from hypothesis import strategies as st

from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import RawMessage
from dosestream.hl7.batch import split
from dosestream.kafka.topics import Topic
from dosestream.mapping.normalise import interpret, normalise
from dosestream.settings import Settings, SourceSettings

PID = "PID|||4711^^^HOSP^MR||DOE^JOHN"

IGNORED = ["ADT^A09", "ADT^A60", "ORU^R30", "SIU^S18", "SIU^S23", "MDM^T12", "DFT^P03", "ACK^A01", "BAR^P01"]


@pytest.mark.parametrize("kind", IGNORED)
def test_a_good_message_that_is_not_mapped_is_ignored(kind: str) -> None:
    found = normalised(kind, PID, "ORC|NW|P1")
    assert (found.events, found.rejection) == ((), None)
    assert found.ignored


def whole(body: bytes) -> RawMessage:
    return replace(raw("ADT^A08"), body=body, content_hash=content_hash(body), control_id="", message_type="")


REJECTED = [
    ("no MSH", whole(b"hello"), "no_msh", "MSH"),
    ("an empty message", whole(b""), "no_msh", "MSH"),
    ("an unknown version", whole(b"MSH|^~\\&|||||||ADT^A08|1|P|1.0\r"), "version", "MSH-12.1"),
    ("bytes that are no text", whole(b"MSH|^~\\&|||||||ADT^A08|1|P|2.5\rPID|||\xff\r"), "charset", "MSH-18"),
    (
        "a character set that is not read",
        raw("ADT^A08", PID, rest="||||||CNS 11643-1992"),
        "charset",
        "MSH-18",
    ),
    (
        "UTF-16 in a frame",
        whole("MSH|^~\\&|||||||ADT^A08|1|P|2.5\r".encode("utf-16-le")),
        "charset",
        "MSH-18",
    ),
    ("no patient", raw("ADT^A08", "EVN|"), "no_patient_id", "PID-3"),
]


@pytest.mark.parametrize(
    ("record", "code", "location"), [r[1:] for r in REJECTED], ids=[r[0] for r in REJECTED]
)
def test_rejected_with_code_location_and_the_original_bytes(
    record: RawMessage, code: str, location: str
) -> None:
    rejection = normalise(record, at, Settings()).rejection
    assert rejection is not None
    assert (rejection.code, rejection.location) == (code, location)
    assert rejection.body == record.body
    assert (rejection.raw_partition, rejection.raw_offset) == at
    assert rejection.reason.endswith(".")


def test_the_same_bytes_give_the_same_events_whenever_they_come() -> None:
    first = raw("ADT^A08", PID)
    again = replace(first, received_at=first.received_at + 86_400_000_000, peer="other:1")
    ((_, one),), ((_, other),) = (normalise(r, at, Settings()).events for r in (first, again))
    assert one.event_id == other.event_id  # type: ignore[union-attr]


def test_the_source_of_the_raw_record_is_not_decided_anew() -> None:
    record = replace(raw("ADT^A08", PID), source="old name")
    renamed = Settings(source=(SourceSettings(name="new name", sending_application="HIS"),))
    ((topic, event),) = normalise(record, at, renamed).events
    assert topic is Topic.PATIENT
    assert event.source == "old name"  # type: ignore[union-attr]


def test_the_source_of_a_new_message_is_configured_or_what_it_says() -> None:
    body = raw("ADT^A08", PID).body
    assert interpret(body, Settings()).source.name == "HIS|HOSP"
    named = Settings(source=(SourceSettings(name="his", sending_application="HIS"),))
    assert interpret(body, named).source.name == "his"


def test_a_source_may_send_other_processing_ids() -> None:
    trial = Settings(source=(SourceSettings(name="his", sending_application="HIS", processing_ids=("T",)),))
    refusal = interpret(raw("ADT^A08", PID).body, trial).refusal
    assert refusal is not None
    assert refusal.code == "processing_id"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise(garbage: bytes) -> None:
    for body in (garbage, b"MSH|^~\\&|" + garbage, raw("ORM^O01", PID).body + garbage):
        found = normalise(whole(body), at, Settings())
        assert found.events or found.ignored or found.rejection is not None


def test_real_messages_are_mapped_ignored_or_rejected_and_survive_the_codec(test_data: Path) -> None:
    codec, mapped = Codec(), 0
    for path in sorted((test_data / "hl7").glob("*/*.hl7")):
        for body in split(path.read_bytes()) or [path.read_bytes()]:
            found = normalise(whole(body), at, Settings())
            assert found.events or found.ignored or found.rejection is not None
            for _, event in found.events:
                assert codec.decode(codec.encode(event), type(event)) == event
                mapped += 1
    assert mapped > 150


def test_every_mesa_message_is_mapped_or_ignored(test_data: Path) -> None:
    for path in sorted((test_data / "hl7" / "mesa").glob("*.hl7")):
        for body in split(path.read_bytes()):
            found = normalise(whole(body), at, Settings())
            assert found.rejection is None, path.name
            assert found.events, path.name
