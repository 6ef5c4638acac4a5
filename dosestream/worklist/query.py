"""A worklist query read: an identifier (PS3.4 K.6.1.2) to keys with what they ask for."""

from dataclasses import dataclass
from datetime import date as calendar_day
from typing import Any, Final

from dosestream.worklist.keys import STEP, SUPPORTED, Key, Kind
from dosestream.worklist.matching import Combined, Condition, Matching, Range, Span, Text, Uids

DATE, TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
# Of the lengths that a TM may have (PS3.5 6.2): HH, HHMM, HHMMSS, and a fraction.
SECOND: Final = 6


class QueryError(Exception):
    """The identifier cannot be answered: `keyword` names the attribute, the text says what is wrong with it."""

    def __init__(self, keyword: str, reason: str) -> None:
        super().__init__(f"{keyword}: {reason}")
        self.keyword = keyword


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for.

    Attributes:
        conditions: all must hold.
        unsupported: keys with a value that are not matched here: each then matches everything.
    """

    conditions: tuple[Condition, ...]
    unsupported: tuple[str, ...]


def read(identifier: Any) -> Query:
    """The query that a data set makes.

    Raises:
        QueryError: a value is none of its kind, or a sequence has several items.
    """
    asked: dict[str, tuple[Key, list[str]]] = {}
    unsupported: list[str] = []
    _collect(identifier, (), asked, unsupported)
    conditions: list[Condition] = []
    day, hour = (asked.pop(f"{STEP}.{name}", None) for name in (DATE, TIME))
    for path, (key, values) in asked.items():
        if (matching := _matching(path, key.kind, values)) is not None:
            conditions.append(Condition(key.column, matching))
    if (start := _start(day[1][0] if day else "", hour[1][0] if hour else "")) is not None:
        conditions.append(Condition("scheduled_at", start))
    return Query(tuple(conditions), tuple(unsupported))


def _collect(
    data_set: Any, path: tuple[str, ...], asked: dict[str, tuple[Key, list[str]]], unsupported: list[str]
) -> None:
    for element in data_set:
        # Of a character set, a private or a group length element nothing is asked.
        if element.keyword in ("", "SpecificCharacterSet", "TimezoneOffsetFromUTC") or not element.value:
            continue
        here = (*path, element.keyword)
        if element.VR == "SQ":
            if len(element.value) > 1:
                raise QueryError(element.keyword, "one item is asked for, here are several")
            _collect(element.value[0], here, asked, unsupported)
            continue
        values = element.value if element.VM > 1 else [element.value]
        texts = [str(value).strip(" \0") for value in values]
        texts = [text for text in texts if text]
        if not texts:
            continue
        name = ".".join(here)
        if (key := SUPPORTED.get(name)) is None:
            unsupported.append(element.keyword)
        else:
            asked[name] = key, texts


def _matching(path: str, kind: Kind, values: list[str]) -> Matching | None:
    """How the values of one key match, None where they match everything."""
    keyword = path.rpartition(".")[2]
    if kind is Kind.DATE:
        return _range(keyword, values[0], date)
    if any(set(value) == {"*"} for value in values):
        return None
    if kind is Kind.UID:
        return Uids(tuple(values))
    return Text(tuple(values), name=kind is Kind.NAME, several=kind in (Kind.NAME, Kind.LIST))


def date(text: str) -> str:
    """A DA (also as written before version 3.0, with points) as YYYYMMDD. Raises ValueError."""
    plain = text.replace(".", "") if len(text) == len("YYYY.MM.DD") else text
    if len(plain) != 8 or not plain.isdecimal() or not plain.isascii():
        raise ValueError("is no date: YYYYMMDD, or a range of two with a hyphen between")
    # Ends of periods are the day after.
    if plain >= "9999":
        raise ValueError("is no day that anything is scheduled for")
    try:
        calendar_day.fromisoformat(plain)
    except ValueError:
        raise ValueError("is no day of the calendar") from None
    return plain


def time(text: str) -> str:
    """A TM as its digits up to its own precision: HH, HHMM, HHMMSS or with up to 6 more. Raises ValueError."""
    plain = text.replace(":", "").replace(".", "")
    if not (plain.isdecimal() and plain.isascii() and (len(plain) in (2, 4) or SECOND <= len(plain) <= 12)):
        raise ValueError("is no time: HHMMSS, or a range of two with a hyphen between")
    if not (plain[:2] <= "23" and plain[2:4] <= "59" and plain[4:6] <= "60"):
        raise ValueError("is no time of day")
    return plain


def _range(keyword: str, text: str, parse: Any) -> Range | None:
    """PS3.4 C.2.2.2.5: one value, `from-to`, `from-` or `-to`; None where it matches everything."""
    if set(text) <= {"*", "-"}:
        return None
    try:
        low, hyphen, high = (part.strip() for part in text.partition("-"))
        first = parse(low) if low else ""
        last = (parse(high) if high else "") if hyphen else first
    except ValueError as error:
        raise QueryError(keyword, str(error)) from error
    return Range(first, last, single=not hyphen)


def _start(day: str, hour: str) -> Matching | None:
    """PS3.4 table K.6-1: ranges of both date and time are one period, from the first day's time to the last
    day's; otherwise each matches for itself."""
    days, hours = _range(DATE, day, date), _range(TIME, hour, time)
    if days is None and hours is None:
        return None
    combined = days is not None and hours is not None and not days.single and not hours.single
    if combined:
        assert days is not None and hours is not None
        return Span(days, hours)
    return Combined(days, hours)
