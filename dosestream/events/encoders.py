"""The encoders of Avro records as Python source (Avro 1.12 specification, "Binary encoding").

A writer that walks a schema asks at every value what it is. Here the schema is turned into Python once, as
`dataclasses` does it: one function per record, a single expression for all its bytes, which knows what each
field is. Most texts of an event are empty, and an empty text is one constant byte. `generate.py` writes those of
`schemas/*.avsc` to `record_encoders.py`; a test holds the bytes equal to fastavro's.
"""

import re
from typing import Any, Final

from dosestream.events import binary
from dosestream.events.binary import Encoder
from dosestream.events.schema_records import function_name, records_of, short_name

# What the source of an encoder uses, as `binary` has it.
NAMES = ("LISTED", "LONGS", "double", "kept", "long", "sized", "text", "texts", "varint")

# Where the raw record of an event lies, which is not known before it is stored.
POSITION = ("raw_partition", "raw_offset")

# A value on its way is given a name by its kind, so that a compiler knows what it is.
KINDS = {"text": "str", "number": "int", "data": "bytes", "it": "Any"}
_GIVEN = re.compile(rf"\b({'|'.join(KINDS)})\d+(?= :=)")


def compile_encoder(schema: Any) -> Encoder:
    """The encoder of any record schema (its JSON document)."""
    names: dict[str, Any] = {name: getattr(binary, name) for name in NAMES} | {"Any": Any, "Final": Final}
    found = records_of(schema).values()
    exec("\n".join(line for record in found for line in (*encoder(record), keeper(record))), names)
    encode: Encoder = names[whole_name(schema)]
    return encode


def encoder(schema: Any) -> list[str]:
    """The encoder of a record schema; those of records in it stand before it."""
    places = [(f"event.{field['name']}", field["type"]) for field in schema["fields"]]
    signature = f"{whole_name(schema)}(before: bytes, event: Any) -> bytes"
    return _function(signature, f"{_said(schema)}.", places)


def _parts(fields: list[Any]) -> list[tuple[str, Any]]:
    return [(_part(field), field["type"]) for field in fields]


def _part(field: Any) -> str:
    if "default" not in field:
        return f"fields[{field['name']!r}]"
    default = f", {field['default']!r}" if field["default"] is not None else ""
    return f"fields.get({field['name']!r}{default})"


def keeper(schema: Any) -> str:
    """What keeps the bytes of a record that is part of others."""
    name = whole_name(schema)
    return f"kept{name}: Final = kept({name})"


def parts_encoder(schema: Any) -> list[str]:
    """The encoder of a record whose fields lie in a dict: what is absent has the schema's default.

    Nested records are objects. A field that the schema has not is passed over, and one that has no default and is
    absent is a `KeyError`.
    """
    signature = f"{parts_name(schema)}(before: bytes, fields: dict[str, Any]) -> bytes"
    return _function(signature, f"{_said(schema)}, by its fields.", _parts(schema["fields"]))


def around_encoder(schema: Any) -> list[str]:
    """The same for an event whose raw record has no position yet: what lies before it, and what lies behind."""
    fields = schema["fields"]
    at = [field["name"] for field in fields].index(POSITION[0])
    if tuple(field["name"] for field in fields[at : at + len(POSITION)]) != POSITION:
        raise ValueError(f"{schema['name']}: {', '.join(POSITION)} do not follow one another")
    signature = f"{around_name(schema)}(before: bytes, fields: dict[str, Any]) -> tuple[bytes, bytes]"
    said = f"{_said(schema)}, by its fields: up to its raw record's position, and from there on."
    return _function(signature, said, _parts(fields[:at]), _parts(fields[at + len(POSITION) :]))


def whole_name(schema: Any) -> str:
    """The name of `encoder`'s function."""
    return function_name(schema["name"])


def parts_name(schema: Any) -> str:
    """The name of `parts_encoder`'s function."""
    return f"{whole_name(schema)}_parts"


def around_name(schema: Any) -> str:
    """The name of `around_encoder`'s function."""
    return f"{whole_name(schema)}_around"


def _said(schema: Any) -> str:
    return f"A record {short_name(schema['name'])} behind `before`"


def _function(signature: str, said: str, *runs: list[tuple[str, Any]]) -> list[str]:
    """A function that returns the bytes of each run of fields (expression and type), `before` before the first."""
    pieces = [[_bytes(kind, value, 0) for value, kind in run] for run in runs]
    given = {
        found.group(): found.group(1) for run in pieces for piece in run for found in _GIVEN.finditer(piece)
    }
    pieces[0].insert(0, "before")
    return [
        f"def {signature}:",
        f'    """{said}"""',
        *(f"    {name}: {KINDS[kind]}" for name, kind in sorted(given.items())),
        f"    return {', '.join(map(_joined, pieces))}",
        "",
        "",
    ]


def _joined(pieces: list[str]) -> str:
    return "\n".join(["b''.join((", *(f"        {piece}," for piece in pieces), "    ))"])


def _bytes(kind: Any, value: str, depth: int) -> str:
    """The expression of a value's bytes, of the schema's type `kind`."""
    it = f"it{depth}"
    if isinstance(kind, list):
        index = kind.index("null")
        other = _bytes(kind[1 - index], it, depth + 1)
        return f"{_union(index)} if ({it} := {value}) is None else {_union(1 - index)} + ({other})"
    if isinstance(kind, dict) and kind["type"] == "array":
        item = _bytes(kind["items"], f"item{depth}", depth + 1)
        pieces = f"long(len({it})), *[{item} for item{depth} in {it}], b'\\0'"
        return f"b''.join(({pieces})) if ({it} := {value}) else b'\\0'"
    if isinstance(kind, dict) and kind["type"] == "map":
        if kind["values"] == "string":
            return f"texts(tuple({it}.items())) if ({it} := {value}) else b'\\0'"
        key, item = (
            _bytes(one, f"{name}{depth}", depth + 1)
            for one, name in (("string", "key"), (kind["values"], "item"))
        )
        pairs = f"*[({key}) + ({item}) for key{depth}, item{depth} in {it}.items()]"
        return f"b''.join((long(len({it})), {pairs}, b'\\0')) if ({it} := {value}) else b'\\0'"
    text, number, data = (f"{name}{depth}" for name in ("text", "number", "data"))
    match kind["type"] if isinstance(kind, dict) else kind:
        case "string":
            return f"text({text}) if ({text} := {value}) else b'\\0'"
        case "bytes":
            # Two pieces, where they may be many bytes: they are not copied for their length.
            return f"sized({value})" if depth else f"long(len({data} := {value})), {data}"
        case "long" | "int":
            return f"LONGS[{number}] if 0 <= ({number} := {value}) < LISTED else varint({number})"
        case "boolean":
            return f"b'\\1' if {value} else b'\\0'"
        case "double":
            return f"double({value})"
        case "record":
            return _record(kind["name"], value)
        case reference:
            return _record(reference, value)


def _record(name: str, value: str) -> str:
    """A record in a record: the patient of an event may be that of the one before, an item of a list is not."""
    function = function_name(name)
    return f"{function}(b'', {value})" if value.startswith("item") else f"kept{function}({value})"


def _union(index: int) -> str:
    return f"b'\\{2 * index}'"
