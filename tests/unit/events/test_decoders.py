"""The compiled decoders make the events that fastavro makes, and refuse the bytes that it refuses."""

import json
from io import BytesIO
from typing import Any

import pytest
from any_datum import any_datum
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosestream.events import decoders, records
from dosestream.events.codec import SINGLE_OBJECT, Codec, MalformedRecordError
from dosestream.events.records import CLASSES, Demographics, Identifier, Patient
from dosestream.events.schemas import NAMES, load


def _written(name: str, datum: Any) -> bytes:
    out = BytesIO()
    schemaless_writer(out, load(name).parsed, datum)
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_reads_what_fastavro_reads(name: str) -> None:
    schema = json.loads(load(name).text)
    decode = decoders.compile_decoder(schema, vars(records))

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(any_datum(schema), st.binary(max_size=3))
    def agrees(datum: Any, behind: bytes) -> None:
        body = _written(name, datum)
        expected = CLASSES[name].from_datum(schemaless_reader(BytesIO(body), load(name).parsed, None))
        assert decode(b"before" + body + behind, 6) == (expected, 6 + len(body))

    agrees()


@pytest.mark.parametrize("number", [0, 1, -1, 63, 64, -64, -65, 2**48 - 1, 2**48, 2**55 - 1, 2**55, -(2**63)])
def test_a_number_of_any_length_is_read(number: int) -> None:
    clock = _written("clock", {"at": number, "ticker": ""})
    decode = decoders.compile_decoder(json.loads(load("clock").text), vars(records))
    assert decode(clock, 0)[0].at == number


PATIENT = Patient(
    event_id="e",
    source="HIS",
    control_id="M1",
    received_at=1_772_438_400_000_000,
    raw_partition=0,
    raw_offset=300,
    action="update",
    trigger="A08",
    patient=Demographics(
        identifiers=(Identifier(authority="A", value="1"), Identifier(authority="B", value="2"))
    ),
)
ONE, OTHER = b"\x02A\x021\x00", b"\x02B\x022\x00"


@pytest.mark.parametrize(
    "blocks",
    [
        b"\x04" + ONE + OTHER + b"\0",
        b"\x02" + ONE + b"\x02" + OTHER + b"\0",
        b"\x03\x14" + ONE + OTHER + b"\0",
    ],
    ids=["one block", "two blocks", "a block that says its size"],
)
def test_an_array_may_come_in_blocks(blocks: bytes) -> None:
    value = Codec().encode(PATIENT)
    assert value.count(b"\x04" + ONE + OTHER + b"\0") == 1
    if blocks.startswith(b"\x03"):
        blocks = b"\x03" + bytes([2 * len(ONE + OTHER)]) + blocks[2:]
    there = value.replace(b"\x04" + ONE + OTHER + b"\0", blocks)
    assert Codec().decode(there, Patient) == PATIENT


def test_bytes_that_end_early_are_refused_wherever_they_end() -> None:
    value = Codec().encode(PATIENT)
    for end in range(len(SINGLE_OBJECT) + 8, len(value)):
        with pytest.raises(MalformedRecordError):
            Codec().decode(value[:end], Patient)


@pytest.mark.parametrize(
    ("told", "broken"),
    [
        (b"\x02e\x06HIS", b"\x02\xff\x06HIS"),
        (b"\x02e\x06HIS", b"\x01e\x06HIS"),
        (b"\x06HIS", b"\xff" * 11 + b"\x01"),
    ],
    ids=["no UTF-8", "a text of negative length", "a length without end"],
)
def test_broken_bytes_are_refused(told: bytes, broken: bytes) -> None:
    value = Codec().encode(PATIENT)
    assert value.count(told) == 1
    with pytest.raises(MalformedRecordError):
        Codec().decode(value.replace(told, broken), Patient)


def test_an_event_that_was_decoded_is_frozen() -> None:
    event = Codec().decode(Codec().encode(PATIENT), Patient)
    with pytest.raises(AttributeError):
        event.source = "other"  # type: ignore[misc]
    assert hash(event.patient) == hash(PATIENT.patient)
