"""What a value of a setting must be beyond its type, as tables by the setting's key."""

from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dosestream.hl7 import profile, zsegments
from dosestream.hl7.charset import CODECS, Reading, reading
from dosestream.hl7.path import Path as FieldPath
from dosestream.hl7.path import PathError
from dosestream.hl7.profile import ProfileSettings
from dosestream.hl7.zsegments import ZContract
from dosestream.kafka.topics import Topic
from dosestream.knowledge import reference_levels, thresholds
from dosestream.knowledge.quantities import QUANTITIES
from dosestream.knowledge.reference_levels import ReferenceLevelSettings
from dosestream.knowledge.thresholds import AlertSettings
from dosestream.settings.mapping import (
    CodeMapSettings,
    RuleSettings,
    code_map_mistakes,
    rule_mistakes,
    unknown_sources,
)
from dosestream.settings.metrics import MetricsSettings, metrics_mistakes
from dosestream.settings.sections import (
    DicomTlsSettings,
    KafkaSettings,
    RetentionSettings,
    Settings,
    TlsSettings,
    TopicSettings,
)

CHOICES: dict[str, tuple[str, ...]] = {
    "on_violation": ("flag", "reject"),
    "on_reject": ("AE", "AA", ""),
    "leading_zeros": ("keep", "ignore"),
    "case": ("keep", "ignore"),
    "mapping.rule.case": ("upper", "lower", ""),
    "unmapped": ("keep", "blank"),
    "merged_away": ("follow", "own"),
    "reference_level.quantity": tuple(QUANTITIES),
    "kafka.security_protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "kafka.sasl_mechanism": ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"),
    "compression": ("", "producer", "uncompressed", "zstd", "lz4", "snappy", "gzip"),
    "kafka.topic.name": tuple(str(name) for name in Topic),
    "keep_from_status": ("", "SCHEDULED", "ARRIVED", "STARTED", "COMPLETED"),
}


def _port(value: object) -> str | None:
    return None if isinstance(value, int) and 0 <= value <= 65535 else "is no port: 0 to 65535, 0 for any"


def _workers(value: object) -> str | None:
    return None if isinstance(value, int) and 1 <= value <= 64 else "is no number of processes: 1 to 64"


def _size_mib(value: object) -> str | None:
    return None if isinstance(value, int) and value >= 4 else "is too small: 4 MiB at least"


def _zone(value: object) -> str | None:
    return None if not value or _is_zone(str(value)) else "is no IANA time zone (such as Europe/Amsterdam)"


def _charset(value: object) -> str | None:
    if not value or isinstance(reading(str(value)), Reading):
        return None
    return f"is no character set that is read; these are: {', '.join(sorted(CODECS))}"


def _path(value: object) -> str | None:
    try:
        FieldPath.parse(str(value))
    except PathError as error:
        return str(error).removeprefix(f"{value!r} ")
    return None


def _status(value: object) -> str | None:
    return None if value in STATUSES else f"is no status; these are: {', '.join(STATUSES)}"


def _sample(value: object) -> str | None:
    number = str(value).removeprefix("1/")
    good = not value or (str(value).startswith("1/") and number.isdecimal() and int(number) > 0)
    return None if good else "is no share: write 1/1000, or leave it empty for none"


def _share(value: object) -> str | None:
    return None if isinstance(value, float) and 0 < value <= 1 else "is no share: above 0, at most 1"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


STATUSES = ("SCHEDULED", "ARRIVED", "STARTED", "COMPLETED", "CANCELED", "DISCONTINUED", "ON_HOLD")


def _days(value: object) -> str | None:
    return (
        None if isinstance(value, int) and 0 <= value <= 36500 else "is no number of days: 0 keeps for ever"
    )


def _hour(value: object) -> str | None:
    return None if isinstance(value, int) and 0 <= value <= 23 else "is no hour of the day: 0 to 23"


def _retention_mistakes(kept: RetentionSettings) -> list[tuple[tuple[str, ...], str]]:
    if kept.unsettled_days and not kept.facts_days <= kept.unsettled_days:
        return [
            (("unsettled_days",), "'unsettled_days' is shorter than 'facts_days': it is the longer limit")
        ]
    return []


def _release(value: object) -> str | None:
    return None if value in (1, 2) else "is no release of MLLP: 1 or 2"


def _network(value: object) -> str | None:
    try:
        ip_network(str(value), strict=False)
    except ValueError:
        return "is no network: write an address, or one with its mask such as 10.1.2.0/24"
    return None


def _address(value: object) -> str | None:
    host, colon, port = str(value).rpartition(":")
    good = not value or (host and colon and port.isdecimal() and int(port) <= 65535)
    return None if good else "is no address: write HOST:PORT"


# Files of TLS that mean nothing without another; of DICOM the key may lie in the file of the certificate.
FILES = (("key", "certificate"), ("client_ca", "certificate"))


def _tls_mistakes(tls: TlsSettings) -> list[tuple[tuple[str, ...], str]]:
    needs = [*FILES, ("certificate", "key"), ("require_client_certificate", "client_ca")]
    return _without(tls, needs)


def _without(tls: object, needs: Iterable[tuple[str, str]]) -> list[tuple[tuple[str, ...], str]]:
    """The settings that are there without those they need."""
    return [
        ((key,), f"{key!r} needs {other!r}")
        for key, other in needs
        if getattr(tls, key) and not getattr(tls, other)
    ]


# What a value must be beyond its type: by its key, or for a list or table by the key of the whole.
CHECKS: dict[str, Callable[[object], str | None]] = {
    "port": _port,
    "service": _port,
    "workers": _workers,
    "release": _release,
    "size_mib": _size_mib,
    "timezone": _zone,
    "charset": _charset,
    "accession_fallback": _path,
    "order_status": _status,
    "sample": _sample,
    "rejected_share": _share,
    "allow": _network,
    "peers": _network,
    "commitment": _address,
    **dict.fromkeys(
        (
            "facts_days",
            "unsettled_days",
            "message_index_days",
            "report_text_days",
            "quarantine_days",
            "rejected_days",
            "audit_days",
        ),
        _days,
    ),
    "hour": _hour,
}


def _kafka_mistakes(kafka: KafkaSettings) -> list[tuple[tuple[str, ...], str]]:
    """What does not go together; user and password may come from the environment, so their lack is told later."""
    found: list[tuple[tuple[str, ...], str]] = []
    if kafka.replication < 1:
        found.append((("replication",), "'replication' is too small: 1 at least"))
    elif not 0 <= kafka.min_insync_replicas <= kafka.replication:
        found.append(
            (
                ("min_insync_replicas",),
                "more replicas than 'replication' can never be in sync: make it smaller",
            )
        )
    if kafka.key and not kafka.certificate:
        found.append((("key",), "'key' needs 'certificate'"))
    names = [one.name for one in kafka.topic]
    found += [
        (("topic", str(n)), f"{name!r} is named twice") for n, name in enumerate(names) if name in names[:n]
    ]
    return found


def _topic_mistakes(topic: TopicSettings) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str]] = []
    if not topic.name:
        found.append((("name",), "a topic needs its 'name'"))
    if topic.partitions < 0:
        found.append((("partitions",), "'partitions' is too small: 1 at least"))
    if topic.retention_days < -1:
        found.append((("retention_days",), "'retention_days' is no number of days: 0 keeps for ever"))
    if topic.retention_days >= 0 and (key := BY_CLEANUP.get(topic.name)):
        found.append((("retention_days",), f"this topic is kept for retention.{key}: set that"))
    return found


# Topics whose limit the cleanup keeps, and its key.
BY_CLEANUP = {str(Topic.REJECTED): "rejected_days", str(Topic.AUDIT): "audit_days"}

# What a table must be as a whole: by its class, the keys of the mistake and a sentence.
WHOLE: dict[type, Callable[[Any], list[tuple[tuple[str, ...], str]]]] = {
    CodeMapSettings: code_map_mistakes,
    KafkaSettings: _kafka_mistakes,
    TopicSettings: _topic_mistakes,
    ProfileSettings: profile.mistakes,
    RetentionSettings: _retention_mistakes,
    MetricsSettings: metrics_mistakes,
    RuleSettings: rule_mistakes,
    TlsSettings: _tls_mistakes,
    AlertSettings: thresholds.mistakes,
    ReferenceLevelSettings: reference_levels.mistakes,
    DicomTlsSettings: lambda tls: _without(tls, FILES),
    Settings: lambda settings: unknown_sources(settings.mapping, {one.name for one in settings.source}),
    ZContract: zsegments.mistakes,
}
