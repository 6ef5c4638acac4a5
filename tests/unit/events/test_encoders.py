"""The compiled encoders write what fastavro writes, for any record of any schema."""

import json
from dataclasses import fields
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from any_datum import LONGS, any_datum
from fastavro import schemaless_writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosestream.events import binary
from dosestream.events.binary import long
from dosestream.events.codec import SINGLE_OBJECT, Codec, position
from dosestream.events.encoders import around_encoder, compile_encoder
from dosestream.events.record_encoders import AROUND_ENCODERS
from dosestream.events.records import CLASSES, Audit, Order
from dosestream.events.schemas import NAMES, load


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_are_those_of_fastavro(name: str) -> None:
    schema, cls, codec = load(name), CLASSES[name], Codec()

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(any_datum(json.loads(schema.text)))
    def same(datum: dict[str, Any]) -> None:
        expected = BytesIO()
        schemaless_writer(expected, schema.parsed, datum)
        written = codec.encode(cls.from_datum(datum))
        assert written == SINGLE_OBJECT + schema.fingerprint + expected.getvalue()

    same()


@given(LONGS | st.integers(-(2**63), 2**63 - 1))
def test_a_long_is_a_zigzag_varint(value: int) -> None:
    expected = BytesIO()
    schemaless_writer(expected, {"type": "long"}, value)
    assert long(value) == expected.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_encoded_as_the_whole_is(name: str) -> None:
    schema, cls, codec = load(name), CLASSES[name], Codec()
    document = json.loads(schema.text)
    defaults = [f["name"] for f in document["fields"] if "default" in f]

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(any_datum(document), st.sets(st.sampled_from(defaults)) if defaults else st.just(set[str]()))
    def same(datum: dict[str, Any], absent: set[str]) -> None:
        whole = cls.from_datum(datum)
        parts = {f.name: getattr(whole, f.name) for f in fields(whole) if f.name not in absent}
        if cls in AROUND_ENCODERS:
            before, behind = codec.encode_around(cls, parts)
            written = before + position(whole.raw_partition, whole.raw_offset) + behind  # type: ignore[union-attr]
        else:
            written = codec.encode_parts(cls, parts)
        assert written == codec.encode(cls(**parts))

    same()


def test_patients_that_come_again_are_written_as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "MOST_RECORDS", 3)
    schema = {"name": "P", "type": "record", "fields": [{"name": "name", "type": "string"}]}
    encode = compile_encoder(
        {"type": "record", "name": "E", "fields": [{"name": "patient", "type": ["null", schema]}]}
    )
    patients = [SimpleNamespace(name=f"n{number}") for number in range(5)]
    for patient in (*patients, *patients[::-1], *patients[:1] * 2):
        assert encode(b"", SimpleNamespace(patient=patient)) == b"\2\4" + patient.name.encode()
    assert encode(b"", SimpleNamespace(patient=None)) == b"\0"


def test_a_part_without_default_must_be_there() -> None:
    with pytest.raises(KeyError, match="source"):
        Codec().encode_around(Order, {"event_id": "1"})
    with pytest.raises(KeyError, match="kind"):
        Codec().encode_parts(Audit, {"event_id": "1"})


def test_a_position_in_two_places_is_no_schema_for_an_encoder_around_it() -> None:
    fields = [{"name": name, "type": "long"} for name in ("raw_partition", "other", "raw_offset")]
    with pytest.raises(ValueError, match="E: raw_partition, raw_offset do not follow one another"):
        around_encoder({"type": "record", "name": "E", "fields": fields})


def test_a_field_that_is_not_there_is_no_constant() -> None:
    encode = compile_encoder({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]})
    with pytest.raises(AttributeError):
        encode(b"", object())
