"""Size-specific dose against the tables of AAPM report 204."""

from dataclasses import dataclass

import pytest

from dosestream.events.records import IrradiationEvent
from dosestream.knowledge.size_specific import BY_AP, BY_LATERAL, FITS, estimate, tabulated

# Diameter in cm and factor to two places, as printed in tables 1D (32 cm phantom) and 2D (16 cm phantom).
PRINTED = {
    "BODY": {
        8: 2.76,
        10: 2.57,
        15: 2.14,
        20: 1.78,
        22: 1.65,
        25: 1.48,
        30: 1.23,
        35: 1.02,
        40: 0.85,
        45: 0.71,
    },
    "HEAD": {
        6: 1.49,
        8: 1.38,
        12: 1.18,
        16: 1.01,
        20: 0.86,
        24: 0.74,
        30: 0.59,
        40: 0.40,
        50: 0.27,
        55: 0.22,
    },
}


@pytest.mark.parametrize(
    ("phantom", "diameter", "factor"),
    [(phantom, diameter, factor) for phantom, table in PRINTED.items() for diameter, factor in table.items()],
)
def test_the_factor_is_the_printed_one(phantom: str, diameter: float, factor: float) -> None:
    assert FITS[phantom].factor(diameter) == pytest.approx(factor, abs=0.0051)


@pytest.mark.parametrize(
    ("dimension", "lateral", "ap"), [(6, 8.2, 5.8), (20, 16.4, 24.3), (32.5, 27.1, 36.4), (55, 54.1, 47.7)]
)
def test_one_dimension_gives_the_printed_effective_diameter(
    dimension: float, lateral: float, ap: float
) -> None:
    assert tabulated(BY_LATERAL, dimension) == pytest.approx(lateral)
    assert tabulated(BY_AP, dimension) == pytest.approx(ap)


@pytest.mark.parametrize("dimension", [0.0, 5.9, 55.1, 1e9, -3.0])
def test_beyond_the_table_nothing_is_said(dimension: float) -> None:
    assert tabulated(BY_LATERAL, dimension) is None


@dataclass(frozen=True)
class Case:
    sizes: dict[str, float]
    dose_mgy: float | None
    diameter_mm: float | None = None
    method: str | None = None
    phantom: str = "BODY"
    ctdivol_mgy: float | None = 10.0
    stated_mgy: float | None = None


WED, EFFECTIVE = "water_equivalent_diameter_mm", "effective_diameter_mm"
LATERAL, AP = "lateral_dimension_mm", "ap_dimension_mm"
CASES = {
    "a child in the 32 cm phantom, by water-equivalent diameter": Case(
        {WED: 150.0}, 21.35, 150.0, "AAPM 220 water-equivalent diameter"
    ),
    "water comes before the outline": Case(
        {WED: 300.0, EFFECTIVE: 200.0, LATERAL: 350.0, AP: 220.0},
        12.31,
        300.0,
        "AAPM 220 water-equivalent diameter",
    ),
    "a stated effective diameter comes before dimensions": Case(
        {EFFECTIVE: 220.0, LATERAL: 350.0, AP: 220.0}, 16.52, 220.0, "AAPM 204 effective diameter"
    ),
    "of both dimensions the geometric mean": Case(
        {LATERAL: 360.0, AP: 250.0}, 12.31, 300.0, "AAPM 204 lateral and AP dimension"
    ),
    "the lateral dimension alone, by its table": Case(
        {LATERAL: 320.0}, 13.95, 266.0, "AAPM 204 lateral dimension"
    ),
    "the AP dimension alone, by its table": Case({AP: 220.0}, 13.95, 266.0, "AAPM 204 AP dimension"),
    "the 16 cm phantom has its own factors": Case(
        {WED: 160.0}, 10.09, 160.0, "AAPM 220 water-equivalent diameter", phantom="HEAD"
    ),
    "a diameter that no patient has gives way to the next size": Case(
        {WED: 3000.0, EFFECTIVE: 220.0}, 16.52, 220.0, "AAPM 204 effective diameter"
    ),
    "no size": Case({}, None),
    "sizes of nothing": Case({LATERAL: 0.0, AP: 0.0}, None),
    "no phantom": Case({WED: 300.0}, None, phantom=""),
    "a phantom of another size": Case({WED: 300.0}, None, phantom="IEC Whole Body"),
    "no CTDIvol": Case({WED: 300.0}, None, ctdivol_mgy=None),
    "a report that states one": Case({WED: 300.0}, None, stated_mgy=12.0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_estimate(case: Case) -> None:
    event = IrradiationEvent(
        irradiation_event_uid="1",
        ctdivol_mgy=case.ctdivol_mgy,
        ctdi_phantom=case.phantom,
        measured=case.sizes,
        ssde_mgy=case.stated_mgy,
    )
    found = estimate(event)
    if case.dose_mgy is None:
        assert found is None
    else:
        assert found is not None
        assert found.dose_mgy == pytest.approx(case.dose_mgy, abs=0.006)
        assert found.diameter_mm == pytest.approx(case.diameter_mm)
        assert found.method == case.method
