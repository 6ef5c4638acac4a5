"""Units as scanners write them (UCUM, and what they take for UCUM) to the units of the dose database."""

from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Final

# Target unit to what a stored unit of the same kind is worth in it. Keys of the inner tables are spelled
# without separators (`.`, `*`, `^`, blank), so `Gy.m2`, `Gym2` and `Gy*m2` are one.
FACTORS: Final[dict[str, dict[str, str]]] = {
    "Gy.m2": {
        "Gym2": "1",
        "mGym2": "1e-3",
        "uGym2": "1e-6",
        "Gycm2": "1e-4",
        "dGycm2": "1e-5",
        "cGycm2": "1e-6",
        "mGycm2": "1e-7",
        "uGycm2": "1e-10",
    },
    "Gy": {"Gy": "1", "dGy": "1e-1", "cGy": "1e-2", "mGy": "1e-3", "uGy": "1e-6"},
    "mGy": {"mGy": "1", "Gy": "1e3", "dGy": "1e2", "cGy": "1e1", "uGy": "1e-3"},
    "mGy.cm": {"mGycm": "1", "Gycm": "1e3", "cGycm": "1e1", "uGycm": "1e-3", "mGymm": "1e-1", "mGym": "1e2"},
    "s": {"s": "1", "ms": "1e-3", "us": "1e-6", "min": "60", "h": "3600"},
    "ms": {"ms": "1", "s": "1e3", "us": "1e-3"},
    "kV": {"kV": "1", "kVp": "1", "V": "1e-3"},
    "mA": {"mA": "1", "uA": "1e-3", "A": "1e3"},
    "uA.s": {"uAs": "1", "mAs": "1e3", "As": "1e6"},
    "mm": {"mm": "1", "cm": "1e1", "m": "1e3", "um": "1e-3", "dm": "1e2"},
    "deg": {"deg": "1", "{deg}": "1", "degrees": "1"},
    "/s": {
        "/s": "1",
        "1/s": "1",
        "{pulse}/s": "1",
        "{pulses}/s": "1",
        "{frame}/s": "1",
        "Hz": "1",
        "s-1": "1",
    },
    "MBq": {
        "MBq": "1",
        "kBq": "1e-3",
        "GBq": "1e3",
        "Bq": "1e-6",
        "mCi": "37",
        "uCi": "0.037",
        "Ci": "37000",
    },
    "mSv": {"mSv": "1", "Sv": "1e3", "uSv": "1e-3"},
}

# Without dimension: whatever annotation stands there, or none.
PURE_NUMBER: Final = "1"

SEPARATORS: Final = str.maketrans(
    {".": None, "*": None, "^": None, " ": None, "·": None, "µ": "u", "μ": "u", "²": "2"}
)


class UnitError(Exception):
    """A value that cannot be brought into the wanted unit; the message says why, for the list of the unread."""


def convert(value: str, stored_unit: str, wanted_unit: str) -> float:
    """A stored decimal string in the wanted unit, rounded once.

    Raises:
        UnitError: the value is no finite number, or the unit is not known for this kind of value.
    """
    factor = "1" if wanted_unit == PURE_NUMBER else _factor(stored_unit, wanted_unit)
    try:
        number = float(value) if factor == "1" else float(Decimal(value) * Decimal(factor))
    except (ValueError, InvalidOperation) as error:
        raise UnitError(f"{value[:20]!r} is no number") from error
    if not isfinite(number):
        raise UnitError(f"{value[:20]!r} is no finite number")
    return number


def _factor(stored_unit: str, wanted_unit: str) -> str:
    factors = FACTORS[wanted_unit]
    factor = factors.get(stored_unit.translate(SEPARATORS))
    if factor is None:
        if not stored_unit:
            raise UnitError(f"no unit, where {wanted_unit} is meant")
        raise UnitError(f"unit {stored_unit!r} is not known for a value in {wanted_unit}")
    return factor
