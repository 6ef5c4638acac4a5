"""What a value of a setting must be beyond its type, as tables by the setting's key."""

from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dosestream.hl7.charset import CODECS
from dosestream.hl7.path import Path as FieldPath
from dosestream.hl7.path import PathError

CHOICES: dict[str, tuple[str, ...]] = {
    "on_reject": ("AE", "AA", ""),
    "leading_zeros": ("keep", "ignore"),
    "case": ("keep", "ignore"),
    "merged_away": ("follow", "own"),
    "keep_from_status": ("", "SCHEDULED", "ARRIVED", "STARTED", "COMPLETED"),
}


def _port(value: object) -> str | None:
    return None if isinstance(value, int) and 0 <= value <= 65535 else "is no port: 0 to 65535, 0 for any"


def _zone(value: object) -> str | None:
    return None if not value or _is_zone(str(value)) else "is no IANA time zone (such as Europe/Amsterdam)"


def _charset(value: object) -> str | None:
    if not value or str(value).upper() in CODECS:
        return None
    return f"is no character set that is read; these are: {', '.join(sorted(CODECS))}"


def _path(value: object) -> str | None:
    try:
        FieldPath.parse(str(value))
    except PathError:
        return "is no path: write SEG-F.C, such as OBR-3.1 or PID-3[4.1=HOSP].1"
    return None


def _status(value: object) -> str | None:
    return None if value in STATUSES else f"is no status; these are: {', '.join(STATUSES)}"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


STATUSES = ("SCHEDULED", "ARRIVED", "STARTED", "COMPLETED", "CANCELED", "DISCONTINUED", "ON_HOLD")

# What a value must be beyond its type: by its key, or for a list or table by the key of the whole.
CHECKS: dict[str, Callable[[object], str | None]] = {
    "port": _port,
    "timezone": _zone,
    "charset": _charset,
    "accession_fallback": _path,
    "order_status": _status,
}
