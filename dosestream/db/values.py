"""Values as PostgreSQL takes them: JSON rows, times, dates; what it cannot hold becomes NULL, never an error."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any

import orjson

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(micros: int | None) -> str | None:
    """Microseconds since 1970 UTC as ISO 8601, None where there is none or it lies outside the years 1 to 9999."""
    if micros is None:
        return None
    try:
        return (EPOCH + timedelta(microseconds=micros)).isoformat()
    except OverflowError:
        return None


def iso_date(text: str | None) -> str | None:
    """A date as it is, None where it is none (30 February)."""
    if not text:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None


def iso_local(text: str | None) -> str | None:
    """A local date and time as it is, None where it is none."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None).isoformat()
    except ValueError:
        return None


def without_nul(rows: object) -> str:
    """JSON text without NUL characters, which PostgreSQL's text cannot hold."""
    return nul_free(rows)[0]


def nul_free(rows: object) -> tuple[str, bool]:
    """The same, and whether there were any."""
    encoded = orjson.dumps(rows)
    there_were = b"\\u0000" in encoded
    if there_were:
        encoded = orjson.dumps(stripped(rows))
    return encoded.decode(), there_were


def text_array(values: Iterable[str | None]) -> str:
    """Texts, or NULL, as the literal of a `text[]`: for plain texts it is JSON with braces, which is made much faster
    than psycopg dumps a list."""
    found = list(values)
    encoded = orjson.dumps(found)
    if b"\\" not in encoded:
        return "{" + encoded[1:-1].decode() + "}"
    quoted = (
        "NULL"
        if text is None
        else '"' + text.replace("\x00", "").replace("\\", "\\\\").replace('"', '\\"') + '"'
        for text in found
    )
    return "{" + ",".join(quoted) + "}"


def bigint_array(values: Iterable[int | None]) -> str:
    """Integers, or NULL, as the literal of a `bigint[]`."""
    return "{" + orjson.dumps(list(values))[1:-1].decode() + "}"


def bytea_array(values: Iterable[bytes | None]) -> str:
    """Bytes as the literal of a `bytea[]`."""
    return "{" + ",".join("NULL" if v is None else f'"\\\\x{v.hex()}"' for v in values) + "}"


@cache
def _fields_of(kind: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[object, ...]]]:
    names = tuple(kind.__dataclass_fields__)
    return names, attrgetter(*names)


def columns(row: object) -> dict[str, object]:
    """The fields of a dataclass of several fields by name; values are not copied, unlike `asdict`."""
    kind: Any = type(row)
    names, values = _fields_of(kind)
    return dict(zip(names, values(row), strict=True))


def stripped(value: Any) -> Any:
    """Plain data without NUL characters in its texts."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {stripped(k): stripped(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [stripped(v) for v in value]
    return value
