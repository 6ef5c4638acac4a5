"""How one key matches (PS3.4 C.2.2.2): in SQL for the database, and in plain Python for what is read.

Every matching says both; a test holds them against each other.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from dosestream.worklist.names import folded

Parameters = list[object]
END_OF_DAY = "235959999999"


class Matching(Protocol):
    """Whether a stored value is one that is asked for; an absent value never is."""

    def sql(self, column: str, zone: str, parameters: Parameters) -> str:
        """A condition on the column, its parameters appended; `zone` is the site's, IANA name."""

    def holds(self, value: object, zone: str) -> bool:
        """The same for a value of the column as Python has it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A column and what it must match."""

    column: str
    matching: Matching


@dataclass(frozen=True, slots=True)
class Text:
    """Single values and wildcards (PS3.4 C.2.2.2.1, C.2.2.2.4): `*` any text, `?` one character; one of
    `patterns` must match. `several`: the column is a list, of which one value must."""

    patterns: tuple[str, ...]
    name: bool = False
    several: bool = False

    def _wanted(self) -> list[str]:
        wanted = [folded(p) if self.name else p for p in self.patterns]
        # DOE^* is also who has no given name.
        return wanted + [p[:-2] for p in wanted if self.name and p.endswith("^*")]

    def sql(self, column: str, zone: str, parameters: Parameters) -> str:
        """Equality where an index may serve, else LIKE."""
        wanted = self._wanted()
        plain = not any(set(pattern) & {"*", "?"} for pattern in wanted)
        parameters.append(wanted if plain else [_like(pattern) for pattern in wanted])
        if self.several:
            if plain:
                return f"{column} && %s::text[]"
            # Most lists hold one value, and looking into one costs a query of its own.
            parameters.append(parameters[-1])
            more = f"EXISTS (SELECT FROM unnest({column}) v WHERE v LIKE ANY(%s::text[]))"
            return f"{column}[1] LIKE ANY(%s::text[]) OR (cardinality({column}) > 1 AND {more})"
        return f"{column} = ANY(%s::text[])" if plain else f"{column} LIKE ANY(%s::text[])"

    def holds(self, value: object, zone: str) -> bool:
        """The whole value must match one of the patterns."""
        values = value if isinstance(value, list) else [value]
        patterns = [re.compile(_expression(p), re.DOTALL) for p in self._wanted()]
        return any(p.fullmatch(v) for p in patterns for v in values if isinstance(v, str))


@dataclass(frozen=True, slots=True)
class Uids:
    """List of UID matching (PS3.4 C.2.2.2.2)."""

    uids: tuple[str, ...]

    def sql(self, column: str, zone: str, parameters: Parameters) -> str:
        """One of the list."""
        parameters.append(list(self.uids))
        return f"{column} = ANY(%s::text[])"

    def holds(self, value: object, zone: str) -> bool:
        """One of the list."""
        return value in self.uids


@dataclass(frozen=True, slots=True)
class Range:
    """Range matching (PS3.4 C.2.2.2.5) of digits as text, ends included, an empty end being open.

    An end of a lower precision stands for all of it: 10 is from 10:00:00 to 10:59:59.
    """

    first: str
    last: str
    single: bool = False

    def sql(self, column: str, zone: str, parameters: Parameters) -> str:
        """Of a column of days."""
        return self.digits(f"to_char({column}, 'YYYYMMDD')", parameters)

    def digits(self, expression: str, parameters: Parameters) -> str:
        """Of an expression that gives digits."""
        parts = []
        for end, comparison, fill in ((self.first, ">=", "0"), (self.last, "<=", "9")):
            if end:
                parameters.append(end.ljust(12, fill))
                parts.append(f"rpad({expression}, 12, '{fill}') {comparison} %s::text COLLATE \"C\"")
        return " AND ".join(parts)

    def holds(self, value: object, zone: str) -> bool:
        """Of a day."""
        return isinstance(value, date) and self.covers(value.strftime("%Y%m%d"))

    def covers(self, digits: str) -> bool:
        """Of digits."""
        low = not self.first or digits.ljust(12, "0") >= self.first.ljust(12, "0")
        return low and (not self.last or digits.ljust(12, "9") <= self.last.ljust(12, "9"))


@dataclass(frozen=True, slots=True)
class Combined:
    """Date and time of the start, each matched for itself, as the site's clocks show them."""

    days: Range | None
    hours: Range | None

    def sql(self, column: str, zone: str, parameters: Parameters) -> str:
        """Days as a period, so that an index serves; the time of day on what is left."""
        parts = []
        if self.days is not None:
            parts.append(_period(column, zone, self.days, None, parameters))
        if self.hours is not None:
            local = f"to_char({column} AT TIME ZONE %s, 'HH24MISSUS')"
            for end in (Range(self.hours.first, ""), Range("", self.hours.last)):
                if end.first or end.last:
                    parameters.append(zone)
                    parts.append(end.digits(local, parameters))
        return " AND ".join(parts)

    def holds(self, value: object, zone: str) -> bool:
        """Both must hold."""
        if not isinstance(value, datetime):
            return False
        local = value.astimezone(ZoneInfo(zone))
        day = self.days is None or self.days.covers(local.strftime("%Y%m%d"))
        return day and (self.hours is None or self.hours.covers(local.strftime("%H%M%S%f")))


@dataclass(frozen=True, slots=True)
class Span:
    """One period from a time of the first day to a time of the last (PS3.4 table K.6-1)."""

    days: Range
    hours: Range

    def sql(self, column: str, zone: str, parameters: Parameters) -> str:
        """A period of the column."""
        return _period(column, zone, self.days, self.hours, parameters)

    def holds(self, value: object, zone: str) -> bool:
        """Within the period."""
        if not isinstance(value, datetime):
            return False
        local = value.astimezone(ZoneInfo(zone)).strftime("%Y%m%d%H%M%S%f")
        low = self.days.first and self.days.first + self.hours.first.ljust(12, "0")
        high = self.days.last and self.days.last + (self.hours.last or END_OF_DAY).ljust(12, "9")
        return (not low or local >= low) and (not high or local <= high)


def _period(column: str, zone: str, days: Range, hours: Range | None, parameters: Parameters) -> str:
    """Local times compared as instants: the zone is applied to the ends, not to the column."""
    parts = []
    if days.first:
        parameters += [_iso(days.first, hours.first if hours else ""), zone]
        parts.append(f"{column} >= %s::timestamp AT TIME ZONE %s")
    if days.last:
        if hours is not None and hours.last:
            parameters += [_iso(days.last, hours.last.ljust(12, "9")), zone]
            parts.append(f"{column} <= %s::timestamp AT TIME ZONE %s")
        else:
            parameters += [_iso(days.last, "", days=1), zone]
            parts.append(f"{column} < %s::timestamp AT TIME ZONE %s")
    return " AND ".join(parts) or "true"


def _iso(day: str, digits: str, days: int = 0) -> str:
    """Digits as ISO 8601."""
    padded = digits.ljust(12, "0")
    # What 9s filled up beyond a minute or a second means its end.
    minute, second = min(int(padded[2:4]), 59), min(int(padded[4:6]), 59)
    start = datetime.strptime(day, "%Y%m%d") + timedelta(days=days)
    return start.replace(
        hour=int(padded[:2]), minute=minute, second=second, microsecond=int(padded[6:])
    ).isoformat()


def _like(pattern: str) -> str:
    table = {"*": "%", "?": "_", "%": "\\%", "_": "\\_", "\\": "\\\\"}
    return "".join(table.get(char, char) for char in pattern)


def _expression(pattern: str) -> str:
    table = {"*": ".*", "?": "."}
    return "".join(table.get(char) or re.escape(char) for char in pattern)
