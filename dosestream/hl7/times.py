"""HL7 times (TS, DTM, DT; HL7 v2.5.1 section 2.A.22): `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@lru_cache(maxsize=256)
def zone(name: str) -> tzinfo:
    """The zone of an IANA name.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: there is none of that name.
    """
    return UTC if name == "UTC" else ZoneInfo(name)


# A time of 25 characters says all there is; one message says the same time in several places.
TIME_CHARACTERS = 32


def to_micros(text: str, local: tzinfo) -> int | None:
    """Microseconds since 1970 UTC; None where the text is no time.

    A time without offset is in `local`: in the hour that happens twice the first one is meant, in the hour
    that does not happen the offset before it holds. What the precision leaves out is its start.
    """
    return _to_micros(text, local) if len(text) <= TIME_CHARACTERS else _to_micros.__wrapped__(text, local)


@lru_cache(maxsize=4096)
def _to_micros(text: str, local: tzinfo) -> int | None:
    digits, offset = text.strip(), None
    for sign in "+-":
        before, found, after = digits.partition(sign)
        if found:
            offset = _offset(sign, after)
            if offset is None:
                return None
            digits = before
            break
    digits, _, fraction = digits.partition(".")
    if not digits.isdecimal() or not digits.isascii() or len(digits) not in (4, 6, 8, 10, 12, 14):
        return None
    if fraction and not (fraction.isdecimal() and fraction.isascii() and len(digits) == 14):
        return None
    try:
        moment = datetime(
            int(digits[:4]),
            int(digits[4:6] or 1),
            int(digits[6:8] or 1),
            int(digits[8:10] or 0),
            int(digits[10:12] or 0),
            int(digits[12:14] or 0),
            int(fraction[:6].ljust(6, "0")) if fraction else 0,
            tzinfo=offset or local,
        )
        return (moment - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        return None


def to_date(text: str) -> str:
    """`YYYY-MM-DD` from the first eight digits; empty where they are no date."""
    digits = text.strip()[:8]
    if len(digits) < 8 or not digits.isdecimal() or not digits.isascii():
        return ""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        return ""


def from_micros(micros: int) -> str:
    """`YYYYMMDDHHMMSS.mmm+0000`."""
    moment = EPOCH + micros * MICROSECOND
    return f"{moment:%Y%m%d%H%M%S}.{moment.microsecond // 1000:03d}+0000"


def _offset(sign: str, text: str) -> timezone | None:
    if (
        len(text) != 4
        or not text.isdecimal()
        or not text.isascii()
        or int(text[:2]) > 14
        or int(text[2:]) > 59
    ):
        return None
    delta = timedelta(hours=int(text[:2]), minutes=int(text[2:]))
    return timezone(delta if sign == "+" else -delta)
