"""Images whose headers tell the dose (DICOM PS3.3: CT, DX, CR and MG image modules): for rooms without dose reports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydicom.dataset import Dataset

from dosestream.simulate.sr_codes import dcm
from dosestream.simulate.sr_content import coded, plain, stamp
from dosestream.simulate.sr_document import Head, Plan
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import Answer
from dosestream.simulate.timeline import MINUTE


@dataclass(frozen=True, slots=True)
class Tag:
    """One number of a header: its keyword, the stored value, the column it is read into (empty: none), and what one of
    the stored unit (PS3.3 names it) is in the column's."""

    keyword: str
    value: Decimal
    column: str = ""
    worth: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of image.

    Attributes:
        numbers: what its header states of one exposure.
        words: other attributes by keyword.
        said: what must be read of them, besides the numbers.
        event_uid: it names the irradiation event (0008,3010); older equipment does not.
    """

    sop_class: str
    modality: str
    template: str
    numbers: Callable[[Draw], tuple[Tag, ...]]
    words: Mapping[str, Any]
    said: Answer
    event_uid: bool = True
    mammography: bool = False


def _ct(draw: Draw) -> tuple[Tag, ...]:
    return (
        Tag("KVP", Decimal(120), "kvp"),
        Tag("XRayTubeCurrent", draw.decimal(60, 400, 0), "tube_current_ma"),
        # Of one rotation, so it is not the exposure of the event.
        Tag("ExposureTime", Decimal(500)),
        Tag("Exposure", draw.decimal(30, 200, 0)),
        Tag("CTDIvol", draw.decimal(3, 40, 2), "ctdivol_mgy"),
        Tag("SpiralPitchFactor", draw.decimal(0.6, 1.4, 2), "pitch"),
        Tag("SingleCollimationWidth", Decimal("0.6"), "measured.single_collimation_mm"),
        Tag("TotalCollimationWidth", Decimal("38.4"), "measured.total_collimation_mm"),
        Tag("DistanceSourceToDetector", Decimal(1085), "source_detector_mm"),
        Tag("DistanceSourceToPatient", Decimal(595), "source_patient_mm"),
    )


def _projection(draw: Draw) -> tuple[Tag, ...]:
    return (
        Tag("KVP", draw.decimal(60, 125, 1), "kvp"),
        Tag("XRayTubeCurrent", draw.decimal(100, 400, 0), "tube_current_ma"),
        Tag("ExposureTime", draw.decimal(4, 300, 0), "exposure_time_ms"),
        Tag("ExposureInuAs", draw.decimal(500, 40_000, 0), "exposure_uas"),
        Tag("DistanceSourceToDetector", Decimal(1800), "source_detector_mm"),
        Tag("DistanceSourceToPatient", Decimal(1650), "source_patient_mm"),
        Tag("EntranceDoseInmGy", draw.decimal(0.05, 3, 3), "measured.entrance_dose_mgy"),
        Tag("ImageAndFluoroscopyAreaDoseProduct", draw.decimal(0.2, 30, 3), "dap_gym2", Decimal("1e-5")),
        Tag("ExposureIndex", draw.decimal(120, 480, 1), "exposure_index"),
        Tag("TargetExposureIndex", Decimal(250), "measured.target_exposure_index"),
        Tag("DeviationIndex", draw.decimal(-3, 3, 1), "deviation_index"),
    )


def _plate(draw: Draw) -> tuple[Tag, ...]:
    """A cassette knows what its reader measured, and what was typed in."""
    return (
        Tag("KVP", Decimal(81), "kvp"),
        Tag("Exposure", draw.decimal(2, 40, 0), "exposure_uas", Decimal(1000)),
        Tag("ExposureIndex", draw.decimal(120, 480, 1), "exposure_index"),
    )


def _mammogram(draw: Draw) -> tuple[Tag, ...]:
    return (
        Tag("KVP", draw.decimal(26, 33, 0), "kvp"),
        Tag("XRayTubeCurrent", draw.decimal(90, 180, 0), "tube_current_ma"),
        Tag("ExposureTime", draw.decimal(400, 1600, 0), "exposure_time_ms"),
        Tag("ExposureInuAs", draw.decimal(60_000, 200_000, 0), "exposure_uas"),
        Tag("OrganDose", draw.decimal(0.008, 0.028, 5), "agd_mgy", Decimal(100)),
        Tag("EntranceDoseInmGy", draw.decimal(3, 11, 2), "measured.entrance_dose_mgy"),
        Tag("HalfValueLayer", draw.decimal(0.45, 0.62, 3), "hvl_mm"),
        Tag("BodyPartThickness", draw.decimal(32, 81, 0), "compressed_thickness_mm"),
        Tag("CompressionForce", draw.decimal(60, 160, 1), "measured.compression_force_n"),
    )


KINDS: Final[Mapping[str, Kind]] = {
    "ct image": Kind(
        "1.2.840.10008.5.1.4.1.1.2", "CT", "10011", _ct,
        {"ProtocolName": "Thorax", "BodyPartExamined": "CHEST", "AcquisitionNumber": 2,
         "CTDIPhantomTypeCodeSequence": coded(dcm("113691"))},
        {"protocol": "Thorax", "target_region": "CHEST", "ctdi_phantom": "BODY"},
    ),
    "dx image": Kind(
        "1.2.840.10008.5.1.4.1.1.1.1", "DX", "10001", _projection,
        {"ProtocolName": "Chest PA", "BodyPartExamined": "CHEST", "ViewPosition": "PA"},
        {"protocol": "Chest PA", "target_region": "CHEST", "view": "PA"},
    ),
    "cr image": Kind(
        "1.2.840.10008.5.1.4.1.1.1", "CR", "10001", _plate, {"BodyPartExamined": "HAND"},
        {"target_region": "HAND"}, event_uid=False,
    ),
    "mg image": Kind(
        "1.2.840.10008.5.1.4.1.1.1.2", "MG", "10001", _mammogram,
        {"BodyPartExamined": "BREAST", "ImageLaterality": "L", "ViewPosition": "MLO",
         "AnodeTargetMaterial": "TUNGSTEN", "FilterMaterial": "RHODIUM", "Grid": "FOCUSED"},
        {"target_region": "BREAST", "laterality": "L", "view": "MLO", "target": "TUNGSTEN", "filters": "RHODIUM",
         "described": {"grid": "FOCUSED"}},
        mammography=True,
    ),
}  # fmt: skip
PIXELS: Final[Mapping[str, Any]] = {
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": 8, "Columns": 8,
    "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0, "PixelData": bytes(128),
}  # fmt: skip
# Numbers of binary value representation; the others are decimal strings.
BINARY: Final = frozenset(("CTDIvol", "SpiralPitchFactor", "SingleCollimationWidth", "TotalCollimationWidth"))


def plan(name: str, draw: Draw) -> Plan:
    """An image of this kind, and the one event that its header tells of."""
    kind = KINDS[name]
    numbers = kind.numbers(draw)
    at = draw.later()
    event: Answer = {"started_at": at, "sources": [], **kind.said}
    attributes: dict[str, Any] = {
        **kind.words,
        "AcquisitionDate": stamp(at).strftime("%Y%m%d"),
        "AcquisitionTime": stamp(at).strftime("%H%M%S"),
    }
    if kind.event_uid:
        event["irradiation_event_uid"] = attributes["IrradiationEventUID"] = draw.uid()
    for tag in numbers:
        attributes[tag.keyword] = float(tag.value) if tag.keyword in BINARY else plain(tag.value)
        if tag.column:
            kept, _, column = tag.column.rpartition(".")
            (event.setdefault(kept, {}) if kept else event)[column] = float(tag.value * tag.worth)
    head = Head(
        kind="image",
        sop_class=kind.sop_class,
        sop_uid=draw.uid(),
        study_uid=draw.uid(),
        series_uid=draw.uid(),
        modality=kind.modality,
        study_at=at - MINUTE,
        content_at=at,
        patient_id=f"P{draw.rng.randrange(10**6):06d}",
        accession=f"A{draw.rng.randrange(10**8):08d}",
        attributes={**attributes, **PIXELS},
    )
    said = {
        "template": kind.template,
        "source": "image",
        "fluoroscopy": False,
        "mammography": kind.mammography,
        "events": [event],
    }
    return Plan(name, head, (), said)


def item(attributes: Mapping[str, Any]) -> Dataset:
    """A sequence item of these attributes."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made
