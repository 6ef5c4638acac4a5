"""Schemas, dataclasses and codec: held equal, told apart, read back by two libraries."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import pytest

from dosestream.events import generate
from dosestream.events.codec import Codec, MalformedRecordError, UnknownSchemaError
from dosestream.events.records import CLASSES, Clock, Demographics, Event, Identifier, Patient, RawMessage
from dosestream.events.schemas import (
    NAMES,
    Schema,
    by_fingerprint,
    folder,
    from_text,
    load,
    without_logical_types,
)

AT = 1_772_438_400_000_000
PATIENT = Patient(
    event_id="e" * 32,
    source="HIS|HOSP",
    control_id="M1",
    received_at=AT,
    raw_partition=1,
    raw_offset=7,
    event_time=AT - 5,
    action="merge",
    trigger="A40",
    patient=Demographics(
        identifiers=(Identifier(authority="HOSP", value="P1"),), name="Müller^Ann", sex='""'
    ),
    prior_identifiers=(Identifier(authority="HOSP", value="P0"),),
    paths={"event_time": "MSH-7"},
)
RAW = RawMessage(
    source="HIS|HOSP",
    control_id="M1",
    message_type="ADT^A08",
    received_at=AT,
    transport="mllp",
    content_hash="0" * 64,
    body=b"MSH|^~\\&|\xff",
)


@pytest.mark.parametrize(
    ("target", "text"),
    [(generate.TARGET, generate.generate), (generate.ENCODERS_TARGET, generate.generate_encoders)],
    ids=["dataclasses", "encoders"],
)
def test_what_is_generated_is_that_of_the_schemas(target: Path, text: Callable[[], str]) -> None:
    ruff = str(Path(sys.executable).with_name("ruff"))
    formatted = subprocess.run(
        [ruff, "format", "-", "--stdin-filename", str(target)],
        input=text(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert target.read_text() == formatted, "run `python -m dosestream.events.generate`"


def _fields(schema: Any) -> list[tuple[str, Any]]:
    """Every field of a schema, nested ones too, with its path."""
    found: list[tuple[str, Any]] = []
    if isinstance(schema, list):
        for branch in schema:
            found += _fields(branch)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            for field in schema["fields"]:
                found.append((f"{schema['name']}.{field['name']}", field))
                found += _fields(field["type"])
        elif schema["type"] == "array":
            found += _fields(schema["items"])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_field_says_what_it_is(name: str) -> None:
    bare = [path for path, field in _fields(json.loads(load(name).text)) if not field.get("doc")]
    assert bare == []


def test_every_schema_file_is_known_and_has_a_fingerprint_of_its_own() -> None:
    files = {path.stem for path in folder().glob("*.avsc")}
    assert files == set(NAMES)
    assert len(by_fingerprint()) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_fingerprint_agrees_with_the_avro_library(name: str) -> None:
    schema = load(name)
    # Avro 1.12 for Python keeps {"type": "long"} in the canonical form of a logical type, against the
    # specification's PRIMITIVES rule; without logical types both must agree.
    plain = json.dumps(without_logical_types(json.loads(schema.text)))
    assert avro.schema.parse(plain).fingerprint("CRC-64-AVRO") == schema.fingerprint


@pytest.mark.parametrize("event", [PATIENT, RAW, Clock(at=AT, ticker="t")], ids=lambda e: type(e).__name__)
def test_an_event_comes_back_as_it_went(event: Event) -> None:
    codec = Codec()
    assert codec.decode(codec.encode(event), type(event)) == event


def test_the_avro_library_reads_what_we_write() -> None:
    value = Codec().encode(PATIENT)
    assert value[:10] == b"\xc3\x01" + load("patient").fingerprint
    reader = avro.io.DatumReader(avro.schema.parse(load("patient").text))
    datum = reader.read(avro.io.BinaryDecoder(BytesIO(value[10:])))
    assert isinstance(datum, dict)
    assert datum["patient"]["name"] == "Müller^Ann"
    assert datum["received_at"].timestamp() * 1_000_000 == pytest.approx(AT)


def test_both_frames_are_read_whichever_is_written() -> None:
    registered = Codec(registry_ids={"patient": 7})
    plain = Codec()
    value = registered.encode(PATIENT)
    assert value[:5] == b"\x00\x00\x00\x00\x07"
    assert registered.decode(value, Patient) == PATIENT
    assert registered.decode(plain.encode(PATIENT), Patient) == PATIENT
    found = Codec(find_registry_id={7: load("patient")}.get)
    assert found.decode(value, Patient) == PATIENT


def _older() -> Schema:
    """The patient schema before `location` was added."""
    document = json.loads(load("patient").text)
    document["fields"] = [f for f in document["fields"] if f["name"] != "location"]
    return from_text("patient", json.dumps(document))


def test_a_record_of_an_older_schema_is_read_with_defaults() -> None:
    older = _older()
    plain = avro.schema.parse(json.dumps(without_logical_types(json.loads(older.text))))
    datum = PATIENT.to_datum()
    del datum["location"]
    out = BytesIO()
    avro.io.DatumWriter(plain).write(datum, avro.io.BinaryEncoder(out))
    value = b"\xc3\x01" + older.fingerprint + out.getvalue()
    codec = Codec(find_fingerprint={older.fingerprint: older}.get)
    assert codec.decode(value, Patient) == PATIENT


BROKEN = {
    "neither frame": (b"{}", MalformedRecordError),
    "nothing": (b"", MalformedRecordError),
    "cut short": (Codec().encode(PATIENT)[:40], MalformedRecordError),
    "another record's": (Codec().encode(RAW), MalformedRecordError),
    "a schema nobody knows": (b"\xc3\x01" + b"\x01" * 8 + b"x", UnknownSchemaError),
    "a registry id nobody knows": (b"\x00\x00\x00\x00\x63x", UnknownSchemaError),
}


@pytest.mark.parametrize(("value", "error"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_read_says_so(value: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        Codec().decode(value, Patient)


def test_every_class_has_the_fields_of_its_schema_in_order() -> None:
    for name, cls in CLASSES.items():
        document = json.loads(load(name).text)
        assert [f.name for f in fields(cls)] == [f["name"] for f in document["fields"]]
