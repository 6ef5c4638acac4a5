"""Projection dose reports in full: DICOM PS3.16 TID 10001 to 10004, 10006, 10007, and 10003 with its parts A, B and C."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from dosestream.simulate.sr_codes import Code, dcm, snomed
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

PLANES: Mapping[str, str] = {"single": "113622", "A": "113620", "B": "113621"}
# CID 10001 (equipment, TID 10001 row 4): what accumulates how.
FLUOROSCOPY_GUIDED, INTEGRATED, CASSETTE = "113957", "113958", "113959"
FLUORO, STATIONARY, ROTATIONAL = snomed("fluoroscopy", "SCT"), dcm("113611"), dcm("113613")


@dataclass(frozen=True, slots=True)
class Pulses:
    """One group of pulses: kVp, tube current in mA, width and time in ms, exposure in uA.s, the filter in mm."""

    kvp: Decimal
    current: Decimal
    width: Decimal
    exposure: Decimal
    time: Decimal
    material: str
    thickness: Decimal


@dataclass(frozen=True, slots=True)
class Exposure:
    """One irradiation event: DAP in Gy.m2, dose in Gy, times in s, lengths in mm, angles in degrees."""

    uid: str
    at: int
    plane: str
    kind: Code
    protocol: str
    region: str
    dap: Decimal
    dose_rp: Decimal | None
    groups: tuple[Pulses, ...]
    duration: Decimal
    frames: int
    pulse_rate: Decimal | None
    angles: tuple[Decimal, Decimal] | None
    end_angle: Decimal | None
    source_detector: Decimal
    source_isocentre: Decimal | None
    source_reference_point: Decimal | None
    exposure_index: Decimal | None = None
    deviation_index: Decimal | None = None


def expose(
    draw: Draw, planes: Sequence[str] = ("single",), groups: int = 1, rounds: int = 1
) -> tuple[Exposure, ...]:
    """Fluoroscopy, a stationary and a rotational run in turn, in each plane at once.

    Args:
        groups: of pulses in each acquisition.
    """
    kinds = (FLUORO, STATIONARY, ROTATIONAL, FLUORO) * rounds
    exposures = []
    for kind in kinds:
        at = draw.later()
        exposures += [
            replace(_run(draw, plane, kind, 1 if kind == FLUORO else groups), at=at) for plane in planes
        ]
    return tuple(exposures)


def radiographs(draw: Draw, count: int = 2) -> tuple[Exposure, ...]:
    """Single exposures onto a detector that tells its exposure index."""
    return tuple(
        replace(
            _run(draw, "single", STATIONARY, 1),
            protocol="Chest PA", dose_rp=None, frames=1, pulse_rate=None, angles=None, end_angle=None,
            source_isocentre=None, source_reference_point=Decimal(1500),
            exposure_index=draw.decimal(120, 480, 1), deviation_index=draw.decimal(-3, 3, 1),
        )
        for _ in range(count)
    )  # fmt: skip


def _run(draw: Draw, plane: str, kind: Code, groups: int) -> Exposure:
    frames = draw.rng.randint(8, 200)
    return Exposure(
        uid=draw.uid(),
        at=draw.later(),
        plane=plane,
        kind=kind,
        protocol="FL low" if kind == FLUORO else "Coro 15 f/s",
        region="heart",
        dap=draw.decimal(200, 90_000, 0) / 10**9,
        dose_rp=draw.decimal(1_000, 900_000, 0) / 10**8,
        groups=tuple(
            Pulses(
                draw.decimal(60, 120, 1), draw.decimal(10, 300, 1), draw.decimal(2, 12, 2),
                draw.decimal(100, 200_000, 0), draw.decimal(20, 4000, 1),
                draw.rng.choice(("copper", "aluminum")), draw.decimal(0.1, 0.9, 1),
            )
            for _ in range(groups)
        ),
        duration=draw.decimal(1, 30, 1),
        frames=frames,
        pulse_rate=Decimal("7.5") if kind == FLUORO else Decimal(15),
        angles=(draw.decimal(-90, 90, 1), draw.decimal(-40, 40, 1)),
        end_angle=draw.decimal(91, 120, 1) if kind == ROTATIONAL else None,
        source_detector=draw.decimal(950, 1200, 0),
        source_isocentre=Decimal(785),
        source_reference_point=None,
    )  # fmt: skip


def procedure() -> Item:
    """TID 10001 row 2."""
    intent = modifier(snomed("has intent", "SCT"), snomed("diagnostic intent", "SCT"))
    return modifier("121058", "113704", intent, column="procedure")


def content(exposures: Sequence[Exposure], equipment: str = FLUOROSCOPY_GUIDED) -> tuple[Item, ...]:
    """Rows of TID 10001 from the equipment on; `equipment` decides which template accumulates."""
    planes = dict.fromkeys(e.plane for e in exposures)
    return (
        code("113956", equipment),
        yes_no("113945", True),
        yes_no("113943", True),
        yes_no("113944", True),
        *(_accumulated([e for e in exposures if e.plane == plane], plane, equipment) for plane in planes),
        *(_event(e) for e in exposures),
        code("113854", "113856"),
    )


def _accumulated(exposures: Sequence[Exposure], plane: str, equipment: str) -> Item:
    """TID 10002."""
    rows: list[Item] = []
    if equipment == FLUOROSCOPY_GUIDED:
        rows += _fluoroscopy_and_acquisition(exposures, plane)
    if equipment == CASSETTE:
        rows += [code("113947", "113950"), num("113731", len(exposures), "1")]
    else:
        rows += _projection(exposures, plane)
    return container("113702", modifier("113764", PLANES[plane]), _calibration(), *rows)


def _calibration() -> Item:
    """TID 10002 rows 3 to 8: a factor that a stated dose must not be multiplied by again."""
    return container(
        dcm("122505"),
        modifier("113794", "113856"),
        moment("113723", 1_700_000_000_000_000),
        num("122322", "1.07", "1"),
        num("113763", "5", "%"),
        text("113724", "Medical physics"),
    )


def _sum(exposures: Sequence[Exposure], of: Callable[[Exposure], Decimal | None]) -> Decimal:
    return sum((value for e in exposures if (value := of(e)) is not None), Decimal(0))


def _fluoroscopy_and_acquisition(exposures: Sequence[Exposure], plane: str) -> list[Item]:
    """TID 10004."""
    fluoro = [e for e in exposures if e.kind == FLUORO]
    runs = [e for e in exposures if e.kind != FLUORO]
    rows = [
        total("113726", _sum(fluoro, lambda e: e.dap), "Gy.m2", "dap", mode="fluoro", plane=plane),
        total("113728", _sum(fluoro, lambda e: e.dose_rp), "Gy", "dose_rp", mode="fluoro", plane=plane),
        total("113730", _sum(fluoro, lambda e: e.duration), "s", "fluoro_time", plane=plane),
    ]
    return (rows if fluoro else []) + [
        total("113727", _sum(runs, lambda e: e.dap), "Gy.m2", "dap", mode="acquisition", plane=plane),
        total("113729", _sum(runs, lambda e: e.dose_rp), "Gy", "dose_rp", mode="acquisition", plane=plane),
        total("113855", _sum(runs, lambda e: e.duration), "s", "acquisition_time", plane=plane),
    ]


def _projection(exposures: Sequence[Exposure], plane: str) -> list[Item]:
    """TID 10007."""
    rows = [total("113722", _sum(exposures, lambda e: e.dap), "Gy.m2", "dap", plane=plane)]
    if any(e.dose_rp is not None for e in exposures):
        rows.append(total("113725", _sum(exposures, lambda e: e.dose_rp), "Gy", "dose_rp", plane=plane))
    return [*rows, num("113731", sum(e.frames for e in exposures), "1"), code("113780", "113860")]


def _event(e: Exposure) -> Item:
    """TID 10003."""
    return container(
        "113706",
        modifier("113764", PLANES[e.plane], column="plane", answer=e.plane),
        text("113605", "Run", column="described.event_label"),
        moment("111526", e.at, column="started_at"),
        code("113721", e.kind, column="acquisition_type"),
        text("125203", e.protocol, column="protocol"),
        code("123014", snomed(e.region, "SCT"), column="target_region"),
        code("113780", "113860", column="described.reference_point"),
        uid("113769", e.uid, column="irradiation_event_uid"),
        num("122130", e.dap, "Gy.m2", column="dap_gym2"),
        *_detector(e),
        *_source(e),
        *_mechanics(e),
        role=EVENT,
        fluoroscopy=e.kind == FLUORO,
    )


def _detector(e: Exposure) -> list[Item]:
    """TID 10003A."""
    if e.exposure_index is None or e.deviation_index is None:
        return []
    return [
        num("113845", e.exposure_index, "1", column="exposure_index"),
        num("113846", "250", "1", column="measured.target_exposure_index"),
        num("113847", e.deviation_index, "1", column="deviation_index"),
    ]


def _source(e: Exposure) -> list[Item]:
    """TID 10003B."""
    fluoro = e.kind == FLUORO
    rows = [] if e.dose_rp is None else [num("113738", e.dose_rp, "Gy", column="dose_rp_gy")]
    if fluoro:
        rows.append(code("113732", "113631", column="described.fluoro_mode"))
    if e.pulse_rate is not None:
        rows.append(num("113791", e.pulse_rate, "{pulse}/s", column="pulse_rate"))
    rows.append(num("113768", e.frames, "1", column="frames"))
    rows += [num("113793", group.width, "ms", column="pulse_width_ms") for group in e.groups]
    rows.append(num("113742", e.duration, "s", column="measured.irradiation_duration_s"))
    rows += [num("113733", group.kvp, "kV", column="kvp") for group in e.groups]
    rows += [num("113734", group.current, "mA", column="tube_current_ma") for group in e.groups]
    return [
        *rows,
        *(num("113824", group.time, "ms", column="exposure_time_ms") for group in e.groups),
        *(num("113736", group.exposure, "uA.s", column="exposure_uas") for group in e.groups),
        num("113766", "0.6", "mm", column="measured.focal_spot_mm"),
        code("111632", snomed("tungsten", "SCT"), column="target"),
        *(_filter(group) for group in e.groups),
        num("113790", "0.0225", "m2", column="measured.collimated_area_m2"),
    ]


def _filter(group: Pulses) -> Item:
    return container(
        "113771",
        code("113772", "113653", column="described.filter_types"),
        code("113757", snomed(group.material, "SCT"), column="material"),
        num("113758", group.thickness, "mm", column="thickness_min_mm"),
        num("113773", group.thickness + 1, "mm", column="thickness_max_mm"),
        role=FILTER,
    )


def _mechanics(e: Exposure) -> list[Item]:
    """TID 10003C."""
    rows: list[Item] = []
    if e.angles is not None:
        rows += [
            num("112011", e.angles[0], "deg", column="primary_angle_deg"),
            num("112012", e.angles[1], "deg", column="secondary_angle_deg"),
        ]
    if e.end_angle is not None:
        rows += [
            num("113739", e.end_angle, "deg", column="measured.primary_end_angle_deg"),
            num("113740", "0", "deg", column="measured.secondary_end_angle_deg"),
        ]
    rows += [
        num("113752", "12", "mm", column="measured.table_lateral_mm"),
        num("113751", "-310", "mm", column="measured.table_longitudinal_mm"),
        num("113753", "95.5", "mm", column="measured.table_height_mm"),
    ]
    rows.append(num("113750", e.source_detector, "mm", column="source_detector_mm"))
    if e.source_reference_point is not None:
        rows.append(
            num(
                "113737",
                e.source_reference_point,
                "mm",
                column="source_patient_mm",
                also="measured.source_reference_point_mm",
            )
        )
    if e.source_isocentre is not None:
        rows.append(
            num(
                "113748",
                e.source_isocentre,
                "mm",
                column="source_patient_mm",
                also="measured.source_isocenter_mm",
            )
        )
    return rows
