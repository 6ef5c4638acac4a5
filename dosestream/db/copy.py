"""Rows as COPY takes them (PostgreSQL 18 manual, "COPY", text and binary format).

Text for rows of many columns, whose texts are made by the same functions as everywhere; binary for the narrow
tables of which there is a row for every event.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import orjson
from psycopg import Cursor

from dosestream.db.values import stripped, text_array

Row = tuple[object, ...]
NULL = "\\N"
# What the text format has escapes for; NUL is none of PostgreSQL's characters.
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": None})
# The binary format begins with a signature, flags and the length of what follows them, and ends with -1.
BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
NULL_FIELD = b"\xff\xff\xff\xff"
# Times are counted from 2000-01-01 UTC, in microseconds.
EPOCH_2000_US = 946_684_800_000_000


def escaped(text: str) -> str:
    """A text in the text format."""
    # Only what is not printable, and the backslash, have escapes.
    return text if text.isprintable() and "\\" not in text else text.translate(ESCAPES)


def _text(value: object) -> str:
    """A text, number or flag for a text column: as `jsonb_populate_recordset` would put it there."""
    return escaped(value if isinstance(value, str) else orjson.dumps(value).decode())


def _number(value: float) -> str:
    # JSON has no NaN and no infinity: as there they are absent.
    return repr(value) if isfinite(value) else NULL


def _flag(value: object) -> str:
    return "t" if value else "f"


def _json(value: object) -> str:
    encoded = orjson.dumps(value)
    if b"\\u0000" in encoded:
        encoded = orjson.dumps(stripped(value))
    return escaped(encoded.decode())


def _texts(value: Any) -> str:
    return escaped(text_array(value))


# By the name of a column's type, for values that are there; others are written as text.
KINDS: Mapping[str, Callable[[Any], str]] = {
    "int4": _number,
    "int8": _number,
    "float8": _number,
    "bool": _flag,
    "jsonb": _json,
    "_text": _texts,
}


class Columns(NamedTuple):
    """The columns of a table that are written, with what writes a value of each."""

    table: str
    names: tuple[str, ...]
    writers: tuple[Callable[[Any], str], ...]

    @property
    def statement(self) -> str:
        """What rows are sent to in the text format."""
        listed = ", ".join(f'"{name}"' for name in self.names)
        return f"COPY {self.table} ({listed}) FROM STDIN"

    def line(self, row: Mapping[str, object]) -> str:
        """A row in the text format, its end left out; a column it does not name is NULL."""
        get = row.get
        return "\t".join(
            [
                NULL if (value := get(name)) is None else write(value)
                for name, write in zip(self.names, self.writers, strict=True)
            ]
        )

    def lines(self, rows: Iterable[Mapping[str, object]]) -> bytes:
        """Rows in the text format."""
        return "".join([f"{self.line(row)}\n" for row in rows]).encode()


def text_columns(table: str, names: Sequence[str]) -> Columns:
    """Columns of a table whose values come as text, or absent."""
    return Columns(table, tuple(names), (_text,) * len(names))


def columns_of(cursor: Cursor[Row], schema: str, table: str) -> Columns:
    """The columns of a table that have no default: what has one says when a row was written."""
    cursor.execute(
        "SELECT attname, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND NOT atthasdef ORDER BY attnum",
        (f"{schema}.{table}",),
    )
    found = [(str(name), str(kind)) for name, kind in cursor.fetchall()]
    return Columns(table, tuple(n for n, _ in found), tuple(KINDS.get(kind, _text) for _, kind in found))


def send(cursor: Cursor[Row], statement: str, data: bytes | Sequence[bytes]) -> None:
    """Send rows to a COPY statement.

    Raises:
        psycopg.Error: the server refused; none of the rows is there.
    """
    with cursor.copy(statement.encode()) as copy:
        for part in [data] if isinstance(data, bytes) else data:
            copy.write(part)


def field(value: bytes | None) -> bytes:
    """A value of a text, bytea or other column in the binary format."""
    return NULL_FIELD if value is None else len(value).to_bytes(4, "big") + value


def text_field(value: str) -> bytes:
    """A text in the binary format."""
    encoded = value.encode()
    if b"\0" in encoded:
        encoded = encoded.replace(b"\0", b"")
    return len(encoded).to_bytes(4, "big") + encoded


_EIGHT = struct.Struct(">iq").pack
_FOUR = struct.Struct(">ii").pack


def bigint_field(value: int) -> bytes:
    """A bigint in the binary format."""
    return _EIGHT(8, value)


def integer_field(value: int) -> bytes:
    """An integer in the binary format."""
    return _FOUR(4, value)


def time_field(micros: int) -> bytes:
    """Microseconds since 1970 UTC as a timestamptz in the binary format."""
    return _EIGHT(8, micros - EPOCH_2000_US)


def jsonb_field(value: object) -> bytes:
    """A jsonb in the binary format."""
    encoded = orjson.dumps(value)
    if b"\\u0000" in encoded:
        encoded = orjson.dumps(stripped(value))
    return (len(encoded) + 1).to_bytes(4, "big") + b"\x01" + encoded
