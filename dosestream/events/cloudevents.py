"""CloudEvents 1.0 attributes as Kafka headers (Kafka protocol binding, binary content mode). No patient data."""

from datetime import UTC, datetime
from functools import lru_cache

Headers = list[tuple[str, bytes]]


def headers(*, event_id: str, source: str, kind: str, at: int) -> Headers:
    """The headers of one record; `at` is microseconds since 1970 UTC, `kind` the topic's word for the event."""
    return [("ce_id", event_id.encode()), _time(at), *_constant(source, kind)]


# A process hears few sources and writes few kinds, and of a second there are many records.
@lru_cache(maxsize=1024)
def _constant(source: str, kind: str) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", f"urn:dosestream:{source}".encode()),
        ("ce_type", f"org.dosestream.{kind}.v1".encode()),
        ("content-type", b"application/avro"),
    )


# All records of a message say the same time.
@lru_cache(maxsize=256)
def _time(at: int) -> tuple[str, bytes]:
    second, micros = divmod(at, 1_000_000)
    return "ce_time", b"%b.%06d+00:00" % (_second(second), micros)


@lru_cache(maxsize=64)
def _second(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
