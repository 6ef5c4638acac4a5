"""Patient Radiation Dose reports: DICOM PS3.16 TID 10030 (root), 10031 to 10033.

They say what dose organs are estimated to have had, of events that another report lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from dosestream.simulate.sr_codes import snomed
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import ORGAN, Item, code, composite, container, modifier, num, text

XRAY_DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
NAME = "Organ doses"
LABELS = {"quantity": "mean_absorbed", "estimate": NAME}


@dataclass(frozen=True, slots=True)
class Exposure:
    """Estimates of one irradiation: absorbed dose of each organ in mGy, made from the report `source`."""

    source: str
    at: int
    organs: tuple[tuple[str, Decimal], ...]


def expose(draw: Draw) -> tuple[Exposure, ...]:
    """Estimates for two organs."""
    organs = tuple((name, draw.decimal(2, 30, 2)) for name in ("lung", "bone marrow"))
    return (Exposure(draw.uid(), draw.later(), organs),)


def procedure() -> None:
    """TID 10030 names no procedure."""


def content(exposures: Sequence[Exposure]) -> tuple[Item, ...]:
    """Rows of TID 10030 from the estimate on."""
    return tuple(_estimate(e) for e in exposures)


def _estimate(e: Exposure) -> Item:
    """TID 10031 and its methodology, TID 10033."""
    model = container(
        "128500",
        code("128417", "128418"),
        code("128420", "128421"),
        container("128427", num("128428", 18, "a")),
    )
    return container(
        "128402",
        text("128403", NAME),
        *(_organ(name, dose) for name, dose in e.organs),
        container("128415", composite("128416", XRAY_DOSE, e.source), model),
    )


def _organ(name: str, dose: Decimal) -> Item:
    method = text("121406", "ICRP Publication 103", column="method").under("HAS PROPERTIES")
    site = modifier(snomed("finding site", "SCT"), snomed(name, "SCT"), column="organ")
    return replace(num("128533", dose, "mGy", site, method, column="dose_mgy"), role=ORGAN, labels=LABELS)
