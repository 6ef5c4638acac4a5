"""Values as PostgreSQL takes them: JSON rows, times, dates; what it cannot hold becomes NULL, never an error."""

from datetime import UTC, date, datetime, timedelta

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
    encoded = orjson.dumps(rows)
    if b"\\u0000" in encoded:
        encoded = orjson.dumps(_strip(rows))
    return encoded.decode()


def _strip(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {_strip(k): _strip(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strip(v) for v in value]
    return value
