"""CT dose reports in full: DICOM PS3.16 TID 10011 (root), 10012, 10013, 10014 and 10015 (dose check)."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from dosestream.simulate.sr_codes import Code, dcm, snomed
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import (
    CHECK,
    EVENT,
    SOURCE,
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
    yes_no,
)
from dosestream.simulate.timeline import SECOND

PHANTOMS = {"HEAD": "113690", "BODY": "113691"}
# CID 10013.
CONSTANT_ANGLE, SPIRAL, SEQUENCED = dcm("113805"), snomed("spiral", "SCT"), dcm("113804")


@dataclass(frozen=True, slots=True)
class Tube:
    """One X-ray source: kVp, tube currents in mA, time of a rotation in s (None where nothing rotates)."""

    name: str
    kvp: int
    current_maximum: int
    current: Decimal
    rotation: Decimal | None


@dataclass(frozen=True, slots=True)
class Check:
    """Dose check (NEMA XR 25): values configured, None where none is; forward estimates, None where not exceeded."""

    kind: str
    dlp: Decimal | None
    ctdivol: Decimal | None
    dlp_estimate: Decimal | None
    ctdivol_estimate: Decimal | None
    reason: str = ""
    person: str = ""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One irradiation event: lengths and positions in mm, times in s, CTDIvol and SSDE in mGy, DLP in mGy.cm."""

    uid: str
    at: int
    protocol: str
    region: str
    kind: Code
    length: Decimal
    top: Decimal
    exposure_time: Decimal
    pitch: Decimal | None
    tubes: tuple[Tube, ...]
    ctdivol: Decimal
    phantom: str
    dlp: Decimal
    ssde: Decimal | None = None
    effective_diameter: Decimal | None = None
    checks: tuple[Check, ...] = ()


def expose(
    draw: Draw, regions: Sequence[str] = ("chest",), tubes: int = 1, checked: bool = False
) -> tuple[Exposure, ...]:
    """A localizer and a spiral of each region, then a sequenced one of the last region.

    Args:
        tubes: sources that the spirals use at once.
        checked: the last exposure exceeds what dose check was told to alert at.
    """
    kinds = [step for region in regions for step in ((CONSTANT_ANGLE, region), (SPIRAL, region))]
    exposures = [_exposure(draw, kind, region, tubes) for kind, region in (*kinds, (SEQUENCED, regions[-1]))]
    if checked:
        exposures[-2:] = [
            _checked(draw, one, exceeded) for one, exceeded in zip(exposures[-2:], (False, True), strict=True)
        ]
    return tuple(exposures)


def _exposure(draw: Draw, kind: Code, region: str, tubes: int) -> Exposure:
    still = kind == CONSTANT_ANGLE
    ctdivol = draw.decimal(0.08, 0.2, 3) if still else draw.decimal(3, 52, 2)
    length = draw.decimal(120, 700, 1)
    return Exposure(
        uid=draw.uid(),
        at=draw.later(),
        protocol="Topogram" if still else f"{region.title()}Routine",
        region=region,
        kind=kind,
        length=length,
        top=draw.decimal(-100, 100, 1),
        exposure_time=draw.decimal(1.5, 9, 2),
        pitch=draw.decimal(0.6, 1.4, 2) if kind == SPIRAL else None,
        tubes=tuple(
            Tube(
                name, draw.rng.choice((80, 100, 120)) + 50 * number, draw.rng.randint(460, 700), draw.decimal(35, 420, 1),
                None if still else draw.rng.choice((Decimal("0.25"), Decimal("0.5"))),
            )
            for number, name in enumerate("AB"[: 1 if still else tubes])
        ),
        ctdivol=ctdivol,
        phantom="HEAD" if region == "head" else "BODY",
        dlp=(ctdivol * length / 10).quantize(Decimal("0.01")),
        ssde=None if still or region == "head" else draw.decimal(4, 60, 2),
        effective_diameter=draw.decimal(180, 340, 1),
    )  # fmt: skip


def _checked(draw: Draw, one: Exposure, exceeded: bool) -> Exposure:
    limit = draw.decimal(900, 1000, 1)
    return Exposure(
        **{name: getattr(one, name) for name in one.__slots__ if name != "checks"},
        checks=(
            Check(
                "alert", limit, None if not exceeded else Decimal(60), limit + 120 if exceeded else None,
                Decimal("71.5") if exceeded else None,
                "Trauma, whole body" if exceeded else "", "Ito^Aiko" if exceeded else "",
            ),
            Check(
                "notification", None, Decimal(40), None, Decimal("44.25") if exceeded else None,
                "Patient is large" if exceeded else "", "Ito^Aiko" if exceeded else "",
            ),
        ),
    )  # fmt: skip


def content(exposures: Sequence[Exposure]) -> tuple[Item, ...]:
    """Rows of TID 10011 from start of irradiation on."""
    last = exposures[-1]
    return (
        moment("113809", exposures[0].at, column="started_at"),
        moment("113810", last.at + int(last.exposure_time * SECOND), column="ended_at"),
        _accumulated(exposures),
        *map(_acquisition, exposures),
        code("113854", "113856"),
    )


def procedure() -> Item:
    """TID 10011 row 2."""
    intent = modifier(snomed("has intent", "SCT"), snomed("diagnostic intent", "SCT"))
    return modifier("121058", snomed("computed tomography", "SCT"), intent, column="procedure")


def _accumulated(exposures: Sequence[Exposure]) -> Item:
    """TID 10012; the sub-totals of row 3a only where the phantoms differ."""
    phantoms = dict.fromkeys(e.phantom for e in exposures)
    parts = [
        total(
            "130745",
            sum((e.dlp for e in exposures if e.phantom == phantom), Decimal(0)),
            "mGy.cm",
            "ct_dlp",
            modifier("113835", PHANTOMS[phantom]),
            phantom=phantom,
            part_of="113813",
        )
        for phantom in (phantoms if len(phantoms) > 1 else ())
    ]
    whole = sum((e.dlp for e in exposures), Decimal(0))
    return container(
        "113811",
        num("113812", len(exposures), "{events}", column="events_stated"),
        total("113813", whole, "mGy.cm", "ct_dlp"),
        *parts,
    )


def _acquisition(e: Exposure) -> Item:
    """TID 10013."""
    pitch = (num("113828", e.pitch, "{ratio}", column="pitch"),) if e.pitch is not None else ()
    return container(
        "113819",
        text("125203", e.protocol, column="protocol"),
        code("123014", snomed(e.region, "SCT"), column="target_region"),
        code("113820", e.kind, column="acquisition_type"),
        uid("113769", e.uid, column="irradiation_event_uid"),
        moment("111526", e.at, column="started_at"),
        container(
            "113822",
            num("113824", e.exposure_time, "s", column="exposure_time_ms"),
            *_lengths(e),
            num("113826", "0.6", "mm", column="measured.single_collimation_mm"),
            num("113827", "38.4", "mm", column="measured.total_collimation_mm"),
            *pitch,
            num("113823", len(e.tubes), "{X-Ray sources}", column="measured.xray_source_count"),
            *map(_tube, e.tubes),
        ),
        _dose(e),
        text("113842", "XYZ_EC", column="described.modulation"),
        text("121106", "Organ Characteristic = Abdomen", column="described.comment"),
        role=EVENT,
    )


def _lengths(e: Exposure) -> list[Item]:
    """TID 10014."""
    return [
        num("113825", e.length, "mm", column="scan_length_mm"),
        num("113893", e.length - 10, "mm", column="measured.reconstructable_length_mm"),
        num("113895", e.top - 5, "mm", column="measured.reconstructable_top_mm"),
        num("113896", e.top - e.length + 5, "mm", column="measured.reconstructable_bottom_mm"),
        num("113897", e.top, "mm", column="measured.scan_top_mm"),
        num("113898", e.top - e.length, "mm", column="measured.scan_bottom_mm"),
    ]


def _tube(tube: Tube) -> Item:
    rotation = (
        (num("113834", tube.rotation, "s", column="measured.rotation_time_ms"),)
        if tube.rotation is not None
        else ()
    )
    return container(
        "113831",
        text("113832", tube.name, column="identification"),
        num("113733", tube.kvp, "kV", column="kvp"),
        num("113833", tube.current_maximum, "mA", column="measured.tube_current_max_ma"),
        num("113734", tube.current, "mA", column="tube_current_ma"),
        *rotation,
        num("113821", "6.5", "mm", column="measured.filter_aluminium_mm"),
        role=SOURCE,
    )


def _dose(e: Exposure) -> Item:
    sizes: tuple[Item, ...] = ()
    if e.ssde is not None and e.effective_diameter is not None:
        method = modifier(snomed("measurement method", "SCT"), "113987", column="described.ssde_method")
        sizes = (
            num(
                "113930",
                e.ssde,
                "mGy",
                method,
                num(
                    "113980", e.effective_diameter, "mm", column="measured.water_equivalent_diameter_mm"
                ).under("INFERRED FROM"),
                column="ssde_mgy",
            ),
        )
    return container(
        "113829",
        num("113830", e.ctdivol, "mGy", column="ctdivol_mgy"),
        code("113835", PHANTOMS[e.phantom], column="ctdi_phantom", answer=e.phantom),
        num("113838", e.dlp, "mGy.cm", column="dlp_mgycm"),
        *sizes,
        *map(_check, e.checks),
    )


# TID 10015: what it says to the code of an alert and of a notification.
CHECK_CODES = {
    "alert": ("113900", "113901", "113902", "113903", "113904", "113905", "113906"),
    "notification": ("113908", "113909", "113910", "113911", "113912", "113913", "113914"),
}


def _check(check: Check) -> Item:
    whole, dlp_set, ctdi_set, dlp, ctdi, dlp_ahead, ctdi_ahead = CHECK_CODES[check.kind]
    numbers = (
        (dlp, check.dlp, "mGy.cm", "dlp_value_mgycm"),
        (ctdi, check.ctdivol, "mGy", "ctdivol_value_mgy"),
        (dlp_ahead, check.dlp_estimate, "mGy.cm", "dlp_estimate_mgycm"),
        (ctdi_ahead, check.ctdivol_estimate, "mGy", "ctdivol_estimate_mgy"),
    )
    who = (
        text("113907", check.reason, column="reason"),
        person("113870", check.person, code("113875", "113850").under("HAS PROPERTIES"), column="person"),
    )
    return container(
        whole,
        yes_no(dlp_set, check.dlp is not None, column="dlp_configured"),
        yes_no(ctdi_set, check.ctdivol is not None, column="ctdivol_configured"),
        *(num(concept, value, unit, column=column) for concept, value, unit, column in numbers if value is not None),
        *(who if check.reason else ()),
        role=CHECK,
        kind=check.kind,
    )  # fmt: skip
