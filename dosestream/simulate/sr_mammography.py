"""Mammography dose reports in full: DICOM PS3.16 TID 10001, 10002, 10003 with its parts, and 10005."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from dosestream.simulate.sr_codes import snomed
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import (
    EVENT,
    FILTER,
    Item,
    code,
    container,
    modifier,
    moment,
    num,
    text,
    total,
    uid,
    yes_no,
)

VIEWS = (
    ("right", "cranio-caudal"),
    ("left", "cranio-caudal"),
    ("right", "medio-lateral oblique"),
    ("left", "medio-lateral oblique"),
)
LETTER = {"left": "L", "right": "R"}


@dataclass(frozen=True, slots=True)
class Exposure:
    """One view: AGD and entrance exposure in mGy, thicknesses in mm, force in N, exposure in uA.s, time in ms."""

    uid: str
    at: int
    side: str
    view: str
    agd: Decimal
    entrance: Decimal
    thickness: int
    force: Decimal
    half_value_layer: Decimal
    kvp: int
    current: Decimal
    exposure: Decimal
    exposure_time_ms: Decimal
    target: str
    filter_material: str


def expose(draw: Draw, views: Sequence[tuple[str, str]] = VIEWS) -> tuple[Exposure, ...]:
    """The four standard views."""
    return tuple(
        Exposure(
            uid=draw.uid(), at=draw.later(), side=side, view=view,
            agd=draw.decimal(0.8, 2.8, 3), entrance=draw.decimal(3, 11, 2), thickness=draw.rng.randint(32, 81),
            force=draw.decimal(60, 160, 1), half_value_layer=draw.decimal(0.45, 0.62, 3),
            kvp=draw.rng.randint(26, 33), current=draw.decimal(90, 180, 1), exposure=draw.decimal(60_000, 200_000, 0),
            exposure_time_ms=draw.decimal(400, 1600, 0), target="tungsten",
            filter_material=draw.rng.choice(("rhodium", "silver")),
        )
        for side, view in views
    )  # fmt: skip


def procedure() -> Item:
    """TID 10001 row 2."""
    intent = modifier(snomed("has intent", "SCT"), snomed("diagnostic intent", "SCT"))
    return modifier("121058", snomed("mammography", "SCT"), intent, column="procedure")


def content(exposures: Sequence[Exposure]) -> tuple[Item, ...]:
    """Rows of TID 10001 from the availability of data on."""
    return (
        yes_no("113945", True),
        yes_no("113943", True),
        yes_no("113944", True),
        container("113702", modifier("113764", "113622"), *_breasts(exposures), code("113780", "113865")),
        *map(_event, exposures),
        code("113854", "113856"),
    )


def _breasts(exposures: Sequence[Exposure]) -> list[Item]:
    """TID 10005."""
    return [
        total(
            "111637",
            sum((e.agd for e in exposures if e.side == side), Decimal(0)),
            "mGy",
            "agd",
            modifier(snomed("laterality", "SCT"), snomed(f"{side} breast", "SCT")),
            plane="single",
            laterality=LETTER[side],
        )
        for side in dict.fromkeys(e.side for e in exposures)
    ]


def _event(e: Exposure) -> Item:
    """TID 10003, 10003A, 10003B."""
    side = modifier(
        snomed("laterality", "SCT"), snomed(e.side, "SCT"), column="laterality", answer=LETTER[e.side]
    )
    return container(
        "113706",
        modifier("113764", "113622", column="plane", answer="single"),
        moment("111526", e.at, column="started_at"),
        code("113721", "113611", column="acquisition_type"),
        text("125203", "Standard", column="protocol"),
        code("111031", snomed(e.view, "SCT"), column="view"),
        code("123014", snomed("breast", "SCT"), side, column="target_region"),
        code("113780", "113865", column="described.reference_point"),
        uid("113769", e.uid, column="irradiation_event_uid"),
        num("111631", e.agd, "mGy", column="agd_mgy"),
        num("111636", e.entrance, "mGy", column="measured.entrance_exposure_mgy"),
        num("111633", e.thickness, "mm", column="compressed_thickness_mm"),
        num("111647", e.force, "N", column="measured.compression_force_n"),
        num("111634", e.half_value_layer, "mm", column="hvl_mm"),
        code("111635", "111643", column="described.grid"),
        num("113733", e.kvp, "kV", column="kvp"),
        num("113734", e.current, "mA", column="tube_current_ma"),
        num("113824", e.exposure_time_ms, "ms", column="exposure_time_ms"),
        num("113736", e.exposure, "uA.s", column="exposure_uas"),
        num("113766", "0.3", "mm", column="measured.focal_spot_mm"),
        code("111632", snomed(e.target, "SCT"), column="target"),
        container(
            "113771",
            code("113772", "113653", column="described.filter_types"),
            code("113757", snomed(e.filter_material, "SCT"), column="material"),
            num("113758", "0.05", "mm", column="thickness_min_mm"),
            num("113773", "0.06", "mm", column="thickness_max_mm"),
            role=FILTER,
        ),
        role=EVENT,
        fluoroscopy=False,
    )
