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
from dosestream.events.codec import SINGLE_OBJECT, Codec
from dosestream.events.encoders import compile_encoder
from dosestream.events.records import CLASSES, Order
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
        assert codec.encode_parts(cls, parts) == codec.encode(cls(**parts))

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
        Codec().encode_parts(Order, {"event_id": "1"})


def test_a_field_that_is_not_there_is_no_constant() -> None:
    encode = compile_encoder({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]})
    with pytest.raises(AttributeError):
        encode(b"", object())
