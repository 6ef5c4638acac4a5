"""The site's own Python file: a function per event, for what the tables cannot say. Pure: its text is given.

    def order(fields, message):
        # fields: the event's fields by name, as `[[mapping.rule]]` names them; message: what was sent
        if message("MSH-4") == "NORTH":
            return {"station_name": message("ZRM-2")}
        return None  # nothing changes

A function is called with a copy of the fields and returns those it changes. An exception rejects the event
(`site_mapping`, with the file's line); what it says is not told on, since it may hold patient data.
"""

import hashlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from dosestream.events.records import Identifier
from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.hl7.expression import Expression, parse
from dosestream.hl7.path import said
from dosestream.hl7.reader import Group
from dosestream.hl7.times import EPOCH, MICROSECOND
from dosestream.mapping.fields import FIELDS, Kind

Function = Callable[[dict[str, Any], "SiteMessage"], Any]


class SiteCodeError(Exception):
    """The file cannot be used.

    Attributes:
        line: where; 1 where it cannot be told.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class SiteCode:
    """The site's file as it was loaded."""

    name: str
    text: str = field(repr=False)

    @property
    def digest(self) -> str:
        """The first 12 hex digits of the SHA-256 of its text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class SiteMessage:
    """What a site's function sees of the message: the group of segments the event is made from.

    Attributes:
        source: the sender's configured name.
        message_type: such as ORM^O01.
    """

    source: str
    message_type: str
    _group: Group

    def __call__(self, path: str) -> str:
        """The value at a path (or join), escapes resolved; empty where there is none.

        Raises:
            PathError: it is no path.
        """
        return said(self.values(path))

    def values(self, path: str) -> list[str]:
        """All values at a path, such as `AIS[*]-3.1`.

        Raises:
            PathError: it is no path.
        """
        return _expression(path).values(self._group)

    def segments(self, name: str) -> list[str]:
        """The segments of that name as sent."""
        return [segment.line for segment in self._group.all(name)]


@lru_cache(maxsize=4)
def load(code: SiteCode) -> Mapping[str, Function]:
    """Event to the site's function for it.

    Raises:
        SiteCodeError: the file is no Python, fails when it is loaded, or has no function for any event.
    """
    namespace: dict[str, Any] = {"__name__": "site_mapping", "__file__": code.name}
    try:
        exec(compile(code.text, code.name, "exec"), namespace)
    except SyntaxError as error:
        raise SiteCodeError(error.lineno or 1, f"is no Python: {error.msg}") from error
    except (Exception, SystemExit) as error:
        line = _line(error, code.name)
        raise SiteCodeError(line, f"cannot be loaded: {type(error).__name__}: {error}") from error
    found = {event: namespace[event] for event in FIELDS if callable(namespace.get(event))}
    if not found:
        raise SiteCodeError(1, f"defines no function; it may define {', '.join(FIELDS)}")
    return found


def call(
    code: SiteCode, event: str, function: Function, fields: dict[str, Any], message: SiteMessage
) -> dict[str, Any] | Refusal:
    """The fields the site's function changes, in the form events have; or why it could not be used.

    `fields` are in the form of events: times in microseconds since 1970 UTC, identifiers as a tuple.
    """
    told = {name: _outward(fields.get(name), kind) for name, kind in FIELDS[event].items()}
    try:
        changed = function(_own(told, event), message)
    except (Exception, SystemExit) as error:
        reason = f"The site's function {event} failed with {type(error).__name__}."
        return _refusal(code, _line(error, code.name), reason)
    if changed is None:
        return {}
    if not isinstance(changed, dict):
        return _unusable(code, event, function, "no dict and not None")
    out: dict[str, Any] = {}
    for name, value in changed.items():
        kind = FIELDS[event].get(name)
        if kind is None:
            return _unusable(code, event, function, f"{name!r}, which is no field that can be mapped")
        if value == told[name]:
            continue
        try:
            out[name] = _inward(value, kind)
        except (TypeError, ValueError, KeyError):
            return _unusable(code, event, function, f"a {type(value).__name__} as {name}: {WANTED[kind]}")
    return out


def _own(told: dict[str, Any], event: str) -> dict[str, Any]:
    """What the function may change at will: what it was told stays to be compared with."""
    lists = {name: [dict(one) for one in told[name]] for name in _LISTS[event]}
    return {**told, **lists}


_LISTS = {
    event: [name for name, kind in table.items() if kind is Kind.IDENTIFIERS]
    for event, table in FIELDS.items()
}

WANTED = {
    Kind.TEXT: "text is wanted",
    Kind.TIME: "a datetime with zone, or None, is wanted",
    Kind.IDENTIFIERS: "a list of dicts with value, authority and type_code is wanted",
}


def _outward(value: Any, kind: Kind) -> Any:
    if kind is Kind.TEXT:
        return value or ""
    if kind is Kind.TIME:
        return None if value is None else EPOCH + value * MICROSECOND
    return [one.to_datum() for one in value or ()]


def _inward(value: Any, kind: Kind) -> Any:
    """A value of the site's function as events have it.

    Raises:
        TypeError, ValueError, KeyError: it is of another kind.
    """
    if kind is Kind.TEXT:
        if not isinstance(value, str):
            raise TypeError
        return value
    if kind is Kind.IDENTIFIERS:
        texts = [(one["value"], one.get("authority", ""), one.get("type_code", "")) for one in value]
        if not all(isinstance(text, str) for one in texts for text in one):
            raise TypeError
        return tuple(Identifier(value=v, authority=a, type_code=t) for v, a, t in texts)
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError
    return (value.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


def _unusable(code: SiteCode, event: str, function: Function, what: str) -> Refusal:
    line = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
    return _refusal(code, line, f"The site's function {event} returned {what}.")


def _refusal(code: SiteCode, line: int, reason: str) -> Refusal:
    return Refusal("site_mapping", 207, reason, f"{code.name}:{line}", Severity.ERROR)


def _line(error: BaseException, name: str) -> int:
    """The innermost line of the site's file in an exception's trail."""
    trail = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(trail) if frame.filename == name), 1)


@lru_cache(maxsize=1024)
def _expression(text: str) -> Expression:
    return parse(text)
