"""One `[[mapping.rule]]`, compiled: what it reads from a group of segments, and what it makes of it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, Protocol

from dosestream.events.records import Identifier
from dosestream.hl7.expression import Expression
from dosestream.hl7.path import CLEARED, WHOLE, Path, said
from dosestream.hl7.reader import Group
from dosestream.hl7.times import EPOCH, MICROSECOND, to_date, to_micros
from dosestream.mapping import names, values
from dosestream.mapping.defaults import OF_REPETITIONS, Reader
from dosestream.mapping.fields import COMPANIONS, Kind, kind_of
from dosestream.mapping.place import DEFAULT, columns

# Readers of a whole field; a component of it is plain text.
_WHOLE = frozenset(
    {
        *(values.person, values.practitioner, values.named_practitioner),
        *(values.issuer, values.authority, values.as_sent),
    }
)


class Options(Protocol):
    """What a rule says of the values it reads (`settings.RuleSettings`)."""

    @property
    def field(self) -> str: ...
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def join(self) -> str: ...
    @property
    def trim(self) -> bool: ...
    @property
    def strip_left(self) -> str: ...
    @property
    def case(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def names(self) -> str: ...
    @property
    def constant(self) -> str: ...
    @property
    def authority(self) -> str: ...


class Found(NamedTuple):
    """A value and the path that gave it. Text, microseconds since 1970 UTC, identifiers; or cleared."""

    value: Any
    path: str


# The values of a column in a group, and the zone of times without offset, to what is found; None where nothing.
Read = Callable[[Group, tzinfo], Found | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """Fields that are read together, and for every place a column per field; an empty place is the default.

    Attributes:
        dropped: what belongs to these fields and is not read with them.
    """

    fields: tuple[str, ...]
    places: tuple[tuple[Read, ...], ...]
    dropped: tuple[str, ...]

    def read(self, group: Group, local: tzinfo, has_default: bool) -> dict[str, Found] | None:
        """What the first place that says anything gives; None where the default holds.

        `has_default` is whether the fields have a value without the rule.
        """
        for place in self.places:
            if not place:
                if has_default:
                    return None
                continue
            found = {
                name: value
                for name, read in zip(self.fields, place, strict=True)
                if (value := read(group, local)) is not None
            }
            if found:
                return found
        return {}


def compile_rule(options: Options, readers: Mapping[str, Reader]) -> Rule:
    """The rule of a table of the configuration that has been checked; `readers` are the defaults by field."""
    fields = tuple(options.field.split())
    places: list[tuple[Read, ...]] = []
    for place in options.paths:
        if place == DEFAULT:
            places.append(())
            continue
        pairs = zip(fields, columns(place, len(fields)), strict=True)
        places.append(tuple(_column(name, one, options, readers) for name, one in pairs))
    if options.constant:
        found = Found(options.constant, "constant")
        places.append((lambda group, local: found,))
    dropped = tuple(name for one in fields for name in COMPANIONS.get(one, ()) if name not in fields)
    return Rule(fields, tuple(places), dropped)


def _column(field: str, expression: Expression, options: Options, readers: Mapping[str, Reader]) -> Read:
    kind = kind_of(field)
    if kind is Kind.IDENTIFIERS:
        return _identifiers(expression, options.authority)
    convert = _text(expression, options, readers.get(field, values.first))
    if kind is Kind.TIME:
        return _time(expression, convert, options.format)
    if options.format:
        return _date(expression, convert, options.format)
    text = expression.text

    def read(group: Group, local: tzinfo) -> Found | None:
        value = convert(group)
        return Found(value, text) if value else None

    return read


def _text(expression: Expression, options: Options, reader: Reader) -> Callable[[Group], str]:
    """The value of an expression in a group as text: empty where there is none, `""` where it is cleared."""
    finish = _finish(options)
    if not isinstance(expression, Path):
        return lambda group: finish(said(expression.values(group)))
    path = expression
    if reader in OF_REPETITIONS and path.plain and not (path.component or path.where or options.names):
        # The repetitions of a name may be its ideographic and phonetic groups.
        path = replace(path, repetition=WHOLE if path.repetition == 1 else path.repetition)
    convert = _conversion(path, options, reader)
    if options.join:
        return lambda group: finish(_joined(path, group, convert, options.join))

    def first_said(group: Group) -> str:
        if path.plain:
            segment = group.first(path.segment)
            if segment is None or not (value := path.read(segment)):
                return ""
            return finish(value if value == CLEARED else convert(value, segment.delimiters))
        return finish(
            said(
                [
                    value if value == CLEARED else convert(value, delimiters)
                    for value, delimiters in path.found(group)
                ]
            )
        )

    return first_said


def _conversion(path: Path, options: Options, reader: Reader) -> Reader:
    """How one value as sent becomes text: as the rule says, else as the field's default has it."""
    if options.names:
        template, parts = options.names, names.template(options.names)
        return lambda value, delimiters: names.convert(value, delimiters, template, parts)
    if not options.trim:
        return path.resolved
    if options.format or (path.component and reader in _WHOLE):
        return values.first
    return reader


def _joined(path: Path, group: Group, convert: Reader, between: str) -> str:
    found = [v if v == CLEARED else convert(v, delimiters) for v, delimiters in path.found(group)]
    kept = [value for value in found if value and value != CLEARED]
    return between.join(kept) if kept else said(found)


def _finish(options: Options) -> Callable[[str], str]:
    """Blanks, letters in front and case, as the rule says; a cleared value stays cleared."""
    trim, strip_left, case = options.trim, options.strip_left, options.case

    def finish(value: str) -> str:
        if not value or value == CLEARED:
            return value
        if trim:
            value = value.strip()
        if strip_left:
            # Of nothing but zeros one is left: it was a number.
            value = value.lstrip(strip_left) or value[-1:]
        if case:
            value = value.upper() if case == "upper" else value.lower()
        return value

    return finish


def _time(expression: Expression, convert: Callable[[Group], str], form: str) -> Read:
    text = expression.text

    def read(group: Group, local: tzinfo) -> Found | None:
        value = convert(group)
        if not value or value == CLEARED:
            return Found(CLEARED, text) if value else None
        micros = _micros(value, form, local) if form else to_micros(value, local)
        return Found(micros, text) if micros is not None else None

    return read


def _date(expression: Expression, convert: Callable[[Group], str], form: str) -> Read:
    text = expression.text

    def read(group: Group, local: tzinfo) -> Found | None:
        value = convert(group)
        if not value or value == CLEARED:
            return Found(CLEARED, text) if value else None
        moment = _parsed(value, form)
        return Found(to_date(moment.strftime("%Y%m%d")), text) if moment is not None else None

    return read


def _micros(value: str, form: str, local: tzinfo) -> int | None:
    moment = _parsed(value, form)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=local)
    return (moment - EPOCH) // MICROSECOND


def _parsed(value: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(value, form)
    except ValueError:
        return None


def _identifiers(expression: Expression, authority: str) -> Read:
    text = expression.text

    def read(group: Group, local: tzinfo) -> Found | None:
        found: list[Identifier] = []
        if isinstance(expression, Path):
            for value, delimiters in expression.found(group):
                if (one := values.cx(value, delimiters)) is not None:
                    found.append(one)
        else:
            kept = [value for value in expression.values(group) if value != CLEARED]
            found = [Identifier(authority="", value=value) for value in kept]
        if authority:
            found = [Identifier(authority=authority, value=o.value, type_code=o.type_code) for o in found]
        return Found(tuple(dict.fromkeys(found)), text) if found else None

    return read
