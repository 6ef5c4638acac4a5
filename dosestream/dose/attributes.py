"""Numbers and words of an instance's attributes, with the units PS3.3 gives them (headers have no unit codes)."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import isfinite
from struct import Struct
from typing import Final

from dosestream.dose.content import MEANING, Reading, items, leaf
from dosestream.dose.dataset import DataSet, tag_text
from dosestream.dose.units import factor_of

# Binary VRs that are read here (PS3.5 table 6.2-1); any other is text.
BINARY: Final[Mapping[str, str]] = {"US": "H", "FL": "f", "FD": "d"}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One numeric attribute: tag, VR, and the unit PS3.3 gives it."""

    tag: int
    vr: str
    unit: str


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of a data set, or of a sequence item in it.

    Attributes:
        data_set: tag to value.
        reading: character set, zone, and where what cannot be read is noted.
        big_endian: byte order of binary values.
    """

    data_set: DataSet
    reading: Reading
    big_endian: bool

    def number(self, choices: tuple[Attribute, ...], unit: str) -> float | None:
        """The first attribute that has a number, in the unit; a zero is one."""
        for one in choices:
            numbers = self.numbers(one, unit)
            if numbers and numbers[0] is not None:
                return numbers[0]
        return None

    def numbers(self, one: Attribute, unit: str) -> list[float | None]:
        """All values of an attribute in the unit; None for one that is no number."""
        value = self.data_set.get(one.tag, b"")
        if not value or not isinstance(value, bytes):
            return []
        factor = factor_of(one.unit, unit)
        if one.vr in BINARY:
            shape = Struct((">" if self.big_endian else "<") + BINARY[one.vr])
            if len(value) % shape.size:
                self.reading.note(tag_text(one.tag), f"{len(value)} bytes are no {one.vr}")
                return []
            return [_finite(Decimal(number), factor) for (number,) in shape.iter_unpack(value)]
        return [self._decimal(one.tag, text, factor) for text in leaf(self.data_set, one.tag).split("\\")]

    def words(self, tag: int) -> list[str]:
        """The values of a text attribute, without empty ones."""
        value = self.data_set.get(tag, b"")
        if not value or not isinstance(value, bytes):
            return []
        text = self.reading.charset.text(value, tag_text(tag))
        return [word for part in text.split("\\") if (word := part.strip())]

    def word(self, *tags: int) -> str:
        """The first value of the first text attribute that has one."""
        return next((words[0] for tag in tags if (words := self.words(tag))), "")

    def meaning(self, sequence: int) -> str:
        """The meaning of the code in a sequence."""
        return next((self.item(item).word(MEANING) for item in items(self.data_set, sequence)), "")

    def item(self, data_set: DataSet) -> "Attributes":
        """The attributes of a sequence item."""
        return Attributes(data_set, self.reading, self.big_endian)

    def _decimal(self, tag: int, text: str, factor: Decimal | None) -> float | None:
        text = text.strip(" \0")
        if not text:
            return None
        try:
            number = Decimal(text)
        except InvalidOperation:
            self.reading.note(tag_text(tag), f"{text[:20]!r} is no number")
            return None
        return _finite(number, factor)


def _finite(number: Decimal, factor: Decimal | None) -> float | None:
    if not number.is_finite():
        return None
    value = float(number if factor is None else number * factor)
    return value if isfinite(value) else None
