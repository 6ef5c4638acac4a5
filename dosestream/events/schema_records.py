"""The records of an Avro schema and the names of the functions compiled for them: what encoders and decoders share."""

import re
from typing import Any


def records_of(schema: Any) -> dict[str, Any]:
    """The record definitions of a schema (its JSON document) by their full names, the innermost first: each
    stands before its use."""
    found: dict[str, Any] = {}
    _collect(schema, found)
    return found


def short_name(record: str) -> str:
    """A record's name without its namespace."""
    return record.rsplit(".", 1)[-1]


def function_name(record: str) -> str:
    """The name of the function compiled for a record."""
    return "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", short_name(record)).lower()


def _collect(schema: Any, found: dict[str, Any]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, found)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            for field in schema["fields"]:
                _collect(field["type"], found)
            found[schema["name"]] = schema
        elif schema["type"] in ("array", "map"):
            _collect(schema.get("items") or schema.get("values"), found)
