"""FULL_TRANSITIVE, by really encoding and decoding: every version of a schema reads what every other wrote.

`avro`'s own compatibility check is not asked: it takes renames by alias for compatible in both directions, and an
old reader knows nothing of an alias that a newer schema has.
"""

import copy
import json
from collections.abc import Callable
from io import BytesIO
from itertools import product
from typing import Any

import avro.io
import avro.schema
import pytest
from drawing import datums, named, seen
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import HealthCheck, Phase, given, settings
from versions import HISTORY, files, unrecorded

from dosestream.events.codec import SINGLE_OBJECT, Codec
from dosestream.events.records import CLASSES
from dosestream.events.schemas import NAMES, by_fingerprint, from_text, load, without_logical_types

Json = Any
PAIRS = [
    pytest.param(writer.read_text(), reader.read_text(), id=f"{name}: {reader.stem} reads {writer.stem}")
    for name in NAMES
    for writer, reader in product(files(name), repeat=2)
]


def written(schema: Json, datum: Json) -> bytes:
    out = BytesIO()
    schemaless_writer(out, parse_schema(copy.deepcopy(schema)), datum)
    return out.getvalue()


def by_fastavro(value: bytes, writer: Json, reader: Json) -> Json:
    """Schemas are parsed apart: fastavro keeps names it has seen with the schema it parsed."""
    return schemaless_reader(
        BytesIO(value), parse_schema(copy.deepcopy(writer)), parse_schema(copy.deepcopy(reader))
    )


def by_avro(value: bytes, writer: Json, reader: Json) -> Json:
    schemas = [avro.schema.parse(json.dumps(schema)) for schema in (writer, reader)]
    return avro.io.DatumReader(*schemas).read(avro.io.BinaryDecoder(BytesIO(value)))


READERS: tuple[Callable[[bytes, Json, Json], Json], ...] = (by_fastavro, by_avro)


def reads(writer_text: str, reader_text: str, examples: int) -> None:
    """Fails where a record of the writer is not seen by the reader as the specification says."""
    # Times as the numbers they are, so that what comes back is what went.
    writer, reader = (without_logical_types(json.loads(text)) for text in (writer_text, reader_text))
    known, read = named(writer), named(reader)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(datums(writer, known))
    def law(datum: Json) -> None:
        expected = seen(datum, writer, reader, known, read)
        value = written(writer, datum)
        for reading in READERS:
            assert reading(value, writer, reader) == expected, reading.__name__

    law()


@pytest.mark.slow
@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_every_version_reads_what_every_version_wrote(writer: str, reader: str) -> None:
    reads(writer, reader, examples=8)


FIRST_AND_EARLIER = [
    pytest.param(name, path.read_text(), id=f"{name} {path.stem}") for name in NAMES for path in files(name)
]


@pytest.mark.parametrize(("name", "text"), FIRST_AND_EARLIER)
def test_our_codec_reads_every_earlier_version_as_the_class_of_today(name: str, text: str) -> None:
    earlier, cls = from_text(name, text), CLASSES[name]
    reader = without_logical_types(json.loads(load(name).text))
    writer = without_logical_types(json.loads(text))
    codec = Codec(find_fingerprint={earlier.fingerprint: earlier}.get)

    @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(datums(writer, named(writer)))
    def law(datum: Json) -> None:
        value = SINGLE_OBJECT + earlier.fingerprint + written(writer, datum)
        expected = seen(datum, writer, reader, named(writer), named(reader))
        assert codec.decode(value, cls) == cls.from_datum(expected)

    law()


def _changed(change: Callable[[list[Json]], None]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        document = json.loads(text)
        change(document["fields"])
        return json.dumps(document)

    return changed


def _rename(fields: list[Json]) -> None:
    fields[0] |= {"name": "renamed", "aliases": [fields[0]["name"]]}


# Changes of the clock's schema that break a reader, and the direction in which they do.
BREAKING: dict[str, tuple[Callable[[list[Json]], None], str]] = {
    "a field without default": (lambda f: f.append({"name": "new", "type": "string"}), "new reads old"),
    "a field taken away": (lambda f: f.pop(0), "old reads new"),
    "a field renamed with its alias": (_rename, "old reads new"),
    "a wider type": (lambda f: f[0].update(type="double"), "old reads new"),
    "another type": (lambda f: f[0].update(type="string"), "new reads old"),
    "a text that may be null": (lambda f: f[1].update(type=["null", "string"]), "old reads new"),
}


@pytest.mark.parametrize(("change", "direction"), BREAKING.values(), ids=BREAKING.keys())
def test_a_change_that_breaks_a_reader_is_found(change: Callable[[list[Json]], None], direction: str) -> None:
    old = load("clock").text
    new = _changed(change)(old)
    writer, reader = (new, old) if direction == "old reads new" else (old, new)
    with pytest.raises(Exception):  # noqa: B017 - each library has errors of its own
        reads(writer, reader, examples=20)


def test_a_field_added_with_a_default_breaks_nobody() -> None:
    old = load("clock").text
    new = _changed(lambda f: f.append({"name": "room", "type": "string", "default": ""}))(old)
    for writer, reader in product((old, new), repeat=2):
        reads(writer, reader, examples=8)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_that_changed_has_a_new_version_in_the_history(name: str) -> None:
    texts = [path.read_text() for path in files(name)]
    assert not unrecorded(load(name).text, texts), (
        f"schemas/{name}.avsc changed: copy it to schemas/history/{name}/{len(texts) + 1}.avsc "
        "(docs/subscribing.md, Adding a field)"
    )


def test_the_history_has_every_version_once_and_in_order() -> None:
    assert {path.name for path in HISTORY.iterdir()} == set(NAMES)
    for name in NAMES:
        assert [path.stem for path in files(name)] == [str(n + 1) for n in range(len(files(name)))]
        texts = [path.read_text() for path in files(name)]
        assert len({from_text(name, text).fingerprint for text in texts}) == len(texts)


UNRECORDED: dict[str, tuple[Callable[[str], str], bool]] = {
    "nothing": (lambda text: text, False),
    "only its words": (lambda text: text.replace("A tick", "One tick"), False),
    "a field more": (_changed(lambda f: f.append({"name": "n", "type": "int", "default": 0})), True),
    "another default": (_changed(lambda f: f[0].update(default=1)), True),
}


@pytest.mark.parametrize(("change", "told"), UNRECORDED.values(), ids=UNRECORDED.keys())
def test_a_change_without_a_new_version_is_told(change: Callable[[str], str], told: bool) -> None:
    text = load("clock").text
    assert unrecorded(change(text), [text]) is told


def test_every_fingerprint_names_one_version_of_one_schema() -> None:
    found: dict[bytes, str] = {fingerprint: schema.name for fingerprint, schema in by_fingerprint().items()}
    for name in NAMES:
        for path in files(name):
            assert found.setdefault(from_text(name, path.read_text()).fingerprint, name) == name


def test_what_is_drawn_reaches_every_branch_of_a_schema() -> None:
    """Otherwise the laws above would hold of little: optional records are there and absent, lists empty and not."""
    text = without_logical_types(json.loads(load("study").text))
    found: set[tuple[bool, bool]] = set()

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(datums(text, named(text)))
    def look(datum: Json) -> None:
        found.add((datum["dose"] is None, bool(datum["requests"])))

    look()
    assert {dose for dose, _ in found} == {requests for _, requests in found} == {True, False}
