"""DICOM dates and times (PS3.5 table 6.2-1: DA, TM, DT, AS) to microseconds since 1970 UTC and to local text."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})$")
TIME = re.compile(r"(\d{2}):?(?:(\d{2}):?(?:(\d{2})(?:\.(\d{1,6})\d*)?)?)?$")
DATE_TIME = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6})\d*)?)?)?)?([+-]\d{4})?$"
)
OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})$")
AGE = re.compile(r"(\d{1,3})([DWMY])$")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
# AS units in years (PS3.5: days, weeks, months, years).
YEARS: Final = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone of times without offset: its name (IANA, or an offset such as +0100) and its rules."""

    name: str
    rules: tzinfo


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time.

    Attributes:
        at: microseconds since 1970 UTC.
        local: as written, YYYY-MM-DDTHH:MM:SS[.ffffff], without offset.
        zone: the zone or offset it was read with.
    """

    at: int
    local: str
    zone: str


def zone_of(offset_from_utc: str, timezone_name: str) -> Zone:
    """The zone of an instance: Timezone Offset From UTC (0008,0201) where it is valid, else the named one.

    Args:
        offset_from_utc: +HHMM or -HHMM, or empty.
        timezone_name: an IANA zone name.
    """
    if (rules := _offset(offset_from_utc)) is not None:
        return Zone(offset_from_utc, rules)
    return Zone(timezone_name, ZoneInfo(timezone_name))


def date_of(text: str) -> str:
    """A DA value as YYYY-MM-DD; empty where it is no date."""
    if match := DATE.match(text):
        try:
            return date(*map(int, match.groups())).isoformat()
        except ValueError:
            pass
    return ""


def from_date_and_time(date_text: str, time_text: str, zone: Zone) -> Moment | None:
    """A DA and a TM value together; None where one of them is empty or invalid."""
    day, time = DATE.match(date_text), TIME.match(time_text)
    if day is None or time is None:
        return None
    return _moment((*day.groups(), *time.groups()), zone)


def from_date_time(text: str, zone: Zone) -> Moment | None:
    """A DT value of at least a day; its own offset wins over the zone. None where it is empty or invalid."""
    match = DATE_TIME.match(text)
    if match is None:
        return None
    *parts, offset = match.groups()
    if offset is not None:
        rules = _offset(offset)
        if rules is None:
            return None
        zone = Zone(offset, rules)
    return _moment(tuple(parts), zone)


def age_years(text: str) -> float | None:
    """An AS value (nnnD, nnnW, nnnM, nnnY) in years; None where it is empty or invalid."""
    if match := AGE.match(text):
        return int(match[1]) * YEARS[match[2]]
    return None


def _moment(parts: tuple[str | None, ...], zone: Zone) -> Moment | None:
    year, month, day, hour, minute, second, fraction = parts
    try:
        local = datetime(
            int(year or 0),
            int(month or 0),
            int(day or 0),
            int(hour or 0),
            int(minute or 0),
            # TM allows 60 for a leap second, which no clock here has.
            min(int(second or 0), 59),
            int((fraction or "").ljust(6, "0")),
        )
        at = (local.replace(tzinfo=zone.rules) - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        return None
    return Moment(at, local.isoformat(), zone.name)


def _offset(text: str) -> tzinfo | None:
    if match := OFFSET.match(text):
        delta = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if delta < timedelta(hours=15):
            return timezone(-delta if match[1] == "-" else delta)
    return None
