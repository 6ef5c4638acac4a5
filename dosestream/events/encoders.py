"""The events of `schemas/*.avsc` to Avro bytes (Avro 1.12 specification, "Binary encoding").

A writer that walks a schema asks at every value what it is. Here the schema is turned into Python once, as
`dataclasses` does it: one function per record, a single expression for all its bytes, which knows what each
field is. Most texts of an event are empty, and an empty text is one constant byte. A test holds the bytes equal
to fastavro's.
"""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any

from dosestream.events.schema_records import function_name, records_of

# What stands before the bytes, and the event, to the bytes of both.
Encoder = Callable[[bytes, Any], bytes]
# The same, of the record's fields by name.
PartsEncoder = Callable[[bytes, dict[str, Any]], bytes]

# Numbers below this have their bytes in a table: what most lengths and counts are.
LISTED = 4096


# Two bytes of a varint at a time, by their 14 bits: with more to come, and as the last two.
_MARKED = tuple(bytes((bits & 127 | 128, bits >> 7 | 128)) for bits in range(1 << 14))
_LAST = tuple(bytes((bits & 127 | 128, bits >> 7)) for bits in range(1 << 14))


# The times of a message stand in several of its fields and in all of its records.
@lru_cache(maxsize=256)
def _varint(value: int) -> bytes:
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


LONGS = tuple(map(_varint.__wrapped__, range(LISTED)))


def long(value: int) -> bytes:
    """A long (or int) as a zigzag varint."""
    return LONGS[value] if 0 <= value < LISTED else _varint(value)


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


# Patients come again: of the newest ones the bytes are kept.
MOST_RECORDS = 8192


def kept(encode: Encoder) -> Callable[[Any], bytes]:
    """The encoder of a record that cannot change, with nothing before it; the bytes of the same object come again.

    An object that is kept is alive, so its id is no other's.
    """
    known: dict[int, tuple[Any, bytes]] = {}

    def encoded(record: Any) -> bytes:
        found = known.get(id(record))
        if found is not None:
            return found[1]
        data = encode(b"", record)
        if len(known) >= MOST_RECORDS:
            known.clear()
        known[id(record)] = record, data
        return data

    return encoded


def sized(data: bytes) -> bytes:
    """Bytes or a text of any length, its length before it."""
    return long(len(data)) + data


NAMES: dict[str, Any] = {
    "join": b"".join,
    "long": long,
    "varint": _varint,
    "sized": sized,
    "texts": texts,
    "LONGS": LONGS,
    "LISTED": LISTED,
    "double": Struct("<d").pack,
}


def compile_encoder(schema: Any) -> Encoder:
    """The encoder of a record schema (its JSON document); nested records are encoded by functions of their own."""
    encoder: Encoder = _names(schema, [])[function_name(schema["name"])]
    return encoder


def compile_parts_encoder(schema: Any) -> PartsEncoder:
    """The encoder of a record whose fields lie in a dict: what is absent has the schema's default.

    Nested records are objects, as in `compile_encoder`. A field that the schema has not is passed over, and one
    that has no default and is absent is a `KeyError`.
    """
    places = [
        (f"get({name!r}, {field['default']!r})" if "default" in field else f"event[{name!r}]", field["type"])
        for field in schema["fields"]
        for name in (field["name"],)
    ]
    encoder: PartsEncoder = _names(
        schema, ["def _parts(before, event):", "    get = event.get", *_body(places)]
    )["_parts"]
    return encoder


def _names(schema: Any, more: list[str]) -> dict[str, Any]:
    """The functions of a schema's records by name, with those of some code more."""
    names = dict(NAMES)
    exec(
        "\n".join([*(line for record in records_of(schema).values() for line in _function(record)), *more]),
        names,
    )
    for record in map(function_name, records_of(schema)):
        names[f"kept{record}"] = kept(names[record])
    return names


def _function(schema: Any) -> list[str]:
    places = [(f"event.{field['name']}", field["type"]) for field in schema["fields"]]
    return [f"def {function_name(schema['name'])}(before, event):", *_body(places)]


def _body(places: list[tuple[str, Any]]) -> list[str]:
    """The bytes of all fields. Where a text is so long that the table has not its length, all over again."""
    quick, slow = (
        "".join(f"{_bytes(kind, value, 0, listed=listed)}, " for value, kind in places)
        for listed in (True, False)
    )
    return [
        "    try:",
        f"        return join((before, {quick}))",
        "    except IndexError:",
        f"        return join((before, {slow}))",
    ]


def _bytes(kind: Any, value: str, depth: int, *, listed: bool) -> str:
    """The expression of a value's bytes, of the schema's type `kind`; `listed` where its length may be looked up."""
    it = f"it{depth}"
    if isinstance(kind, list):
        index = kind.index("null")
        other = _bytes(kind[1 - index], it, depth + 1, listed=listed)
        return f"{_union(index)} if ({it} := {value}) is None else {_union(1 - index)} + ({other})"
    if isinstance(kind, dict) and kind["type"] == "array":
        item = _bytes(kind["items"], f"item{depth}", depth + 1, listed=listed)
        pieces = f"long(len({it})), *[{item} for item{depth} in {it}], b'\\0'"
        return f"join(({pieces})) if ({it} := {value}) else b'\\0'"
    if isinstance(kind, dict) and kind["type"] == "map":
        if kind["values"] == "string":
            return f"texts(tuple({it}.items())) if ({it} := {value}) else b'\\0'"
        key, item = (
            _bytes(one, f"{name}{depth}", depth + 1, listed=listed)
            for one, name in (("string", "key"), (kind["values"], "item"))
        )
        pairs = f"*[({key}) + ({item}) for key{depth}, item{depth} in {it}.items()]"
        return f"join((long(len({it})), {pairs}, b'\\0')) if ({it} := {value}) else b'\\0'"
    match kind["type"] if isinstance(kind, dict) else kind:
        case "string" if listed:
            return f"LONGS[len(data := {it}.encode())] + data if ({it} := {value}) else b'\\0'"
        case "string":
            return f"sized(({value}).encode())"
        case "bytes":
            # Two pieces, where they may be many bytes: they are not copied for their length.
            return f"sized({value})" if depth else f"long(len({it} := {value})), {it}"
        case "long" | "int":
            return f"LONGS[{it}] if 0 <= ({it} := {value}) < LISTED else varint({it})"
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
