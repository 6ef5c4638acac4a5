"""Path expressions: where in a message a value is read.

    SEG-F               the field as sent, all of its first repetition
    SEG-F.C             component C of the first repetition
    SEG-F.C.S           subcomponent S of it
    SEG-F[n].C          of repetition n, from 1
    SEG-F[*].C          of every repetition
    SEG-F[4.1=HOSP].1   of the first repetition whose component 4, subcomponent 1 is HOSP
    SEG[n]-F            of the n-th segment of that name
    SEG[*]-F            of every segment of that name
    SEG[3.1=WEIGHT]-F   of the first segment whose field 3, component 1 is WEIGHT

A selecting value that holds `]` or begins with a quote stands in quotes: `PID-3[4.1="A]B"].1`. Of several
values the first that is not empty is meant, unless all are asked for. A path is relative to a group of
segments (an order group, one IPC), with the message behind it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dosestream.hl7.escapes import unescape
from dosestream.hl7.header import Delimiters
from dosestream.hl7.reader import Group, Segment

# HL7 v2.5.1 section 2.5.3: two double quotes delete the value; an empty field says nothing.
CLEARED = '""'

# A repetition or an occurrence: every one of them.
EVERY = 0
# Of a repetition, in tables only: the whole field, repetitions and all, for a reader that makes one value of them.
WHOLE = -1

_NUMBER = r"[1-9]\d*"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SELECTOR = rf"\*|{_NUMBER}(?=\])|{_NUMBER}(?:\.{_NUMBER})?=(?:{_QUOTED}|(?!\")[^\]]*)"

# The grammar: what may follow what. (name, what it looks like, what it is, the next where it is there, the
# next where it is not; "" where it must be there). The path ends where the next is `end`.
GRAMMAR: dict[str, tuple[str, str, str, str]] = {
    "segment": (r"[A-Z][A-Z0-9]{2}", "a segment name, such as OBR", "[occurrence", ""),
    "[occurrence": (r"\[", "[", "occurrence", "-"),
    "occurrence": (_SELECTOR, "a number, * or 3.1=VALUE", "occurrence]", ""),
    "occurrence]": (r"\]", "]", "-", ""),
    "-": (r"-", "- and a field number", "field", ""),
    "field": (_NUMBER, "a field number, from 1", "[repetition", ""),
    "[repetition": (r"\[", "[", "repetition", ".component"),
    "repetition": (_SELECTOR, "a number, * or 4.1=VALUE", "repetition]", ""),
    "repetition]": (r"\]", "]", ".component", ""),
    ".component": (r"\.", ".", "component", "end"),
    "component": (_NUMBER, "a component number, from 1", ".subcomponent", ""),
    ".subcomponent": (r"\.", ".", "subcomponent", "end"),
    "subcomponent": (_NUMBER, "a subcomponent number, from 1", "end", ""),
}
_STATES = {
    name: (re.compile(shape), expected, after, otherwise)
    for name, (shape, expected, after, otherwise) in GRAMMAR.items()
}


class PathError(ValueError):
    """The expression is no path: write it as SEG-F.C, such as OBR-3.1 or PID-3[4.1=HOSP].1.

    Attributes:
        position: of the first character that does not fit, from 0.
    """

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


# What selects a repetition: component, subcomponent, value; a segment: field, component, value.
Where = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path expression; 0 stands for "the whole", and of repetitions and occurrences for "every"."""

    text: str = field(compare=False)
    segment: str
    field: int
    component: int = 0
    subcomponent: int = 0
    repetition: int = 1
    # Component, subcomponent and value that select the repetition.
    where: Where | None = None
    occurrence: int = 1
    # Field, component and value that select the segment.
    occurrence_where: Where | None = None

    @classmethod
    def parse(cls, text: str) -> "Path":
        """Parse an expression.

        Raises:
            PathError: it is none.
        """
        path, end = scan(text, 0)
        if end < len(text):
            raise _error(text, end, "the end")
        return path

    def write(self) -> str:
        """The expression that says this path."""
        parts = [
            self.segment,
            _written(self.occurrence, self.occurrence_where),
            f"-{self.field}",
            _written(self.repetition, self.where),
        ]
        parts += [f".{number}" for number in (self.component, self.subcomponent) if number]
        return "".join(parts)

    @property
    def plain(self) -> bool:
        """Whether at most one value can be meant, in the first segment of that name."""
        return self.occurrence == 1 and self.occurrence_where is None and self.repetition != EVERY

    def read(self, segment: Segment) -> str:
        """The value in one segment as sent, escapes and inner delimiters included.

        A field or repetition that is `""` clears every component of it. Of every repetition, the first that
        says something.
        """
        value = segment.field(self.field)
        if not value or value == CLEARED:
            return value
        if self.field <= 2 and segment.name == "MSH" and self.where is None:
            return self._inner(value, segment.delimiters) if self.repetition <= 1 else ""
        if self.repetition == EVERY:
            return said(self.read_all(segment))
        return self.of(value, segment.delimiters)

    def of(self, value: str, delimiters: Delimiters) -> str:
        """The value in one field as sent, of one repetition or of the whole."""
        if not value or value == CLEARED:
            return value
        if self.where is not None:
            value = self._selected(value, delimiters)
        elif delimiters.repetition in value:
            if self.repetition == WHOLE:
                return value
            value = part(value, delimiters.repetition, self.repetition)
        elif self.repetition > 1:
            return ""
        return self._inner(value, delimiters)

    def read_all(self, segment: Segment) -> list[str]:
        """The values in one segment as sent: of every repetition where all are meant, else one at most."""
        if self.repetition != EVERY:
            return [value] if (value := self.read(segment)) else []
        delimiters = segment.delimiters
        whole = segment.field(self.field)
        repetitions = [whole] if whole == CLEARED else whole.split(delimiters.repetition)
        return [value for one in repetitions if (value := self._inner(one, delimiters))]

    def segments(self, group: Group) -> Sequence[Segment]:
        """The segments that are meant."""
        found = group.all(self.segment)
        if self.occurrence_where is not None:
            return next(([one] for one in found if self._is_meant(one)), [])
        return found if self.occurrence == EVERY else found[self.occurrence - 1 : self.occurrence]

    def found(self, group: Group) -> Iterator[tuple[str, Delimiters]]:
        """Every value that is meant and not empty, as sent, with its delimiters."""
        for segment in self.segments(group):
            for value in self.read_all(segment):
                yield value, segment.delimiters

    def raw(self, group: Group) -> str:
        """The value as sent; empty where there is none."""
        if not self.plain:
            return said([value for value, _ in self.found(group)])
        segment = group.first(self.segment)
        return self.read(segment) if segment is not None else ""

    def value(self, group: Group) -> str:
        """The value with its escapes resolved; of a component with subcomponents, the first one."""
        segment = group.first(self.segment)
        if segment is None or not (value := self.raw(group)) or value == CLEARED:
            return value if segment is not None else ""
        return self.resolved(value, segment.delimiters)

    def values(self, group: Group) -> list[str]:
        """All values, each as `value` gives it."""
        return [
            value if value == CLEARED else self.resolved(value, delimiters)
            for value, delimiters in self.found(group)
        ]

    def resolved(self, value: str, delimiters: Delimiters) -> str:
        """One value as sent, with its escapes resolved; of a component with subcomponents, the first one."""
        if self.component and not self.subcomponent:
            value = part(value, delimiters.subcomponent, 1)
        return unescape(value, delimiters)

    def _inner(self, value: str, delimiters: Delimiters) -> str:
        if not self.component or value == CLEARED:
            return value
        value = part(value, delimiters.component, self.component)
        if not self.subcomponent or value == CLEARED:
            return value
        return part(value, delimiters.subcomponent, self.subcomponent)

    def _selected(self, value: str, delimiters: Delimiters) -> str:
        assert self.where is not None
        component, subcomponent, wanted = self.where
        for repetition in value.split(delimiters.repetition):
            found = part(
                part(repetition, delimiters.component, component), delimiters.subcomponent, subcomponent
            )
            if unescape(found, delimiters) == wanted:
                return repetition
        return ""

    def _is_meant(self, segment: Segment) -> bool:
        assert self.occurrence_where is not None
        number, component, wanted = self.occurrence_where
        delimiters = segment.delimiters
        for repetition in segment.field(number).split(delimiters.repetition):
            found = part(part(repetition, delimiters.component, component), delimiters.subcomponent, 1)
            if unescape(found, delimiters).strip() == wanted:
                return True
        return False


def scan(text: str, start: int) -> tuple[Path, int]:
    """The path that begins at `start`, and where it ends.

    Raises:
        PathError: there is none.
    """
    found: dict[str, str] = {}
    position, state = start, "segment"
    while state != "end":
        shape, expected, after, otherwise = _STATES[state]
        match = shape.match(text, position)
        if match is not None:
            found[state] = match[0]
            position, state = match.end(), after
        elif otherwise:
            state = otherwise
        else:
            raise _error(text, position, expected)
    occurrence, occurrence_where = _selection(found.get("occurrence", "1"))
    repetition, where = _selection(found.get("repetition", "1"))
    path = Path(
        text[start:position],
        found["segment"],
        int(found["field"]),
        int(found.get("component", 0)),
        int(found.get("subcomponent", 0)),
        repetition,
        where,
        occurrence,
        occurrence_where,
    )
    return path, position


def said(values: Sequence[str]) -> str:
    """The first value that is neither empty nor cleared; cleared where that is all that is said."""
    cleared = ""
    for value in values:
        if value and value != CLEARED:
            return value
        cleared = cleared or value
    return cleared


def part(value: str, delimiter: str, number: int) -> str:
    """The `number`th part, from 1; empty where absent."""
    if delimiter not in value:
        return value if number == 1 else ""
    parts = value.split(delimiter, number)
    return parts[number - 1] if number <= len(parts) else ""


def _selection(text: str) -> tuple[int, Where | None]:
    if text == "*":
        return EVERY, None
    numbers, equals, wanted = text.partition("=")
    if not equals:
        return int(text), None
    if wanted.startswith('"'):
        wanted = re.sub(r"\\(.)", r"\1", wanted[1:-1])
    first, _, second = numbers.partition(".")
    return 1, (int(first), int(second or 1), wanted)


def _written(number: int, where: Where | None) -> str:
    if where is not None:
        first, second, wanted = where
        if "]" in wanted or wanted.startswith('"'):
            wanted = '"' + wanted.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"[{first}.{second}={wanted}]"
    return {1: "", WHOLE: "", EVERY: "[*]"}.get(number, f"[{number}]")


def _error(text: str, position: int, expected: str) -> PathError:
    met = repr(text[position]) if position < len(text) else "nothing more"
    return PathError(
        f"{text!r} is no path: at character {position + 1} {expected} is expected, not {met}: "
        "write SEG-F.C, such as OBR-3.1 or PID-3[4.1=HOSP].1",
        position,
    )
