"""Diagnostic reference levels (ICRP 135): which studies or irradiations each is of, and the value to compare with."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Final

from dosestream.dose.units import UnitError, convert
from dosestream.knowledge.quantities import QUANTITIES

Mistakes = list[tuple[tuple[str, ...], str]]


@dataclass(frozen=True, slots=True)
class ReferenceLevelSettings:
    """One level; what is left out selects everything. In patterns `*` stands for any text, `?` for one character.

    Attributes:
        name: what comparisons are told under.
        modality: of the study, such as CT.
        procedure_code: pattern of the study's procedure code.
        protocol: pattern of the protocol of an irradiation: of each one, for a quantity of irradiations; of any of
            the study, for one of studies.
        age_from, age_to: years; from the first, below the second.
        weight_from, weight_to: kg; the same.
        quantity: one of `QUANTITIES`.
        value, unit: the level; any unit of that quantity.
        source: who set it.
    """

    name: str = ""
    modality: str = ""
    procedure_code: str = ""
    protocol: str = ""
    age_from: float = 0.0
    age_to: float = inf
    weight_from: float = 0.0
    weight_to: float = inf
    quantity: str = ""
    value: float = 0.0
    unit: str = ""
    source: str = ""


BANDS: Final = (("age_from", "age_to"), ("weight_from", "weight_to"))


def in_unit_of_quantity(level: ReferenceLevelSettings) -> float:
    """The level in the unit of its quantity.

    Raises:
        UnitError: its unit is none of that quantity.
    """
    return convert(repr(level.value), level.unit, QUANTITIES[level.quantity].unit)


def mistakes(level: ReferenceLevelSettings) -> Mistakes:
    """What is wrong with a level: its key and a sentence for each mistake."""
    found: Mistakes = []
    if not level.name:
        found.append((("name",), "a reference level needs a 'name'"))
    if not isfinite(level.value) or level.value <= 0:
        found.append((("value",), f"'value' is {level.value:g}, but must be a number above 0"))
    if level.quantity not in QUANTITIES:
        # One that is written and unknown is told by its choices.
        if not level.quantity:
            found.append((("quantity",), f"needs a 'quantity': one of {', '.join(QUANTITIES)}"))
    elif isfinite(level.value):
        try:
            in_unit_of_quantity(level)
        except UnitError as error:
            found.append((("unit",), f"{error}"))
    found += [
        ((above,), f"{above!r} must be above {below!r}, which is 0 or more")
        for below, above in BANDS
        if not 0 <= getattr(level, below) < getattr(level, above)
    ]
    return found


def like(pattern: str) -> str | None:
    """A pattern as SQL's LIKE has it, with a backslash for escape; None for none."""
    if not pattern:
        return None
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def row(number: int, level: ReferenceLevelSettings) -> dict[str, object]:
    """The level as its table has it: value in the unit of its quantity, NULL for what selects everything."""
    bands = {key: getattr(level, key) for pair in BANDS for key in pair}
    return {
        "number": number,
        "name": level.name,
        "modality": level.modality or None,
        "procedure_code": level.procedure_code or None,
        "procedure_like": like(level.procedure_code),
        "protocol": level.protocol or None,
        "protocol_like": like(level.protocol),
        **{key: value if value not in (0.0, inf) else None for key, value in bands.items()},
        "quantity": level.quantity,
        "value": in_unit_of_quantity(level),
        "unit": QUANTITIES[level.quantity].unit,
        "source": level.source or None,
    }
