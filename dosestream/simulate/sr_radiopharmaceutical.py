"""Radiopharmaceutical dose reports: DICOM PS3.16 TID 10021 (root), 10022, 10023 (organ dose) and 10024."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from dosestream.simulate.sr_codes import snomed
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import (
    ADMINISTRATION,
    ORGAN,
    Item,
    code,
    container,
    modifier,
    moment,
    num,
    person,
    text,
    total,
    uid,
)
from dosestream.simulate.timeline import MINUTE

# Organ to its side.
ORGANS = (("bladder", ""), ("bone marrow", ""), ("lung", "bilateral"))
LETTER = {"bilateral": "B"}


@dataclass(frozen=True, slots=True)
class Exposure:
    """One administration: activities in MBq, organ doses in mGy, effective dose in mSv, weight in kg, height in cm."""

    uid: str
    at: int
    administered: Decimal
    assayed: Decimal
    residual: Decimal
    effective: Decimal
    organs: tuple[tuple[str, str, Decimal], ...]
    weight: Decimal
    height: Decimal


def expose(draw: Draw) -> tuple[Exposure, ...]:
    """One administration of FDG."""
    residual = draw.decimal(1, 6, 1)
    administered = draw.decimal(180, 380, 1)
    return (
        Exposure(
            uid=draw.uid(), at=draw.later(), administered=administered, assayed=administered + residual,
            residual=residual, effective=draw.decimal(3, 8, 2),
            organs=tuple((organ, side, draw.decimal(2, 30, 2)) for organ, side in ORGANS),
            weight=draw.decimal(48, 110, 1), height=draw.decimal(150, 195, 0),
        ),
    )  # fmt: skip


def procedure() -> Item:
    """TID 10021 row 2."""
    intent = modifier(snomed("has intent", "SCT"), snomed("diagnostic intent", "SCT"))
    return modifier(
        snomed("associated procedure", "SCT"), snomed("PET study", "SCT"), intent, column="procedure"
    )


def content(exposures: Sequence[Exposure]) -> tuple[Item, ...]:
    """Rows of TID 10021 from the administration on."""
    return tuple(item for e in exposures for item in (_administration(e), _patient(e)))


def _administration(e: Exposure) -> Item:
    """TID 10022."""
    agent = code(
        snomed("radiopharmaceutical agent", "SCT"),
        snomed("FDG", "SCT"),
        code(snomed("radionuclide", "SCT"), snomed("fluorine 18", "SCT"), column="radionuclide").under(
            "HAS PROPERTIES"
        ),
        num(snomed("half life", "SCT"), "6586.2", "s", column="measured.half_life_s").under("HAS PROPERTIES"),
        column="agent",
    )
    return container(
        "113502",
        agent,
        uid("113503", e.uid, column="administration_uid"),
        moment("123003", e.at, column="started_at"),
        moment("123004", e.at + MINUTE, column="ended_at"),
        total("113507", e.administered, "MBq", "administered_activity", also="activity_mbq"),
        num("123005", "1.4", "cm3", column="measured.volume_ml"),
        num("113508", e.assayed, "MBq", column="measured.pre_administration_mbq"),
        num("113509", e.residual, "MBq", column="measured.post_administration_mbq"),
        total("113839", e.effective, "mSv", "effective_dose", also="effective_dose_msv"),
        *map(_organ, e.organs),
        code(snomed("route", "SCT"), snomed("intravenous", "SCT"), column="route"),
        person("113870", "Ito^Aiko", code("113875", "113851").under("HAS PROPERTIES")),
        role=ADMINISTRATION,
    )


def _organ(organ: tuple[str, str, Decimal]) -> Item:
    """TID 10023."""
    name, side, dose = organ
    sides = (
        (
            modifier(
                snomed("laterality", "SCT"), snomed(side, "SCT"), column="laterality", answer=LETTER[side]
            ),
        )
        if side
        else ()
    )
    return container(
        "113517",
        modifier(snomed("finding site", "SCT"), snomed(name, "SCT"), column="organ"),
        *sides,
        num(
            "113518",
            dose,
            "mGy",
            text("121406", "ICRP Publication 106", column="method").under("HAS PROPERTIES"),
            column="dose_mgy",
        ),
        role=ORGAN,
        quantity="organ_dose",
    )


def _patient(e: Exposure) -> Item:
    """TID 10024."""
    return container(
        "121118",
        num("121033", "61", "a"),
        num(snomed("body height", "SCT"), e.height, "cm"),
        num(snomed("body weight", "SCT"), e.weight, "kg"),
    )
