"""A record for a person: times as times, bytes as text where they are any, nothing that is empty."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosestream.events.records import Demographics, Identifier, Patient, RawMessage
from dosestream.events.shown import at, lines, readable

AT = 1_772_438_400_000_001
PATIENT = Patient(
    event_id="e1",
    source="HIS",
    control_id="M1",
    received_at=AT,
    raw_partition=0,
    raw_offset=7,
    action="update",
    trigger="A08",
    patient=Demographics(identifiers=(Identifier(authority="HOSP", value="P1"),), name="Müller^Ann"),
    paths={"event_time": "MSH-7"},
)


def raw(body: bytes) -> RawMessage:
    return RawMessage(
        source="HIS",
        control_id="M1",
        message_type="ADT^A08",
        received_at=AT,
        transport="mllp",
        content_hash="0",
        body=body,
    )


def test_times_are_iso_8601_in_utc() -> None:
    assert readable("patient", PATIENT.to_datum())["received_at"] == "2026-03-02T08:00:00.000001Z"
    assert at(0) == "1970-01-01T00:00:00Z"


def test_nested_records_and_lists_are_read_as_the_schema_nests_them() -> None:
    said = readable("patient", PATIENT.to_datum())
    assert said["patient"]["identifiers"] == [{"authority": "HOSP", "value": "P1", "type_code": ""}]
    assert said["event_time"] is None
    json.dumps(said)


BODIES: dict[str, tuple[bytes, Any]] = {
    "an HL7 message": (b"MSH|^~\\&\rPID|1", "MSH|^~\\&\rPID|1"),
    "text beyond ASCII": ("Ä".encode(), "Ä"),
    "a DICOM instance": (b"\x00\x01DICM", {"base64": "AAFESUNN"}),
    "another charset": (b"\xc4", {"base64": "xA=="}),
}


@pytest.mark.parametrize(("body", "said"), BODIES.values(), ids=BODIES.keys())
def test_bytes_are_text_where_they_are_any(body: bytes, said: Any) -> None:
    assert readable("raw", raw(body).to_datum())["body"] == said


def test_a_person_sees_segments_as_lines_and_nothing_that_is_empty() -> None:
    text = lines(readable("raw", raw(b"MSH|1\rPID|2").to_datum()))
    assert text[-3:] == ["  body:", "    MSH|1", "    PID|2"]
    assert not any(line.startswith("  refused") for line in text)
    assert lines(readable("raw", raw(b"\x00\x01DICM").to_datum()))[-1] == "  body: 6 bytes"


def test_long_texts_are_cut_for_a_person() -> None:
    assert lines({"text": "x" * 500}) == [f"  text: {'x' * 197}..."]


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=30), st.integers(-(2**63), 2**63 - 1))
def test_whatever_a_record_holds_can_be_shown(body: bytes, received_at: int) -> None:
    datum = raw(body).to_datum() | {"received_at": received_at}
    said = readable("raw", datum)
    assert json.loads(json.dumps(said)) == said
    assert lines(said)
