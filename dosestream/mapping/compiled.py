"""Tables of rows (`defaults.py`) turned into Python: one function per table and set of delimiters.

An interpreter of the rows asks at every column of every message where it lies, whether the segment is there and
how its reader works. All of that is known beforehand, so the rows become straight code, as the encoders of Avro
do: each segment's fields are taken once, a place is a constant index, and what is empty costs one look.
`interpret` says what the code must do; a test holds the two equal.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dosestream.hl7.escapes import unescape
from dosestream.hl7.header import Delimiters
from dosestream.hl7.path import CLEARED, WHOLE, Path
from dosestream.hl7.reader import HEADERS, Group
from dosestream.mapping import values
from dosestream.mapping.defaults import Place, Reader, Row
from dosestream.mapping.values import REMEMBERED

# Fills an event's fields from a group of segments, and `paths` with what was not read from its first place.
Fill = Callable[[Group, dict[str, Any], dict[str, str]], None]

# Readers whose values come again: a site has few physicians, a patient's messages come together.
REPEATING = frozenset(
    {
        *(values.person, values.practitioner, values.named_practitioner),
        *(values.birth_date, values.sex, values.priority),
    }
)
# Readers that say nothing of a value without components.
OF_COMPONENTS = frozenset({values.issuer, values.authority})
# Of each repeating reader so many values are kept.
MOST_VALUES = 4096


def interpret(rows: tuple[Row, ...], group: Group, fields: dict[str, Any], paths: dict[str, str]) -> None:
    """Fill `fields` row by row: the first place that says anything gives all its columns."""
    for row in rows:
        for place in row.places:
            segment = group.first(place.segment)
            if segment is None:
                continue
            found = False
            for name, reader, path in place.columns:
                sent = path.read(segment)
                if sent and (value := reader(sent, segment.delimiters)):
                    fields[name] = value
                    found = True
                    if place is not row.places[0]:
                        paths[name] = path.text
            if found:
                break


def compile_rows(rows: tuple[Row, ...], delimiters: Delimiters) -> Fill:
    """`interpret` for one table and one set of delimiters.

    Raises:
        ValueError: a path of the table may mean several segments or repetitions.
    """
    code = _Code(delimiters)
    body: list[str] = []
    for row in rows:
        for number, place in enumerate(row.places):
            lines = code.place(place, number, len(row.places))
            if number:
                body += ["if not found:", *_indented(lines)]
            else:
                body += [*(["found = False"] if len(row.places) > 1 else []), *lines]
    source = "\n".join(["def fill(group, fields, paths):", *_indented([*code.segments(), *body])])
    exec(source, code.names)
    fill: Fill = code.names["fill"]
    return fill


class _Code:
    """Lines of Python, and what they are given by name."""

    def __init__(self, delimiters: Delimiters) -> None:
        self._delimiters = delimiters
        # Segment to the number of its last field that is read.
        self._last: dict[str, int] = {}
        self.names: dict[str, Any] = {
            "first": first_of(delimiters),
            "components": components_of(delimiters),
            "inner": inner_of(delimiters),
            "D": delimiters,
        }

    def segments(self) -> list[str]:
        """Each segment's fields, with empty ones behind them up to the last that is read; all empty where absent."""
        lines = ["first_of_name = group.first"]
        for name, last in self._last.items():
            self.names[f"NONE_{name}"] = [""] * (last + 1)
            lines += [
                f'segment = first_of_name("{name}")',
                "if segment is None:",
                f"    {name} = NONE_{name}",
                "else:",
                f"    {name} = segment.fields",
                f"    if len({name}) <= {last}:",
                f"        {name} = {name} + NONE_{name}",
            ]
        return lines

    def place(self, place: Place, number: int, places: int) -> list[str]:
        """What reads a row at one of its places."""
        for _, _, path in place.columns:
            if not path.plain or path.segment in HEADERS:
                raise ValueError(f"{path.text} cannot be read by a row")
            self._last[path.segment] = max(self._last.get(path.segment, 0), path.field)

        def put(name: str, path: Path) -> list[str]:
            lines = [f"fields[{name!r}] = value"]
            if number < places - 1:
                lines.append("found = True")
            if number:
                lines.append(f"paths[{name!r}] = {path.text!r}")
            return ["if value:", *_indented(lines)]

        if _are_components(place):
            path = place.columns[0][2]
            lines = ["parts = components(value)", "count = len(parts)"]
            for name, _, path in place.columns:
                at = max(path.component, 1)
                lines += [
                    f'value = parts[{at - 1}] if count >= {at} else ""',
                    *("if value and not value.isalnum():", "    value = inner(value)"),
                    *put(name, path),
                ]
            return [f"value = {path.segment}[{path.field}]", "if value:", *_indented(lines)]
        return [
            line
            for name, reader, path in place.columns
            for line in (
                f"value = {path.segment}[{path.field}]",
                f"if {self._begins(reader)}:",
                *_indented([*self._read(reader, path), *put(name, path)]),
            )
        ]

    def _begins(self, reader: Reader) -> str:
        if reader in OF_COMPONENTS:
            return f"{self._delimiters.component!r} in value"
        return "value"

    def _read(self, reader: Reader, path: Path) -> list[str]:
        """The value of a field that is not empty."""
        foremost = path.component <= 1 and path.subcomponent <= 1 and path.where is None
        if foremost and path.repetition in (1, WHOLE):
            if reader is values.first and path.repetition == 1:
                # No delimiter is a letter or digit: such a field is its own first component.
                return ["if not value.isalnum():", "    value = first(value)"]
            if reader in REPEATING:
                known = self._name("known", remembered(reader, path, self._delimiters))
                return [f"value = {known}(value)"]
        if path.repetition == 1 and path.where is None and path.component > 1 and not path.subcomponent:
            number = path.component
            lines = [
                "parts = components(value)",
                f'value = parts[{number - 1}] if len(parts) >= {number} else ""',
            ]
            if reader is values.first:
                return [*lines, "if value and not value.isalnum():", "    value = inner(value)"]
            return [*lines, "if value:", f"    value = {self._name('read', reader)}(value, D)"]
        of, read = self._name("path", path.of), self._name("read", reader)
        return [f"value = {of}(value, D)", "if value:", f"    value = {read}(value, D)"]

    def _name(self, word: str, meant: Any) -> str:
        name = f"{word}_{len(self.names)}"
        self.names[name] = meant
        return name


def _are_components(place: Place) -> bool:
    """Whether the columns are components of one field, such as a code, its meaning and its scheme."""
    paths = [path for _, _, path in place.columns]
    return len(paths) > 1 and all(
        reader is values.first
        and path.field == paths[0].field
        and (path.repetition, path.where, path.subcomponent) == (1, None, 0)
        for _, reader, path in place.columns
    )


def first_of(delimiters: Delimiters) -> Callable[[str], str]:
    """`values.first` of a whole field's first repetition."""
    _, component, repetition, mark, subcomponent = delimiters

    def first(value: str) -> str:
        if repetition in value:
            value = value.split(repetition, 1)[0]
        if component in value:
            value = value.split(component, 1)[0]
        if subcomponent in value:
            value = value.split(subcomponent, 1)[0]
        if mark in value:
            value = unescape(value, delimiters)
        return value.strip()

    return first


def inner_of(delimiters: Delimiters) -> Callable[[str], str]:
    """`values.first` of one component."""
    return lambda value: values.first(value, delimiters)


# As many components as a path may ask for of a field that clears them all.
ALL_CLEARED = [CLEARED] * 64


def components_of(delimiters: Delimiters) -> Callable[[str], list[str]]:
    """The components of a field's first repetition; one that is cleared clears them all."""
    component, repetition = delimiters.component, delimiters.repetition

    def components(value: str) -> list[str]:
        if repetition in value:
            value = value.split(repetition, 1)[0]
        return ALL_CLEARED if value == CLEARED else value.split(component)

    return components


def remembered(reader: Reader, path: Path, delimiters: Delimiters) -> Callable[[str], str]:
    """What a reader makes of a field, kept for the next time where the field is short."""

    def read(value: str) -> str:
        value = path.of(value, delimiters)
        return reader(value, delimiters) if value else value

    known = lru_cache(maxsize=MOST_VALUES)(read)
    return lambda value: known(value) if len(value) <= REMEMBERED else read(value)


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]
