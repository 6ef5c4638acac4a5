"""The Avro schemas of `schemas/*.avsc`: read, fingerprinted, and made ready for the codec.

The files are the source; the dataclasses of `records.py` are generated from them.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

Json = Any

NAMES = (
    "raw",
    "patient",
    "order",
    "appointment",
    "report",
    "study",
    "decision",
    "clock",
    "rejection",
    "dose",
    "alert",
    "audit",
    "snapshot",
)


def folder() -> Path:
    """The folder of the schema files: beside the package in a checkout, inside it when installed."""
    inside = Path(__file__).parent.parent / "schemas"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "schemas"


def without_logical_types(schema: Json) -> Json:
    """The same schema with plain longs: times travel in the code as microseconds since 1970 UTC.

    The fingerprint does not change: the parsing canonical form leaves logical types out.
    """
    if isinstance(schema, dict):
        return {k: without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(item) for item in schema]
    return schema


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema: its text, its CRC-64-AVRO fingerprint (8 bytes, little endian) and its parsed form."""

    name: str
    text: str
    fingerprint: bytes
    parsed: Json


def from_text(name: str, text: str) -> Schema:
    """Parse a schema.

    Raises:
        fastavro.schema.SchemaParseException: the text is JSON but no Avro schema.
    """
    document = json.loads(text)
    crc = fingerprint(to_parsing_canonical_form(document), "CRC-64-AVRO")
    return Schema(
        name=name,
        text=text,
        # fastavro prints the fingerprint's bytes in the order the single-object encoding wants them.
        fingerprint=bytes.fromhex(crc),
        parsed=parse_schema(without_logical_types(document)),
    )


@cache
def load(name: str) -> Schema:
    """The schema in `schemas/<name>.avsc`."""
    return from_text(name, (folder() / f"{name}.avsc").read_text(encoding="utf-8"))


@cache
def by_fingerprint() -> dict[bytes, Schema]:
    """Every schema of this release by its fingerprint."""
    return {schema.fingerprint: schema for schema in map(load, NAMES)}
