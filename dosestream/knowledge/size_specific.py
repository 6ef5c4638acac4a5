"""Size-specific dose estimate of a CT acquisition (SSDE): CTDIvol times a factor of the patient's size.

AAPM report 204 gives the factor by effective diameter for both phantoms of CTDIvol, and the effective diameter of
a patient by lateral and anteroposterior dimension; report 220 puts the water-equivalent diameter in its place.
Both are of the trunk: for heads, whose skull absorbs more, AAPM report 293 has factors of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Final

from dosestream.events.records import IrradiationEvent

MM_IN_CM: Final = 10.0


@dataclass(frozen=True, slots=True)
class SizeSpecificDose:
    """An estimate.

    Attributes:
        dose_mgy: CTDIvol times the factor.
        diameter_mm: the diameter the factor is of.
        method: which report of the AAPM, by which size.
    """

    dose_mgy: float
    diameter_mm: float
    method: str


@dataclass(frozen=True, slots=True)
class Fit:
    """Factor of one phantom, `a` exp(-`b` d) of the diameter d in cm; its table reaches from `least` to `most` cm."""

    a: float
    b: float
    least: float
    most: float

    def factor(self, diameter_cm: float) -> float | None:
        """None beyond the table: the fit was made of nothing there."""
        if not self.least <= diameter_cm <= self.most:
            return None
        return self.a * exp(-self.b * diameter_cm)


# By phantom, as `ctdi_phantom` has it: 32 cm (AAPM 204 table 1D) and 16 cm (table 2D).
FITS: Final[Mapping[str, Fit]] = {
    "BODY": Fit(3.704369, 0.03671937, 8.0, 45.0),
    "HEAD": Fit(1.874799, 0.03871313, 6.0, 55.0),
}
# Effective diameter in cm by one dimension, each whole cm from 6 to 55 (AAPM 204 tables 2B and 2C).
FIRST_CM: Final = 6
BY_LATERAL: Final = (
    *(8.2, 8.7, 9.2, 9.7, 10.2, 10.7, 11.3, 11.8, 12.4, 13.1, 13.7, 14.3, 15.0, 15.7, 16.4, 17.2, 17.9),
    *(18.7, 19.5, 20.3, 21.1, 22.0, 22.9, 23.8, 24.7, 25.6, 26.6, 27.6, 28.6, 29.6, 30.6, 31.7, 32.7),
    *(33.8, 34.9, 36.1, 37.2, 38.4, 39.6, 40.8, 42.1, 43.3, 44.6, 45.9, 47.2, 48.5, 49.9, 51.3, 52.7, 54.1),
)
BY_AP: Final = (
    *(5.8, 7.3, 8.8, 10.2, 11.6, 13.0, 14.4, 15.7, 17.0, 18.3, 19.6, 20.8, 22.0, 23.2, 24.3, 25.5, 26.6),
    *(27.6, 28.7, 29.7, 30.7, 31.6, 32.6, 33.5, 34.4, 35.2, 36.0, 36.8, 37.6, 38.4, 39.1, 39.8, 40.4),
    *(41.1, 41.7, 42.3, 42.8, 43.4, 43.9, 44.4, 44.8, 45.2, 45.6, 46.0, 46.4, 46.7, 47.0, 47.2, 47.5, 47.7),
)


def tabulated(table: Sequence[float], dimension_cm: float) -> float | None:
    """Effective diameter in cm of one dimension, between two rows in proportion; None beyond the table."""
    at = dimension_cm - FIRST_CM
    if not 0 <= at <= len(table) - 1:
        return None
    row = min(int(at), len(table) - 2)
    return table[row] + (table[row + 1] - table[row]) * (at - row)


Sizes = Mapping[str, float]
Diameter = Callable[[Sizes], float | None]


def _stated(column: str) -> Diameter:
    return lambda sizes: sizes.get(column)


def _of_both(sizes: Sizes) -> float | None:
    lateral, ap = sizes.get("lateral_dimension_mm"), sizes.get("ap_dimension_mm")
    return None if lateral is None or ap is None or lateral <= 0 or ap <= 0 else sqrt(lateral * ap)


def _of_one(column: str, table: Sequence[float]) -> Diameter:
    def diameter(sizes: Sizes) -> float | None:
        if (dimension := sizes.get(column)) is None:
            return None
        found = tabulated(table, dimension / MM_IN_CM)
        return None if found is None else found * MM_IN_CM

    return diameter


# The best first; each says the diameter in mm where an event tells enough.
METHODS: Final[Mapping[str, Diameter]] = {
    "AAPM 220 water-equivalent diameter": _stated("water_equivalent_diameter_mm"),
    "AAPM 204 effective diameter": _stated("effective_diameter_mm"),
    "AAPM 204 lateral and AP dimension": _of_both,
    "AAPM 204 lateral dimension": _of_one("lateral_dimension_mm", BY_LATERAL),
    "AAPM 204 AP dimension": _of_one("ap_dimension_mm", BY_AP),
}


def estimate(event: IrradiationEvent) -> SizeSpecificDose | None:
    """The estimate of an event; None where its report states one, or phantom, CTDIvol or size are not known."""
    fit = FITS.get(event.ctdi_phantom)
    if fit is None or event.ctdivol_mgy is None or event.ssde_mgy is not None:
        return None
    for method, diameter_of in METHODS.items():
        diameter = diameter_of(event.measured)
        if diameter is not None and (factor := fit.factor(diameter / MM_IN_CM)) is not None:
            return SizeSpecificDose(event.ctdivol_mgy * factor, diameter, method)
    return None
