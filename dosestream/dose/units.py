"""Units as scanners write them (UCUM, and what they take for UCUM) to the units of the dose database.

A unit is taken apart by the rules of UCUM: factors joined by `.` or `/`, each an optional metric prefix, an atom and
an optional exponent, annotations in braces. Read besides: `*`, `·`, `^` and blanks, no separator at all (`mGycm`,
`Gym2`, `mAs`), `µ`, and a few atoms as vendors spell them.
"""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from math import isfinite
from typing import Final

Dimensions = tuple[tuple[str, int], ...]

# UCUM table 1.
PREFIXES: Final[dict[str, str]] = {
    "": "1",
    "G": "1e9",
    "M": "1e6",
    "k": "1e3",
    "h": "1e2",
    "da": "1e1",
    "d": "1e-1",
    "c": "1e-2",
    "m": "1e-3",
    "u": "1e-6",
    "n": "1e-9",
    "p": "1e-12",
}
# Atoms that take a prefix: worth in base units, and these. Gray, sievert and becquerel are kinds of their own, so that no
# absorbed dose passes for an effective one.
METRIC: Final[dict[str, tuple[str, dict[str, int]]]] = {
    "Gy": ("1", {"Gy": 1}),
    "Sv": ("1", {"Sv": 1}),
    "Bq": ("1", {"Bq": 1}),
    "Ci": ("3.7e10", {"Bq": 1}),
    "m": ("1", {"m": 1}),
    "s": ("1", {"s": 1}),
    "sec": ("1", {"s": 1}),
    "Hz": ("1", {"s": -1}),
    "V": ("1", {"V": 1}),
    "Vp": ("1", {"V": 1}),
    "A": ("1", {"A": 1}),
    "C": ("1", {"A": 1, "s": 1}),
    "N": ("1", {"N": 1}),
    "Pa": ("1", {"N": 1, "m": -2}),
    "g": ("1", {"g": 1}),
    "L": ("1e-3", {"m": 3}),
    "l": ("1e-3", {"m": 3}),
    "mol": ("1", {"mol": 1}),
}
# Atoms without prefix.
PLAIN: Final[dict[str, tuple[str, dict[str, int]]]] = {
    "min": ("60", {"s": 1}),
    "h": ("3600", {"s": 1}),
    "d": ("86400", {"s": 1}),
    "RAD": ("1e-2", {"Gy": 1}),
    "REM": ("1e-2", {"Sv": 1}),
    "deg": ("1", {"deg": 1}),
    "degree": ("1", {"deg": 1}),
    "degrees": ("1", {"deg": 1}),
    "°": ("1", {"deg": 1}),
    "seconds": ("1", {"s": 1}),
    "pulse": ("1", {}),
    "pulses": ("1", {}),
    "frame": ("1", {}),
    "frames": ("1", {}),
    "fps": ("1", {"s": -1}),
    "%": ("1e-2", {}),
}
ATOMS: Final = {
    prefix + atom: (Decimal(factor) * Decimal(worth), dimensions)
    for prefix, factor in PREFIXES.items()
    for atom, (worth, dimensions) in METRIC.items()
} | {atom: (Decimal(worth), dimensions) for atom, (worth, dimensions) in PLAIN.items()}
LONGEST: Final = max(map(len, ATOMS))

# Without dimension: whatever stands there, or nothing.
PURE_NUMBER: Final = "1"
# Longer than any unit: what follows is no unit, and must not cost time.
MAX_LENGTH: Final = 40

SPELLINGS: Final = str.maketrans(
    {"*": ".", "·": ".", " ": ".", "^": None, "µ": "u", "μ": "u", "²": "2", "³": "3"}
)


class UnitError(Exception):
    """A value that cannot be brought into the wanted unit; the message says why, for the list of the unread."""


def convert(value: str, stored_unit: str, wanted_unit: str) -> float:
    """A stored decimal string in the wanted unit, rounded once.

    Raises:
        UnitError: the value is no finite number, or the unit is not known for this kind of value.
    """
    factor = None if wanted_unit == PURE_NUMBER else factor_of(stored_unit, wanted_unit)
    try:
        number = float(value) if factor is None else float(Decimal(value) * factor)
    except (ValueError, InvalidOperation) as error:
        raise UnitError(f"{value[:20]!r} is no number") from error
    if not isfinite(number):
        raise UnitError(f"{value[:20]!r} is no finite number")
    return number


def factor_of(stored_unit: str, wanted_unit: str) -> Decimal | None:
    """What one stored unit is worth in the wanted one; None where it is the same.

    Raises:
        UnitError: no unit, or none of the wanted kind.
    """
    if stored_unit == wanted_unit:
        return None
    if not stored_unit:
        raise UnitError(f"no unit, where {wanted_unit} is meant")
    factor = _factor(stored_unit, wanted_unit)
    if factor is None:
        raise UnitError(f"unit {stored_unit[:MAX_LENGTH]!r} is not known for a value in {wanted_unit}")
    return None if factor == 1 else factor


@lru_cache(maxsize=1024)
def _factor(stored_unit: str, wanted_unit: str) -> Decimal | None:
    wanted, stored = _parse(wanted_unit), _parse(stored_unit)
    assert wanted is not None, wanted_unit
    if stored is None or stored[1] != wanted[1]:
        return None
    return stored[0] / wanted[0]


def _parse(unit: str) -> tuple[Decimal, Dimensions] | None:
    """Worth in base units and dimensions; None for what is no unit."""
    text = _without_annotations(unit.translate(SPELLINGS))
    if text is None or len(text) > MAX_LENGTH:
        return None
    worth, dimensions = Decimal(1), dict[str, int]()
    for sign, term in _terms(text):
        factors = next(_factors(term), None)
        if factors is None:
            return None
        for atom, exponent in factors:
            value, of_atom = ATOMS[atom]
            worth *= value ** (sign * exponent)
            for name, power in of_atom.items():
                dimensions[name] = dimensions.get(name, 0) + sign * exponent * power
    return worth, tuple(sorted((name, power) for name, power in dimensions.items() if power))


def _terms(text: str) -> Iterator[tuple[int, str]]:
    """Terms with their sign: a solidus divides by the next term alone (UCUM section 7.4)."""
    for part in text.split("."):
        for number, term in enumerate(part.split("/")):
            if term not in ("", "1"):
                yield (-1 if number else 1), term


def _factors(term: str) -> Iterator[tuple[tuple[str, int], ...]]:
    """The ways to read a term without separators, that with the longest first atom first: `min` is a minute,
    `mGym2` milligray times square metre."""
    for length in range(min(LONGEST, len(term)), 0, -1):
        if term[:length] not in ATOMS:
            continue
        rest = term[length:]
        digits = rest[: len(rest) - len(rest.lstrip("+-0123456789"))]
        try:
            exponent = int(digits) if digits else 1
        except ValueError:
            continue
        if abs(exponent) > 3:
            continue
        rest = rest[len(digits) :]
        if not rest:
            yield ((term[:length], exponent),)
            return
        yield from (((term[:length], exponent), *others) for others in _factors(rest))


def _without_annotations(text: str) -> str | None:
    """Text outside braces; None where they do not match."""
    kept = ""
    while "{" in text:
        before, _, text = text.partition("{")
        annotation, brace, text = text.partition("}")
        if not brace:
            return None
        # `{deg}` is how some write a degree.
        kept += before + (annotation if annotation in PLAIN else "")
    return None if "}" in text else kept + text
