"""A record for a person and for a script: what it says, its key and headers, in words. Pure."""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from dosestream.events.schema_records import records_of, short_name
from dosestream.events.schemas import load

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Longer texts are cut where a person reads; a script gets them whole.
WIDTH = 200


def readable(name: str, datum: Any) -> Any:
    """A datum of the schema with that name as JSON has it: times as ISO 8601 in UTC, bytes as text where they are
    UTF-8 without NUL, else as `{"base64": ...}`."""
    return _readable(*_schema(name), datum)


def lines(value: Any, indent: str = "  ") -> list[str]:
    """What a readable value says, a line each; what it leaves empty is left out."""
    found: list[str] = []
    for name, said in value.items() if isinstance(value, dict) else enumerate(value):
        if said in (None, "", [], {}):
            continue
        if isinstance(said, dict) and set(said) == {"base64"}:
            found.append(f"{indent}{name}: {len(base64.b64decode(said['base64']))} bytes")
        elif isinstance(said, dict | list):
            found += [f"{indent}{name}:", *lines(said, indent + "  ")]
        elif isinstance(said, str) and ("\r" in said or "\n" in said):
            # An HL7 message: a segment is a line.
            found += [f"{indent}{name}:", *(f"{indent}  {_cut(part)}" for part in said.splitlines())]
        else:
            found.append(f"{indent}{name}: {_cut(said if isinstance(said, str) else json.dumps(said))}")
    return found


def at(micros: int) -> str:
    """Microseconds since 1970 UTC as ISO 8601."""
    return (EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


@cache
def _schema(name: str) -> tuple[Any, dict[str, Any]]:
    """The schema with that name, and the records it defines by their short names."""
    schema = json.loads(load(name).text)
    return schema, {short_name(record): defined for record, defined in records_of(schema).items()}


def _readable(schema: Any, known: dict[str, Any], datum: Any) -> Any:
    if isinstance(schema, list):
        schema = next(branch for branch in schema if branch != "null") if datum is not None else "null"
    if isinstance(schema, str):
        schema = known.get(short_name(schema), {"type": schema})
    match schema["type"]:
        case "record":
            return {f["name"]: _readable(f["type"], known, datum[f["name"]]) for f in schema["fields"]}
        case "array":
            return [_readable(schema["items"], known, item) for item in datum]
        case "map":
            return {key: _readable(schema["values"], known, item) for key, item in datum.items()}
        case "bytes":
            return _bytes(datum)
        case "long" if schema.get("logicalType") == "timestamp-micros":
            try:
                return at(datum)
            except OverflowError:
                return datum
    return datum


def _bytes(value: bytes) -> Any:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    return {"base64": base64.b64encode(value).decode()} if "\0" in text else text


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
