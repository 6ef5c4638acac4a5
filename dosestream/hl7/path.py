"""Path expressions: where in a message a value is read.

    SEG-F            the field as sent, all of its first repetition
    SEG-F.C          component C of the first repetition
    SEG-F.C.S        subcomponent S of it
    SEG-F[n].C       of repetition n, from 1
    SEG-F[4.1=HOSP].1   of the first repetition whose component 4, subcomponent 1 is HOSP

A path is relative to a group of segments (an order group, one IPC), with the message behind it.
"""

import re
from dataclasses import dataclass

from dosestream.hl7.escapes import unescape
from dosestream.hl7.header import Delimiters
from dosestream.hl7.reader import Group, Segment

# HL7 v2.5.1 section 2.5.3: two double quotes delete the value; an empty field says nothing.
CLEARED = '""'

_SHAPE = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})-(?P<field>[1-9]\d*)"
    r"(?:\[(?:(?P<number>[1-9]\d*)|(?P<component>[1-9]\d*)(?:\.(?P<sub>[1-9]\d*))?=(?P<value>[^\]]*))\])?"
    r"(?:\.(?P<c>[1-9]\d*)(?:\.(?P<s>[1-9]\d*))?)?"
)


class PathError(ValueError):
    """The expression is no path: write it as SEG-F.C, such as OBR-3.1 or PID-3[4.1=HOSP].1."""


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path expression; 0 stands for "the whole"."""

    text: str
    segment: str
    field: int
    component: int = 0
    subcomponent: int = 0
    repetition: int = 1
    # Component, subcomponent and value that select the repetition.
    where: tuple[int, int, str] | None = None

    @classmethod
    def parse(cls, text: str) -> "Path":
        """Parse an expression.

        Raises:
            PathError: it is none.
        """
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise PathError(f"{text!r} is no path: write SEG-F.C, such as OBR-3.1 or PID-3[4.1=HOSP].1")
        where = None
        if match["component"]:
            where = (int(match["component"]), int(match["sub"] or 1), match["value"])
        return cls(
            text,
            match["segment"],
            int(match["field"]),
            int(match["c"] or 0),
            int(match["s"] or 0),
            int(match["number"] or 1),
            where,
        )

    def read(self, segment: Segment) -> str:
        """The value in one segment as sent, escapes and inner delimiters included.

        A field or repetition that is `""` clears every component of it.
        """
        value = segment.field(self.field)
        if not value or value == CLEARED:
            return value
        delimiters = segment.delimiters
        if self.where is not None:
            value = self._selected(value, delimiters)
        elif delimiters.repetition in value and not (segment.name == "MSH" and self.field <= 2):
            value = part(value, delimiters.repetition, self.repetition)
        elif self.repetition > 1:
            return ""
        if not self.component or value == CLEARED:
            return value
        value = part(value, delimiters.component, self.component)
        if not self.subcomponent or value == CLEARED:
            return value
        return part(value, delimiters.subcomponent, self.subcomponent)

    def raw(self, group: Group) -> str:
        """The value in the group's first segment of that name, as sent; empty where there is none."""
        segment = group.first(self.segment)
        return self.read(segment) if segment is not None else ""

    def value(self, group: Group) -> str:
        """The value with its escapes resolved; of a component with subcomponents, the first one."""
        segment = group.first(self.segment)
        if segment is None or not (value := self.read(segment)) or value == CLEARED:
            return value if segment is not None else ""
        if self.component and not self.subcomponent:
            value = part(value, segment.delimiters.subcomponent, 1)
        return unescape(value, segment.delimiters)

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


def part(value: str, delimiter: str, number: int) -> str:
    """The `number`th part, from 1; empty where absent."""
    if delimiter not in value:
        return value if number == 1 else ""
    parts = value.split(delimiter, number)
    return parts[number - 1] if number <= len(parts) else ""
