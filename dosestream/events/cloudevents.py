"""CloudEvents 1.0 attributes as Kafka headers (Kafka protocol binding, binary content mode). No patient data."""

from datetime import UTC, datetime

Headers = list[tuple[str, bytes]]


def headers(*, event_id: str, source: str, kind: str, at: int) -> Headers:
    """The headers of one record; `at` is microseconds since 1970 UTC, `kind` the topic's word for the event."""
    time = datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="microseconds")
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", f"urn:dosestream:{source}".encode()),
        ("ce_type", f"org.dosestream.{kind}.v1".encode()),
        ("ce_time", time.encode()),
        ("content-type", b"application/avro"),
    ]
