"""The compiled encoders write what fastavro writes, for any record of any schema."""

import json
from dataclasses import fields
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from dosestream.events import encoders
from dosestream.events.codec import SINGLE_OBJECT, Codec
from dosestream.events.encoders import LISTED, compile_encoder, long
from dosestream.events.records import CLASSES, Order
from dosestream.events.schemas import NAMES, load

LONGS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -1, 63, 64, LISTED - 1, LISTED, 2**48, 2**55])
TEXTS = st.sampled_from(["", "", "", '""', "Müller^Ann", "検査", "x" * 63, "x" * 64, "y" * LISTED]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "bytes": st.binary(max_size=80),
    "long": LONGS,
    "int": st.integers(-(2**31), 2**31 - 1),
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
}


def data(kind: Any, known: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any value of a schema, as fastavro takes it."""
    if isinstance(kind, list):
        return st.one_of(*(st.none() if branch == "null" else data(branch, known) for branch in kind))
    if isinstance(kind, dict):
        match kind["type"]:
            case "record":
                known[kind["name"]] = kind
                return st.fixed_dictionaries({f["name"]: data(f["type"], known) for f in kind["fields"]})
            case "array":
                return st.lists(data(kind["items"], known), max_size=3)
            case "map":
                return st.dictionaries(TEXTS, data(kind["values"], known), max_size=3)
            case primitive:
                return PRIMITIVES[primitive]
    return PRIMITIVES[kind] if kind in PRIMITIVES else data(known[kind.rsplit(".", 1)[-1]], known)


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_are_those_of_fastavro(name: str) -> None:
    schema, cls, codec = load(name), CLASSES[name], Codec()

    @settings(max_examples=25, deadline=None)
    @given(data(json.loads(schema.text), {}))
    def same(datum: dict[str, Any]) -> None:
        expected = BytesIO()
        schemaless_writer(expected, schema.parsed, datum)
        written = codec.encode(cls.from_datum(datum))
        assert written == SINGLE_OBJECT + schema.fingerprint + expected.getvalue()

    same()


@given(LONGS)
def test_a_long_is_a_zigzag_varint(value: int) -> None:
    expected = BytesIO()
    schemaless_writer(expected, {"type": "long"}, value)
    assert long(value) == expected.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_encoded_as_the_whole_is(name: str) -> None:
    schema, cls, codec = load(name), CLASSES[name], Codec()
    document = json.loads(schema.text)
    defaults = [f["name"] for f in document["fields"] if "default" in f]

    @settings(max_examples=25, deadline=None)
    @given(data(document, {}), st.sets(st.sampled_from(defaults)) if defaults else st.just(set[str]()))
    def same(datum: dict[str, Any], absent: set[str]) -> None:
        whole = cls.from_datum(datum)
        parts = {f.name: getattr(whole, f.name) for f in fields(whole) if f.name not in absent}
        assert codec.encode_parts(cls, parts) == codec.encode(cls(**parts))

    same()


def test_patients_that_come_again_are_written_as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "MOST_RECORDS", 3)
    schema = {"name": "P", "type": "record", "fields": [{"name": "name", "type": "string"}]}
    encode = encoders.compile_encoder(
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
