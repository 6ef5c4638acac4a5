"""Projection X-ray: exposures, and the content of their dose report (DICOM PS3.16, TID 10001 to 10004, 10007)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from pydicom.dataset import Dataset

from dosestream.simulate.procedures import Procedure, Room
from dosestream.simulate.sr_codes import Code, dcm, snomed
from dosestream.simulate.sr_content import code, container, moment, number, text, uid

SECOND = 1_000_000
PLANES: Mapping[str, str] = {"single": "113622", "A": "113620", "B": "113621"}
# Unit as written to how many of it make one Gy.m2, or one Gy.
DAP_UNITS: Mapping[str, Decimal] = {"Gy.m2": Decimal(1), "Gym2": Decimal(1), "dGy.cm2": Decimal(100_000)}
DOSE_RP_UNITS: Mapping[str, Decimal] = {"Gy": Decimal(1), "mGy": Decimal(1000)}


@dataclass(frozen=True, slots=True)
class Exposure:
    """One press of the pedal in one plane: DAP in Gy.m2, dose at the reference point in Gy, duration in s."""

    uid: str
    started_at: int
    plane: str
    protocol: str
    region: str
    fluoroscopy: bool
    dap: Decimal
    dose_rp: Decimal
    duration: Decimal
    pulse_rate: Decimal
    pulses: int
    kvp: int
    current: int
    primary_angle: Decimal
    secondary_angle: Decimal


def expose(
    rng: Random, room: Room, procedure: Procedure, start: int, new_uid: Callable[[], str]
) -> tuple[Exposure, ...]:
    """Fluoroscopy and runs in turn; a cath lab irradiates both planes at once now and then."""
    biplane = room.modality == "XA" and rng.random() < 0.6
    exposures = []
    at = start
    for index in range(rng.randint(3, 7)):
        fluoroscopy = index % 3 != 2
        protocol = procedure.protocols[0] if fluoroscopy else rng.choice(procedure.protocols[1:])
        for plane in ("A", "B") if biplane else ("single",):
            duration = Decimal(rng.randint(8, 300)) / 10
            rate = Decimal("7.5") if fluoroscopy else Decimal(15)
            exposures.append(
                Exposure(
                    uid=new_uid(),
                    started_at=at,
                    plane=plane,
                    protocol=protocol,
                    region=procedure.region,
                    fluoroscopy=fluoroscopy,
                    dap=Decimal(rng.randint(200, 90_000)) / 10**9,
                    dose_rp=Decimal(rng.randint(1_000, 900_000)) / 10**8,
                    duration=duration,
                    pulse_rate=rate,
                    pulses=int(duration * rate),
                    kvp=rng.randint(60, 120),
                    current=rng.randint(10, 300),
                    primary_angle=Decimal(rng.randint(-900, 900)) / 10,
                    secondary_angle=Decimal(rng.randint(-400, 400)) / 10,
                )
            )
        at += rng.randint(40, 120) * SECOND
    return tuple(exposures)


def procedure_reported(room: Room) -> Code:
    """The value of (121058, DCM)."""
    return dcm("113704")


@dataclass(frozen=True, slots=True)
class PlaneTotals:
    """What a scanner states for one plane: rounded as scanners do, so not quite the sum of its events."""

    plane: str
    dap: Decimal
    dap_fluoroscopy: Decimal
    dose_rp: Decimal
    dose_rp_fluoroscopy: Decimal
    time_fluoroscopy: Decimal
    time_acquisition: Decimal
    frames: int
    has_fluoroscopy: bool


def plane_totals(exposures: Sequence[Exposure]) -> list[PlaneTotals]:
    """One total a plane, in the order the planes appear."""

    def add(plane: str, of: Callable[[Exposure], Decimal], step: str, fluoroscopy: bool | None) -> Decimal:
        chosen = [e for e in exposures if e.plane == plane and fluoroscopy in (None, e.fluoroscopy)]
        return sum((of(e) for e in chosen), Decimal(0)).quantize(Decimal(step))

    return [
        PlaneTotals(
            plane=plane,
            dap=add(plane, lambda e: e.dap, "0.00000001", None),
            dap_fluoroscopy=add(plane, lambda e: e.dap, "0.00000001", True),
            dose_rp=add(plane, lambda e: e.dose_rp, "0.00001", None),
            dose_rp_fluoroscopy=add(plane, lambda e: e.dose_rp, "0.00001", True),
            time_fluoroscopy=add(plane, lambda e: e.duration, "0.1", True),
            time_acquisition=add(plane, lambda e: e.duration, "0.1", False),
            frames=sum(e.pulses for e in exposures if e.plane == plane and not e.fluoroscopy),
            has_fluoroscopy=any(e.fluoroscopy for e in exposures if e.plane == plane),
        )
        for plane in dict.fromkeys(e.plane for e in exposures)
    ]


def totals(exposures: Sequence[Exposure]) -> Mapping[str, Decimal]:
    """What the report states, added over the planes, by column of `dose.study`, in its unit."""
    planes = plane_totals(exposures)
    columns = {
        "dap_total_gym2": sum((p.dap for p in planes), Decimal(0)),
        "dose_rp_total_gy": sum((p.dose_rp for p in planes), Decimal(0)),
    }
    if any(p.has_fluoroscopy for p in planes):
        columns["fluoro_time_s"] = sum((p.time_fluoroscopy for p in planes if p.has_fluoroscopy), Decimal(0))
    return columns


def content(exposures: Sequence[Exposure], room: Room) -> list[Dataset]:
    """The modality's part of the report: the accumulated dose of each plane, one container an exposure."""
    yes = snomed("yes", room.dialect)
    return [
        code(dcm("113945"), yes),
        code(dcm("113943"), yes),
        code(dcm("113944"), yes),
        *(_accumulated(plane, room) for plane in plane_totals(exposures)),
        *(_event(exposure, room) for exposure in exposures),
        code(dcm("113854"), dcm("113856")),
    ]


def _dap(value: Decimal, room: Room) -> tuple[Decimal, str]:
    return value * DAP_UNITS[room.dap_unit], room.dap_unit


def _dose_rp(value: Decimal, room: Room) -> tuple[Decimal, str]:
    return value * DOSE_RP_UNITS[room.dose_rp_unit], room.dose_rp_unit


def _plane(plane: str) -> Dataset:
    return code(dcm("113764"), dcm(PLANES[plane]), relationship="HAS CONCEPT MOD")


def _accumulated(plane: PlaneTotals, room: Room) -> Dataset:
    items = [
        number(dcm("113722"), *_dap(plane.dap, room)),
        number(dcm("113725"), *_dose_rp(plane.dose_rp, room)),
    ]
    if plane.has_fluoroscopy:
        items += [
            number(dcm("113726"), *_dap(plane.dap_fluoroscopy, room)),
            number(dcm("113728"), *_dose_rp(plane.dose_rp_fluoroscopy, room)),
            number(dcm("113730"), plane.time_fluoroscopy, "s"),
        ]
    items += [
        number(dcm("113727"), *_dap(plane.dap - plane.dap_fluoroscopy, room)),
        number(dcm("113729"), *_dose_rp(plane.dose_rp - plane.dose_rp_fluoroscopy, room)),
        number(dcm("113855"), plane.time_acquisition, "s"),
        number(dcm("113731"), Decimal(plane.frames), "1"),
        code(dcm("113780"), dcm("113860")),
    ]
    return container(dcm("113702"), _plane(plane.plane), *items)


def _event(exposure: Exposure, room: Room) -> Dataset:
    kind = snomed("fluoroscopy", room.dialect) if exposure.fluoroscopy else dcm("113611")
    mode = [code(dcm("113732"), dcm("113631"))] if exposure.fluoroscopy else []
    pulse = Decimal("6.2")
    return container(
        dcm("113706"),
        _plane(exposure.plane),
        moment(dcm("111526"), exposure.started_at),
        code(dcm("113721"), kind),
        text(dcm("125203"), exposure.protocol),
        code(dcm("123014"), snomed(exposure.region, room.dialect)),
        code(dcm("113780"), dcm("113860")),
        uid(dcm("113769"), exposure.uid),
        number(dcm("122130"), *_dap(exposure.dap, room)),
        number(dcm("113738"), *_dose_rp(exposure.dose_rp, room)),
        number(dcm("112011"), exposure.primary_angle, "deg"),
        number(dcm("112012"), exposure.secondary_angle, "deg"),
        *mode,
        number(dcm("113791"), exposure.pulse_rate, "{pulse}/s"),
        number(dcm("113768"), Decimal(exposure.pulses), "1"),
        number(dcm("113733"), Decimal(exposure.kvp), "kV"),
        number(dcm("113734"), Decimal(exposure.current), "mA"),
        number(dcm("113793"), pulse, "ms"),
        number(dcm("113736"), exposure.current * pulse * exposure.pulses, "uA.s"),
        number(dcm("113742"), exposure.duration, "s"),
        number(dcm("113750"), Decimal(1100), "mm"),
        number(dcm("113748"), Decimal(785), "mm"),
    )
