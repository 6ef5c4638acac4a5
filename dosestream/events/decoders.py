"""Avro bytes to the events of `schemas/*.avsc` (Avro 1.12 specification, "Binary encoding").

A reader that walks a schema asks at every value what it is, and makes a dictionary that becomes a dataclass
afterwards. Here the schema is turned into Python once, as `dataclasses` does it: one function per record that
knows what each field is and makes the dataclass at once. Most fields of an event are empty, and an empty one
is one byte. A test holds the events equal to those that fastavro makes.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from dosestream.events.schema_records import function_name, records_of, short_name

# A record's bytes and where it begins in them, to the event and where it ends.
Decoder = Callable[[bytes, int], tuple[Any, int]]

# The bits that say "more follows" in eight bytes, and those of a number of just so many.
MARKS, MARKED = 0x8080808080808080, 0x0080808080808080
# What such eight bytes are together.
EIGHT = " | ".join(
    ["byte & 127", *(f"(data[at + {n}] & 127) << {7 * n}" for n in range(1, 7)), "data[at + 7] << 49"]
)


def number(data: bytes, at: int) -> tuple[int, int]:
    """A long (or int), which is a zigzag varint, and where it ends.

    Raises:
        IndexError: it does not end.
        ValueError: it has more than 64 bits.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def count(data: bytes, at: int) -> tuple[int, int]:
    """How many items the next block of an array or map has, and where they begin. A block may say its size in
    bytes, too; its count is negative then."""
    found, at = number(data, at)
    if found < 0:
        _, at = number(data, at)
    return abs(found), at


def size(data: bytes, at: int) -> tuple[int, int]:
    """The length of a text or of bytes, and where they begin.

    Raises:
        ValueError: it is negative.
    """
    found, at = number(data, at)
    if found < 0:
        raise ValueError("a negative length")
    return found, at


def boolean(byte: int) -> bool:
    """A boolean from its byte."""
    if byte > 1:
        raise ValueError("neither true nor false")
    return byte == 1


def branch(index: int) -> None:
    """Refuse a branch that a union does not have."""
    raise ValueError(f"no branch {index} in a union")


def compile_decoder(schema: Any, classes: Mapping[str, type[Any]]) -> Decoder:
    """The decoder of a record schema (its JSON document); nested records have functions of their own.

    Args:
        schema: a record of the kinds of fields that events have; unions are of null and one other.
        classes: the dataclass of each record by its short name; frozen, with slots, one for each field.

    The decoder raises whatever broken bytes make it raise; an end beyond the bytes is an end beyond them.
    """
    records = records_of(schema)
    names: dict[str, Any] = {
        "number": number,
        "count": count,
        "size": size,
        "boolean": boolean,
        "branch": branch,
        "double": Struct("<d").unpack_from,
        "MARKS": MARKS,
        "MARKED": MARKED,
    }
    for record in records.values():
        cls = classes[short_name(record["name"])]
        # Each field of a frozen instance is set through `object.__setattr__`, which costs more than reading it:
        # they are set on an instance of a twin of the same slots, which then becomes one of the frozen class.
        names[cls.__name__] = cls
        names[_twin(record)] = type(cls.__name__, (), {"__slots__": tuple(cls.__dataclass_fields__)})
    exec("\n".join(map(_function, records.values())), names)
    decoder: Decoder = names[function_name(schema["name"])]
    return decoder


def _twin(schema: Any) -> str:
    return f"Loose{short_name(schema['name'])}"


def _function(schema: Any) -> str:
    body = [f"out = {_twin(schema)}()"]
    for field in schema["fields"]:
        body += _lines(field["type"], f"out.{field['name']}", 0)
    body += [f"out.__class__ = {short_name(schema['name'])}", "return out, at"]
    return "\n".join([f"def {function_name(schema['name'])}(data, at):", *_indented(body)])


def _lines(kind: Any, target: str, depth: int) -> list[str]:
    """The code that reads a value of the schema's type `kind` at `at` into `target`, and moves `at` behind it."""
    if isinstance(kind, list):
        index = kind.index("null")
        return [
            "byte = data[at]",
            "at += 1",
            f"if byte == {2 * index}:",
            f"    {target} = None",
            f"elif byte == {2 - 2 * index}:",
            *_indented(_lines(kind[1 - index], target, depth)),
            "else:",
            "    branch(byte)",
        ]
    if isinstance(kind, dict) and kind["type"] == "array":
        items, item = f"items{depth}", f"item{depth}"
        return [
            "if data[at] == 0:",
            f"    {target} = ()",
            "    at += 1",
            "else:",
            f"    {items} = []",
            *_indented(_blocks(depth, [*_lines(kind["items"], item, depth + 1), f"{items}.append({item})"])),
            f"    {target} = tuple({items})",
        ]
    if isinstance(kind, dict) and kind["type"] == "map":
        items, key, item = f"items{depth}", f"key{depth}", f"item{depth}"
        pair = [*_lines("string", key, depth + 1), *_lines(kind["values"], item, depth + 1)]
        return [
            "if data[at] == 0:",
            f"    {target} = {{}}",
            "    at += 1",
            "else:",
            f"    {items} = {{}}",
            *_indented(_blocks(depth, [*pair, f"{items}[{key}] = {item}"])),
            f"    {target} = {items}",
        ]
    match kind["type"] if isinstance(kind, dict) else kind:
        case "string":
            return [
                "byte = data[at]",
                "at += 1",
                "if byte == 0:",
                f'    {target} = ""',
                "else:",
                *_indented(_sized()),
                f"    {target} = data[at:end].decode()",
                "    at = end",
            ]
        case "bytes":
            return ["byte = data[at]", "at += 1", *_sized(), f"{target} = data[at:end]", "at = end"]
        case "long" | "int":
            return [
                "byte = data[at]",
                "if byte < 128:",
                f"    {target} = (byte >> 1) ^ -(byte & 1)",
                "    at += 1",
                "elif data[at + 1] < 128:",
                "    value = byte & 127 | data[at + 1] << 7",
                f"    {target} = (value >> 1) ^ -(value & 1)",
                "    at += 2",
                # A time in microseconds: eight bytes, all but the last marked.
                'elif int.from_bytes(data[at : at + 8], "little") & MARKS == MARKED:',
                f"    value = {EIGHT}",
                f"    {target} = (value >> 1) ^ -(value & 1)",
                "    at += 8",
                "else:",
                f"    {target}, at = number(data, at)",
            ]
        case "boolean":
            return [f"{target} = boolean(data[at])", "at += 1"]
        case "double":
            return [f"({target},) = double(data, at)", "at += 8"]
        case "record":
            return [f"{target}, at = {function_name(kind['name'])}(data, at)"]
        case reference:
            return [f"{target}, at = {function_name(reference)}(data, at)"]


def _sized() -> list[str]:
    """The end of the text or bytes whose length begins with `byte`, which `at` has passed."""
    return [
        "if byte < 128 and not byte & 1:",
        "    end = at + (byte >> 1)",
        "else:",
        "    length, at = size(data, at - 1)",
        "    end = at + length",
    ]


def _blocks(depth: int, body: list[str]) -> list[str]:
    """Read the items of all blocks of an array or map."""
    left = f"left{depth}"
    counted = [
        f"{left} = data[at]",
        f"if {left} < 128 and not {left} & 1:",
        f"    {left} >>= 1",
        "    at += 1",
        "else:",
        f"    {left}, at = count(data, at)",
    ]
    return [
        *counted,
        f"while {left}:",
        f"    for _ in range({left}):",
        *_indented(_indented(body)),
        *_indented(counted),
    ]


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]
