"""HL7 times: precision from the year to a fraction of a second, offsets, zones and their changes of the clock."""

from datetime import datetime

import pytest

from dosestream.hl7.times import from_micros, to_date, to_micros, zone

TIMES = [
    # sentence, text, zone, ISO 8601 in UTC (None: no time)
    ("to the second, in UTC", "20260301120000", "UTC", "2026-03-01T12:00:00+00:00"),
    ("a local time in winter", "20260301120000", "Europe/Amsterdam", "2026-03-01T11:00:00+00:00"),
    ("a local time in summer", "20260701120000", "Europe/Amsterdam", "2026-07-01T10:00:00+00:00"),
    ("an offset wins over the zone", "20260701120000+0530", "Europe/Amsterdam", "2026-07-01T06:30:00+00:00"),
    ("a negative offset", "20260701120000-0500", "UTC", "2026-07-01T17:00:00+00:00"),
    ("a fraction", "20260701120000.1234", "UTC", "2026-07-01T12:00:00.123400+00:00"),
    ("a fraction with offset", "20260701120000.5+0100", "UTC", "2026-07-01T11:00:00.500000+00:00"),
    ("to the minute", "202607011234", "UTC", "2026-07-01T12:34:00+00:00"),
    ("to the hour", "2026070112", "UTC", "2026-07-01T12:00:00+00:00"),
    ("to the day", "20260701", "UTC", "2026-07-01T00:00:00+00:00"),
    ("to the month", "202607", "UTC", "2026-07-01T00:00:00+00:00"),
    ("to the year", "2026", "UTC", "2026-01-01T00:00:00+00:00"),
    (
        "the hour that happens twice is the first",
        "20261025023000",
        "Europe/Amsterdam",
        "2026-10-25T00:30:00+00:00",
    ),
    ("the hour that never happens", "20260329023000", "Europe/Amsterdam", "2026-03-29T01:30:00+00:00"),
    ("blanks around it", " 20260701 ", "UTC", "2026-07-01T00:00:00+00:00"),
    ("no day of that month", "20260231", "UTC", None),
    ("no hour 24", "20260701240000", "UTC", None),
    ("words", "yesterday", "UTC", None),
    ("an odd number of digits", "202607011", "UTC", None),
    ("dashes", "2026-07-01", "UTC", None),
    ("an offset that is none", "20260701120000+5", "UTC", None),
    ("digits of another script", "２０２６０７０１", "UTC", None),
    ("the year 0", "00000000", "UTC", None),
    ("nothing", "", "UTC", None),
]


@pytest.mark.parametrize(("text", "name", "expected"), [t[1:] for t in TIMES], ids=[t[0] for t in TIMES])
def test_time(text: str, name: str, expected: str | None) -> None:
    micros = to_micros(text, zone(name))
    assert micros == (None if expected is None else round(datetime.fromisoformat(expected).timestamp() * 1e6))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("19800101", "1980-01-01"),
        ("198001011230", "1980-01-01"),
        ("20000229", "2000-02-29"),
        ("19990229", ""),
        ("1980", ""),
        ("00000000", ""),
        ("UNKNOWN", ""),
        ("", ""),
    ],
)
def test_date_is_the_first_eight_digits_or_nothing(text: str, expected: str) -> None:
    assert to_date(text) == expected


def test_a_time_made_is_read_back_to_the_millisecond() -> None:
    micros = 1_782_907_200_123_000
    assert to_micros(from_micros(micros), zone("UTC")) == micros
