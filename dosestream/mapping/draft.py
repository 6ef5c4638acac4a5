"""An event before its raw record has a position: what the mapping reads, without the envelope."""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, NamedTuple

from dosestream.events.records import Demographics, Identifier
from dosestream.hl7.finding import Finding
from dosestream.hl7.path import CLEARED, WHOLE, Path
from dosestream.hl7.reader import Group, Segment
from dosestream.hl7.times import to_micros
from dosestream.kafka.topics import Topic
from dosestream.mapping import values
from dosestream.mapping.defaults import DEMOGRAPHICS, IDENTIFIERS, Place, Reader, Row
from dosestream.mapping.values import first, identifiers

NO_SEGMENTS = Group(())


# What the rule of a finding about a code begins with, and how much of a code is told.
UNMAPPED = "unmapped"
LONGEST_TOLD = 64


class Unmapped(NamedTuple):
    """A code that a code map has not: no patient data, so it may be counted and logged."""

    field: str
    scheme: str
    code: str

    @property
    def finding(self) -> Finding:
        """As what is counted and logged."""
        code = " ".join(filter(None, (self.code, self.scheme)))[:LONGEST_TOLD]
        code = code.encode("ascii", "backslashreplace").decode()
        text = f"No code map of the site has {self.field} {code}."
        return Finding(f"{UNMAPPED} {self.field} {code}", 103, "", text, "warning")


@dataclass(frozen=True, slots=True)
class Draft:
    """One event to be.

    Attributes:
        topic: where it goes.
        index: the group's place in the message, part of the event's identity.
        fields: the event's own fields, `event_time`, `event_time_path` and `paths` among them.
        identifiers: of the patient, for the record's key.
        group: the segments it is made from.
        unmapped: its codes that a code map has not.
    """

    topic: Topic
    index: int
    fields: dict[str, Any]
    identifiers: tuple[Identifier, ...]
    group: Group = NO_SEGMENTS
    unmapped: tuple[Unmapped, ...] = ()


def read_rows(rows: tuple[Row, ...], group: Group, fields: dict[str, Any], paths: dict[str, str]) -> None:
    """Fill `fields`; note in `paths` what was not read from its first place."""
    present: dict[str, tuple[Segment, list[str], int]] = {}
    for name in group.names():
        segment = group.first(name)
        assert segment is not None
        there = segment.fields
        present[name] = segment, there, len(there)
    for places in _steps(rows):
        for segment_name, columns, elsewhere in places:
            if (at := present.get(segment_name)) is None:
                continue
            segment, there, count = at
            found = False
            for field_name, number, plain, reader, path in columns:
                if number >= count or not (value := there[number]):
                    continue
                # No delimiter is a letter or digit: such a field is its own first component.
                if not (plain and value.isalnum()):
                    value = path.read(segment)
                    if value:
                        value = reader(value, segment.delimiters)
                elif plain is not VERBATIM:
                    value = reader(value, segment.delimiters)
                if value:
                    fields[field_name] = value
                    found = True
                    if elsewhere:
                        paths[field_name] = path.text
            if found:
                break


# What a field is that holds letters and digits only: the path's business, what the reader is given, or the
# value itself.
PATH, PLAIN, VERBATIM = 0, 1, 2
AS_THEY_ARE = frozenset({values.first, values.text, values.as_sent})
COSTLY = (values.person, values.practitioner, values.named_practitioner)
REMEMBERING: dict[Reader, Reader] = {reader: values.remembered(reader) for reader in COSTLY}

# Per row its places: the segment, its columns (the event's field, the number of the message's field, one of
# the three above, reader, path), and whether it is another place than the first.
_Columns = tuple[tuple[str, int, int, Reader, Path], ...]
_Steps = tuple[tuple[tuple[str, _Columns, bool], ...], ...]

_compiled: dict[int, tuple[tuple[Row, ...], _Steps]] = {}
# The tables of this package and a margin.
MOST_TABLES = 64


def _steps(rows: tuple[Row, ...]) -> _Steps:
    """The rows laid flat, once per table."""
    known = _compiled.get(id(rows))
    if known is not None and known[0] is rows:
        return known[1]
    steps = tuple(
        tuple((place.segment, _columns(place), index > 0) for index, place in enumerate(row.places))
        for row in rows
    )
    if len(_compiled) < MOST_TABLES:
        _compiled[id(rows)] = rows, steps
    return steps


def _columns(place: Place) -> _Columns:
    return tuple(
        (name, path.field, _plain(path, reader), REMEMBERING.get(reader, reader), path)
        for name, reader, path in place.columns
    )


def _plain(path: Path, reader: Reader) -> int:
    first = path.component <= 1 and path.subcomponent <= 1 and path.where is None
    if not first or path.repetition not in (1, WHOLE):
        return PATH
    return VERBATIM if reader in AS_THEY_ARE else PLAIN


def read_time(places: tuple[Path, ...], group: Group, local: tzinfo) -> tuple[int | None, str]:
    """The first readable time, microseconds since 1970 UTC, and its path.

    A cleared time ends the search: (None, its path).
    """
    for path in places:
        value = _time(path, group)
        if value == CLEARED:
            return None, path.text
        if value and (micros := to_micros(value, local)) is not None:
            return micros, path.text
    return None, ""


def _time(path: Path, group: Group) -> str:
    """TS.1, whether its parts are components or, inside another data type, subcomponents."""
    segment = group.first(path.segment)
    return first(path.read(segment), segment.delimiters) if segment is not None else ""


def put_time(
    name: str,
    places: tuple[Path, ...],
    group: Group,
    local: tzinfo,
    fields: dict[str, Any],
    paths: dict[str, str],
) -> None:
    """Read one time field as `read_rows` reads text."""
    micros, path = read_time(places, group, local)
    if micros is not None:
        fields[name] = micros
        if path != places[0].text:
            paths[name] = path


def put_event_time(places: tuple[Path, ...], group: Group, local: tzinfo, fields: dict[str, Any]) -> None:
    """`event_time` and `event_time_path`; both empty where the sender said nothing readable."""
    for path in places:
        value = _time(path, group)
        if value and (micros := to_micros(value, local)) is not None:
            fields["event_time"], fields["event_time_path"] = micros, path.text
            return


def read_demographics(group: Group, paths: dict[str, str]) -> Demographics:
    """The patient of the group's PID."""
    found: tuple[Identifier, ...] = ()
    for path in IDENTIFIERS:
        if found := identifiers(path, group):
            if path is not IDENTIFIERS[0]:
                paths["identifiers"] = path.text
            break
    fields: dict[str, Any] = {}
    read_rows(DEMOGRAPHICS, group, fields, paths)
    return Demographics(identifiers=found, **fields)
