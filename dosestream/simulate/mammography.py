"""Mammography: exposures, and the content of their dose report (DICOM PS3.16, TID 10001, 10003, 10005)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from pydicom.dataset import Dataset

from dosestream.simulate.procedures import Procedure, Room
from dosestream.simulate.sr_codes import Code, dcm, snomed
from dosestream.simulate.sr_content import code, container, moment, number, text, uid

SECOND = 1_000_000
VIEWS = (
    ("right", "cranio-caudal"),
    ("left", "cranio-caudal"),
    ("right", "medio-lateral oblique"),
    ("left", "medio-lateral oblique"),
)
COLUMNS: Mapping[str, str] = {"left": "agd_left_mgy", "right": "agd_right_mgy"}


@dataclass(frozen=True, slots=True)
class Exposure:
    """One view: average glandular dose in mGy, thicknesses in mm."""

    uid: str
    started_at: int
    protocol: str
    side: str
    view: str
    agd: Decimal
    entrance_exposure: Decimal
    compression: int
    half_value_layer: Decimal
    kvp: int
    current: int
    exposure: int


def expose(
    rng: Random, room: Room, procedure: Procedure, start: int, new_uid: Callable[[], str]
) -> tuple[Exposure, ...]:
    """The four standard views."""
    return tuple(
        Exposure(
            uid=new_uid(),
            started_at=start + index * 70 * SECOND,
            protocol=procedure.protocols[0],
            side=side,
            view=view,
            agd=Decimal(rng.randint(80, 280)) / 100,
            entrance_exposure=Decimal(rng.randint(300, 1100)) / 100,
            compression=rng.randint(32, 81),
            half_value_layer=Decimal(rng.randint(48, 62)) / 100,
            kvp=rng.randint(27, 33),
            current=rng.randint(90, 180),
            exposure=rng.randint(60_000, 200_000),
        )
        for index, (side, view) in enumerate(VIEWS)
    )


def procedure_reported(room: Room) -> Code:
    """The value of (121058, DCM)."""
    return snomed("mammography", room.dialect)


def totals(exposures: Sequence[Exposure]) -> Mapping[str, Decimal]:
    """What the report states, by column of `dose.study`, in its unit."""
    return {
        COLUMNS[side]: sum((e.agd for e in exposures if e.side == side), Decimal(0))
        for side in dict.fromkeys(e.side for e in exposures)
    }


def content(exposures: Sequence[Exposure], room: Room) -> list[Dataset]:
    """The modality's part of the report: the accumulated dose of each breast, one container a view."""
    stated = totals(exposures)
    breasts = [
        number(
            dcm("111637"),
            stated[COLUMNS[side]],
            "mGy",
            code(
                snomed("laterality", room.dialect),
                snomed(f"{side} breast", room.dialect),
                relationship="HAS CONCEPT MOD",
            ),
        )
        for side in dict.fromkeys(e.side for e in exposures)
    ]
    plane = code(dcm("113764"), dcm("113622"), relationship="HAS CONCEPT MOD")
    yes = snomed("yes", room.dialect)
    return [
        code(dcm("113945"), yes),
        code(dcm("113943"), yes),
        code(dcm("113944"), yes),
        container(dcm("113702"), plane, *breasts, code(dcm("113780"), dcm("113865"))),
        *(_event(exposure, room) for exposure in exposures),
        code(dcm("113854"), dcm("113856")),
    ]


def _event(exposure: Exposure, room: Room) -> Dataset:
    side = code(
        snomed("laterality", room.dialect),
        snomed(exposure.side, room.dialect),
        relationship="HAS CONCEPT MOD",
    )
    return container(
        dcm("113706"),
        code(dcm("113764"), dcm("113622"), relationship="HAS CONCEPT MOD"),
        moment(dcm("111526"), exposure.started_at),
        code(dcm("113721"), dcm("113611")),
        text(dcm("125203"), exposure.protocol),
        code(dcm("111031"), snomed(exposure.view, room.dialect)),
        code(dcm("123014"), snomed("breast", room.dialect), side),
        uid(dcm("113769"), exposure.uid),
        number(dcm("111631"), exposure.agd, "mGy"),
        number(dcm("111636"), exposure.entrance_exposure, "mGy"),
        number(dcm("111633"), Decimal(exposure.compression), "mm"),
        number(dcm("111634"), exposure.half_value_layer, "mm"),
        number(dcm("113733"), Decimal(exposure.kvp), "kV"),
        number(dcm("113734"), Decimal(exposure.current), "mA"),
        number(dcm("113736"), Decimal(exposure.exposure), "uA.s"),
    )
