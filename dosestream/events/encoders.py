"""The events of `schemas/*.avsc` to Avro bytes (Avro 1.12 specification, "Binary encoding").

A writer that walks a schema asks at every value what it is. Here the schema is turned into Python once, as
`dataclasses` does it: one function per record that appends the pieces of its bytes to a list and knows what
each field is. Most texts of an event are empty, and an empty text is one constant byte. A test holds the
bytes equal to fastavro's.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any

# Appends the pieces of one event's bytes: the append of a list, and the event.
Encoder = Callable[[Callable[[bytes], None], Any], None]

# The same, from the record's fields by name.
PartsEncoder = Callable[[Callable[[bytes], None], dict[str, Any]], None]

# Numbers below this have their bytes in a table: what most lengths and counts are.
LISTED = 4096


# Two bytes of a varint at a time, by their 14 bits: with more to come, and as the last two.
_MARKED = tuple(bytes((bits & 127 | 128, bits >> 7 | 128)) for bits in range(1 << 14))
_LAST = tuple(bytes((bits & 127 | 128, bits >> 7)) for bits in range(1 << 14))


def long(value: int) -> bytes:
    """A long (or int) as a zigzag varint."""
    value = (value << 1) ^ (value >> 63)
    if value >> 49 and not value >> 56:  # a time in microseconds: eight bytes
        return (
            _MARKED[value & 16383]
            + _MARKED[value >> 14 & 16383]
            + _MARKED[value >> 28 & 16383]
            + _LAST[value >> 42]
        )
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


LONGS = tuple(map(long, range(LISTED)))


# The places an event was read from are the same for all messages of a sender.
MOST_MAPS = 1024


@lru_cache(maxsize=MOST_MAPS)
def texts(items: tuple[tuple[str, str], ...]) -> bytes:
    """A map of texts that is not empty."""
    pieces = [long(len(items))]
    for item in items:
        for data in map(str.encode, item):
            pieces += long(len(data)), data
    return b"".join((*pieces, b"\0"))


NAMES: dict[str, Any] = {
    "texts": texts,
    "long": long,
    "LONGS": LONGS,
    "LISTED": LISTED,
    "double": Struct("<d").pack,
}


def compile_encoder(schema: Any) -> Encoder:
    """The encoder of a record schema (its JSON document); nested records are encoded by functions of their own."""
    records: dict[str, Any] = {}
    _collect(schema, records)
    names = dict(NAMES)
    exec("\n".join(map(_function, records.values())), names)
    encoder: Encoder = names[_function_name(schema["name"])]
    return encoder


def compile_parts_encoder(schema: Any) -> PartsEncoder:
    """The encoder of a record whose fields lie in a dict: what is absent has the schema's default.

    Nested records are objects, as in `compile_encoder`. A field that the schema has not is passed over, and one
    that has no default and is absent is a `KeyError`.
    """
    records: dict[str, Any] = {}
    _collect(schema, records)
    names = dict(NAMES)
    exec("\n".join([*map(_function, records.values()), _parts_function(schema)]), names)
    encoder: PartsEncoder = names["_parts"]
    return encoder


def _parts_function(schema: Any) -> str:
    body = []
    for field in schema["fields"]:
        name = field["name"]
        place = f"get({name!r}, {field['default']!r})" if "default" in field else f"fields[{name!r}]"
        body += [f"{name} = {place}", *_lines(field["type"], name, name, 0)]
    return "\n".join(["def _parts(add, fields):", "    get = fields.get", *_indented(body)])


def _collect(schema: Any, found: dict[str, Any]) -> None:
    """Gather the record definitions of a schema."""
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, found)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            found[schema["name"]] = schema
            for field in schema["fields"]:
                _collect(field["type"], found)
        elif schema["type"] in ("array", "map"):
            _collect(schema.get("items") or schema.get("values"), found)


def _function_name(record: str) -> str:
    return "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", record.rsplit(".", 1)[-1]).lower()


def _function(schema: Any) -> str:
    body = [
        line
        for field in schema["fields"]
        for line in _lines(field["type"], f"event.{field['name']}", field["name"], 0)
    ]
    return "\n".join([f"def {_function_name(schema['name'])}(add, event):", *_indented(body)])


def _lines(kind: Any, value: str, name: str, depth: int) -> list[str]:
    """The code that appends `value`, of the schema's type `kind`; `name` makes its locals."""
    if isinstance(kind, list):
        index = kind.index("null")
        other = kind[1 - index]
        return [
            *([f"{name} = {value}"] if name != value else []),
            f"if {name} is None:",
            f"    add({_union(index)})",
            "else:",
            f"    add({_union(1 - index)})",
            *_indented(_lines(other, name, name, depth)),
        ]
    if isinstance(kind, dict) and kind["type"] == "array":
        item = f"item{depth}"
        return [
            f"if {value}:",
            f"    add(long(len({value})))",
            f"    for {item} in {value}:",
            *_indented(_indented(_lines(kind["items"], item, item, depth + 1))),
            'add(b"\\0")',
        ]
    if isinstance(kind, dict) and kind["type"] == "map":
        if kind["values"] != "string":
            raise NotImplementedError("a map of anything but texts")
        return [f'add(texts(tuple({value}.items())) if {value} else b"\\0")']
    match kind["type"] if isinstance(kind, dict) else kind:
        case "string":
            return [
                f"if text := {value}:",
                "    data = text.encode()",
                *_indented(_sized()),
                "else:",
                '    add(b"\\0")',
            ]
        case "bytes":
            return [f"data = {value}", *_sized()]
        case "long" | "int":
            return [f"number = {value}", "add(LONGS[number] if 0 <= number < LISTED else long(number))"]
        case "boolean":
            return [f'add(b"\\1" if {value} else b"\\0")']
        case "double":
            return [f"add(double({value}))"]
        case "record":
            return [f"{_function_name(kind['name'])}(add, {value})"]
        case reference:
            return [f"{_function_name(reference)}(add, {value})"]


def _sized() -> list[str]:
    return ["size = len(data)", "add(LONGS[size] if size < LISTED else long(size))", "add(data)"]


def _union(index: int) -> str:
    return f'b"\\{2 * index}"'


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]
