"""Content items of a structured report (PS3.3 C.17.3), read from the plain data sets of `dataset`."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from dosestream.dose.charset import Charset
from dosestream.dose.concepts import RETIRED, SNOMED_RT, Code
from dosestream.dose.dataset import DataSet
from dosestream.dose.moments import Moment, Zone, from_date_time
from dosestream.dose.units import UnitError, convert

CODE_VALUE: Final = 0x00080100
SCHEME: Final = 0x00080102
MEANING: Final = 0x00080104
LONG_CODE_VALUE: Final = 0x00080119
URN_CODE_VALUE: Final = 0x00080120
UNITS_CODE: Final = 0x004008EA
VALUE_TYPE: Final = 0x0040A040
CONCEPT_NAME: Final = 0x0040A043
DATE_TIME: Final = 0x0040A120
PERSON_NAME: Final = 0x0040A123
UID: Final = 0x0040A124
TEXT: Final = 0x0040A160
CONCEPT_CODE: Final = 0x0040A168
MEASURED_VALUE: Final = 0x0040A300
NUMERIC_VALUE: Final = 0x0040A30A
CONTENT: Final = 0x0040A730

# A number in the wanted unit (None where it cannot be had), value as stored, unit as stored.
Measured = tuple[float | None, str, str]

NO_CODE: Final[Code] = ("", "")


@dataclass(slots=True)
class Reading:
    """What reading one report's content needs, and what of it could not be read.

    Attributes:
        charset: decodes its text.
        zone: of date-times without offset.
        unread: concept and reason, one sentence each.
    """

    charset: Charset
    zone: Zone
    unread: list[str] = field(default_factory=list)

    def give_up(self, concept: Code, reason: str) -> None:
        """Note an item that could not be read (once)."""
        self.note(f"{concept[0]},{concept[1]}", reason)

    def note(self, where: str, reason: str) -> None:
        """Note what could not be read at a place (once)."""
        sentence = f"{where}: {reason}"
        if sentence not in self.unread:
            self.unread.append(sentence)

    def numbers(self, item: DataSet, concept: Code, unit: str) -> list[Measured]:
        """The values of a NUM item in the unit, each with value and unit as stored.

        Empty for an empty Measured Value Sequence (PS3.3 C.18.1: measured, but no value). Several values in
        one element are illegal and read all the same. One that cannot be converted is listed and is None.
        """
        measured = items(item, MEASURED_VALUE)
        if not measured:
            return []
        stored_unit = self.unit(measured[0])
        result: list[Measured] = []
        for stored in leaf(measured[0], NUMERIC_VALUE).split("\\"):
            stored = stored.strip(" \0")
            if not stored:
                continue
            try:
                result.append((convert(stored, stored_unit, unit), stored, stored_unit))
            except UnitError as error:
                self.give_up(concept, str(error))
                result.append((None, stored, stored_unit))
        return result

    def number(self, item: DataSet, concept: Code, unit: str) -> float | None:
        """The one value of a NUM item in the unit; of several, which is illegal, the first that can be read."""
        found = [value for value, _, _ in self.numbers(item, concept, unit) if value is not None]
        if len(found) > 1:
            self.give_up(concept, f"{len(found)} values where one is meant; the first is taken")
        return found[0] if found else None

    def person_name(self, item: DataSet) -> str:
        """The value of a PNAME item, its alphabetic group."""
        value = item.get(PERSON_NAME, b"")
        return self.charset.person_name(value, "content item person name") if isinstance(value, bytes) else ""

    def unit(self, measured: DataSet) -> str:
        """The unit's code as stored (UCUM), empty where there is none."""
        units = items(measured, UNITS_CODE)
        value = units[0].get(CODE_VALUE) if units else None
        return _plain(value) if isinstance(value, bytes) else ""

    def word(self, item: DataSet) -> str:
        """The value of a CODE item as its meaning (else its code), or of a TEXT item."""
        if codes := items(item, CONCEPT_CODE):
            return self._text(codes[0], MEANING) or code_of(codes[0])[0]
        return self._text(item, TEXT)

    def moment(self, item: DataSet) -> Moment | None:
        """The value of a DATETIME item."""
        return from_date_time(leaf(item, DATE_TIME), self.zone)

    def _text(self, item: DataSet, tag: int) -> str:
        value = item.get(tag, b"")
        return self.charset.text(value, "content item text") if isinstance(value, bytes) else ""


def children(item: DataSet) -> list[tuple[Code, DataSet]]:
    """The items of the Content Sequence, each with the code of its concept name."""
    return [
        (
            code_of(names[0]) if isinstance(names := child.get(CONCEPT_NAME), list) and names else NO_CODE,
            child,
        )
        for child in items(item, CONTENT)
    ]


def items(item: DataSet, tag: int) -> list[DataSet]:
    """The items of a sequence; none where it is absent or no sequence."""
    value = item.get(tag)
    return value if isinstance(value, list) else []


def leaf(item: DataSet, tag: int) -> str:
    """A value of the default repertoire (UI, CS, DS, DT and the like) without padding; empty where absent."""
    value = item.get(tag, b"")
    return value.decode("latin-1").replace("\0", "").strip() if value and isinstance(value, bytes) else ""


def value_code(item: DataSet) -> Code:
    """The value of a CODE item as a code."""
    codes = items(item, CONCEPT_CODE)
    return code_of(codes[0]) if codes else NO_CODE


def code_of(item: DataSet) -> Code:
    """A code sequence item as (value, scheme), retired SNOMED-RT codes as their SNOMED CT successors."""
    value = item.get(CODE_VALUE) or item.get(LONG_CODE_VALUE) or item.get(URN_CODE_VALUE) or b""
    scheme = item.get(SCHEME, b"")
    if isinstance(value, bytes) and isinstance(scheme, bytes):
        return _code(value, scheme)
    return NO_CODE


# The same few come again and again.
@lru_cache(maxsize=1024)
def _plain(value: bytes) -> str:
    return value.decode("latin-1").replace("\0", "").strip()


@lru_cache(maxsize=4096)
def _code(value: bytes, scheme: bytes) -> Code:
    code = _plain(value), _plain(scheme)
    if code[1] in SNOMED_RT:
        return RETIRED.get(code[0], code)
    return code
