"""An event before its raw record has a position: what the mapping reads, without the envelope."""

from datetime import tzinfo
from functools import lru_cache
from typing import Any, NamedTuple

from dosestream.events.records import Demographics, Identifier
from dosestream.hl7.finding import Finding
from dosestream.hl7.header import STANDARD, Delimiters
from dosestream.hl7.path import CLEARED, Path
from dosestream.hl7.reader import Group, Segment
from dosestream.hl7.times import to_micros
from dosestream.kafka.topics import Topic
from dosestream.mapping.compiled import Fill, compile_rows, interpret
from dosestream.mapping.defaults import DEMOGRAPHICS, IDENTIFIERS, READ_BY_ROWS, Row
from dosestream.mapping.standard_rows import FILLS
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


class Draft(NamedTuple):
    """One event to be.

    Attributes:
        topic: where it goes.
        number: the group's place in the message, part of the event's identity.
        fields: the event's own fields, `event_time`, `event_time_path` and `paths` among them.
        identifiers: of the patient, for the record's key.
        group: the segments it is made from.
        unmapped: its codes that a code map has not.
    """

    topic: Topic
    number: int
    fields: dict[str, Any]
    identifiers: tuple[Identifier, ...]
    group: Group = NO_SEGMENTS
    unmapped: tuple[Unmapped, ...] = ()


# Row tables and delimiters met so far, compiled. A sender chooses its delimiters: beyond so many, its messages
# are read by the rows themselves.
_compiled: dict[tuple[int, Delimiters], Fill] = {(id(rows), STANDARD): fill for rows, fill in FILLS}
MOST_COMPILED = 64


def read_rows(rows: tuple[Row, ...], group: Group, fields: dict[str, Any], paths: dict[str, str]) -> None:
    """Fill `fields`; note in `paths` what was not read from its first place. `rows` is a table of `defaults`."""
    fill = _compiled.get((id(rows), group.delimiters))
    if fill is None:
        if len(_compiled) >= MOST_COMPILED or not any(rows is table for table in READ_BY_ROWS):
            interpret(rows, group, fields, paths)
            return
        fill = _compiled[id(rows), group.delimiters] = compile_rows(rows, group.delimiters)
    fill(group, fields, paths)


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
    if segment is None or not (value := segment.field(path.field)):
        return ""
    # No delimiter is a digit: such a field is its own first component.
    if value.isdigit() and path.component <= 1 and path.repetition == 1 and path.where is None:
        return value
    return first(path.read(segment), segment.delimiters)


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
    segment = group.first("PID")
    if segment is None:
        return Demographics()
    read = _demographics if len(segment.line) <= LONGEST_PATIENT else _demographics.__wrapped__
    patient, read_from = read(segment.line, segment.delimiters)
    paths.update(read_from)
    return patient


# A patient's messages come together, and their sender says the patient in the same words: as many as a large
# hospital hears of in a day.
MOST_PATIENTS = 8192
LONGEST_PATIENT = 512


@lru_cache(maxsize=MOST_PATIENTS)
def _demographics(line: str, delimiters: Delimiters) -> tuple[Demographics, tuple[tuple[str, str], ...]]:
    """The patient of a PID, and what was not read from its first place."""
    group = Group([Segment("PID", line, delimiters)])
    paths: dict[str, str] = {}
    found: tuple[Identifier, ...] = ()
    for path in IDENTIFIERS:
        if found := identifiers(path, group):
            if path is not IDENTIFIERS[0]:
                paths["identifiers"] = path.text
            break
    fields: dict[str, Any] = {}
    read_rows(DEMOGRAPHICS, group, fields, paths)
    return Demographics(identifiers=found, **fields), tuple(paths.items())
