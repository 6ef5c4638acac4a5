"""Computed tomography: exposures, and the content of their dose report (DICOM PS3.16, TID 10011 to 10014)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from pydicom.dataset import Dataset

from dosestream.simulate.procedures import Procedure, Room
from dosestream.simulate.sr_codes import Code, dcm, snomed
from dosestream.simulate.sr_content import code, container, moment, number, text, uid

SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Exposure:
    """One irradiation event of a scanner: CTDIvol in mGy, DLP in mGy.cm, lengths in mm, times in s."""

    uid: str
    started_at: int
    protocol: str
    region: str
    scout: bool
    ctdivol: Decimal
    dlp: Decimal
    length: Decimal
    pitch: Decimal | None
    kvp: int
    current: int
    exposure_time: Decimal


def expose(
    rng: Random, room: Room, procedure: Procedure, start: int, new_uid: Callable[[], str]
) -> tuple[Exposure, ...]:
    """One exposure a protocol, the first of them the scout."""
    exposures = []
    at = start
    for index, protocol in enumerate(procedure.protocols):
        scout = index == 0
        ctdivol = Decimal(rng.randint(8, 20)) / 100 if scout else Decimal(rng.randint(320, 5200)) / 100
        length = Decimal(rng.randint(2500, 7000)) / 10
        exposures.append(
            Exposure(
                uid=new_uid(),
                started_at=at,
                protocol=protocol,
                region=procedure.region,
                scout=scout,
                ctdivol=ctdivol,
                dlp=(ctdivol * length / 10).quantize(Decimal("0.01")),
                length=length,
                pitch=None if scout else Decimal(rng.randint(60, 140)) / 100,
                kvp=rng.choice((80, 100, 120)),
                current=rng.randint(35, 420),
                exposure_time=Decimal(rng.randint(150, 900)) / 100,
            )
        )
        at += rng.randint(20, 90) * SECOND
    return tuple(exposures)


def procedure_reported(room: Room) -> Code:
    """The value of (121058, DCM)."""
    return snomed("computed tomography", room.dialect)


def totals(exposures: Sequence[Exposure]) -> Mapping[str, Decimal]:
    """What the report states, by column of `dose.study`, in its unit."""
    return {"ct_dlp_total_mgycm": sum((e.dlp for e in exposures), Decimal(0))}


def content(exposures: Sequence[Exposure], room: Room) -> list[Dataset]:
    """The modality's part of the report: start and end, the accumulated dose, one container an exposure."""
    last = exposures[-1]
    end = last.started_at + int(last.exposure_time * SECOND)
    accumulated = container(
        dcm("113811"),
        number(dcm("113812"), Decimal(len(exposures)), "{events}"),
        number(dcm("113813"), totals(exposures)["ct_dlp_total_mgycm"], "mGy.cm"),
    )
    return [
        moment(dcm("113809"), exposures[0].started_at),
        moment(dcm("113810"), end),
        accumulated,
        *(_acquisition(exposure, room) for exposure in exposures),
        code(dcm("113854"), dcm("113856")),
    ]


def _acquisition(exposure: Exposure, room: Room) -> Dataset:
    kind = dcm("113805") if exposure.scout else snomed("spiral", room.dialect)
    source = container(
        dcm("113831"),
        text(dcm("113832"), "A"),
        number(dcm("113733"), Decimal(exposure.kvp), "kV"),
        number(dcm("113833"), Decimal(exposure.current + 40), "mA"),
        number(dcm("113734"), Decimal(exposure.current), "mA"),
        *([] if exposure.scout else [number(dcm("113834"), Decimal("0.5"), "s")]),
    )
    parameters = [
        number(dcm("113824"), exposure.exposure_time, "s"),
        number(dcm("113825"), exposure.length, "mm"),
        number(dcm("113826"), Decimal("0.6"), "mm"),
        number(dcm("113827"), Decimal("38.4"), "mm"),
    ]
    if exposure.pitch is not None:
        parameters.append(number(dcm("113828"), exposure.pitch, "{ratio}"))
    parameters += [number(dcm("113823"), Decimal(1), "{X-Ray sources}"), source]
    phantom = dcm("113690" if exposure.region == "head" else "113691")
    dose = container(
        dcm("113829"),
        number(dcm("113830"), exposure.ctdivol, "mGy"),
        code(dcm("113835"), phantom),
        number(dcm("113838"), exposure.dlp, "mGy.cm"),
    )
    return container(
        dcm("113819"),
        text(dcm("125203"), exposure.protocol),
        code(dcm("123014"), snomed(exposure.region, room.dialect)),
        code(dcm("113820"), kind),
        uid(dcm("113769"), exposure.uid),
        container(dcm("113822"), *parameters),
        dose,
    )
