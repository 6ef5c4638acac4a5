"""Tables of rows (`defaults.py`) turned into Python: one function per table and set of delimiters.

An interpreter of the rows asks at every column of every message where it lies, whether the segment is there and
how its reader works. All of that is known beforehand, so the rows become straight code, as the encoders of Avro
do: each segment's fields are taken once, a place is a constant index, and what is empty costs one look.
`interpret` says what the code must do; a test holds the two equal.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

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
    names: dict[str, Any] = {
        **{name: globals()[name] for name in NAMES},
        "Final": Final,
        "ROWS": rows,
        "D": delimiters,
    }
    exec("\n".join([*shared("D"), *source(rows, delimiters, "fill", "ROWS", "D")]), names)
    fill: Fill = names["fill"]
    return fill


# What the source of a table uses.
NAMES = ("Any", "Group", "components_of", "first_of", "inner_of", "remembered")


def shared(delimiters: str) -> list[str]:
    """What all tables with these delimiters (an expression) use."""
    return [f"{name}: Final = {name}_of({delimiters})" for name in ("first", "components", "inner")]


def source(rows: tuple[Row, ...], delimiters: Delimiters, name: str, table: str, given_as: str) -> list[str]:
    """Lines of Python: the function `name`, and what it uses before it. `table` and `given_as` are expressions of the
    rows and of the delimiters.

    Raises:
        ValueError: as `compile_rows`.
    """
    code = _Code(delimiters, name, table, given_as)
    body: list[str] = []
    for number, row in enumerate(rows):
        for place in range(len(row.places)):
            lines = code.place(row, f"{table}[{number}]", place)
            if place:
                body += ["if not found:", *_indented(lines)]
            else:
                body += [*(["found = False"] if len(row.places) > 1 else []), *lines]
    segments = code.segments()
    return [
        *code.before,
        f"def {name}(group: Group, fields: dict[str, Any], paths: dict[str, str]) -> None:",
        *_indented([*_typed(body), *segments, *body]),
    ]


def _typed(body: list[str]) -> list[str]:
    kinds = {"value": "str", "parts": "list[str]", "count": "int", "found": "bool"}
    return [f"{name}: {kind}" for name, kind in kinds.items() if any(f"{name} = " in line for line in body)]


class _Code:
    """Lines of Python, and in `before` what they are given by name."""

    def __init__(self, delimiters: Delimiters, function: str, table: str, given_as: str) -> None:
        self._delimiters = delimiters
        self._function = function
        self._given_as = given_as
        # Segment to the number of its last field that is read.
        self._last: dict[str, int] = {}
        self.before: list[str] = []

    def segments(self) -> list[str]:
        """Each segment's fields, with empty ones behind them up to the last that is read; all empty where absent."""
        lines = []
        for name, last in self._last.items():
            none, fields = self._name("none", f'[""] * {last + 1}'), _fields_of(name)
            lines += [
                f'segment = group.first("{name}")',
                "if segment is None:",
                f"    {fields} = {none}",
                "else:",
                f"    {fields} = segment.fields",
                f"    if len({fields}) <= {last}:",
                f"        {fields} = {fields} + {none}",
            ]
        return lines

    def place(self, row: Row, said: str, number: int) -> list[str]:
        """What reads a row, which the expression `said` gives, at one of its places."""
        place, places = row.places[number], len(row.places)
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
            return [f"value = {_fields_of(path.segment)}[{path.field}]", "if value:", *_indented(lines)]
        return [
            line
            for at, (name, reader, path) in enumerate(place.columns)
            for line in (
                f"value = {_fields_of(path.segment)}[{path.field}]",
                f"if {self._begins(reader)}:",
                *_indented(
                    [*self._read(reader, path, f"{said}.places[{number}].columns[{at}]"), *put(name, path)]
                ),
            )
        ]

    def _begins(self, reader: Reader) -> str:
        if reader in OF_COMPONENTS:
            return f"{self._delimiters.component!r} in value"
        return "value"

    def _read(self, reader: Reader, path: Path, column: str) -> list[str]:
        """The value of a field that is not empty; `column` is the expression of its name, reader and path."""
        foremost = path.component <= 1 and path.subcomponent <= 1 and path.where is None
        of = self._given_as
        if foremost and path.repetition in (1, WHOLE):
            if reader is values.first and path.repetition == 1:
                # No delimiter is a letter or digit: such a field is its own first component.
                return ["if not value.isalnum():", "    value = first(value)"]
            if reader in REPEATING:
                known = self._name("known", f"remembered({column}[1], {column}[2], {of})")
                return [f"value = {known}(value)"]
        if path.repetition == 1 and path.where is None and path.component > 1 and not path.subcomponent:
            number = path.component
            lines = [
                "parts = components(value)",
                f'value = parts[{number - 1}] if len(parts) >= {number} else ""',
            ]
            if reader is values.first:
                return [*lines, "if value and not value.isalnum():", "    value = inner(value)"]
            return [*lines, "if value:", f"    value = {self._name('read', f'{column}[1]')}(value, {of})"]
        path_of, read = self._name("path", f"{column}[2].of"), self._name("read", f"{column}[1]")
        return [f"value = {path_of}(value, {of})", "if value:", f"    value = {read}(value, {of})"]

    def _name(self, word: str, meant: str) -> str:
        name = f"_{self._function}_{word}_{len(self.before)}"
        self.before.append(f"{name}: Final = {meant}")
        return name


def _fields_of(segment: str) -> str:
    """The name of a segment's fields."""
    return segment.lower()


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
