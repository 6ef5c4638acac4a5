"""Modality Performed Procedure Steps that tell the dose (DICOM PS3.3 C.4.13 to C.4.16): what rooms without dose
reports say when they are done. Written as files of the step's attributes, as N-CREATE and N-SET leave them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from pydicom.sequence import Sequence as Items

from dosestream.simulate.image_headers import item
from dosestream.simulate.sr_codes import dcm
from dosestream.simulate.sr_content import coded, plain, stamp
from dosestream.simulate.sr_document import Head, Plan
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import Answer
from dosestream.simulate.timeline import MINUTE

PERFORMED_STEP: Final = "1.2.840.10008.3.1.2.3.3"
PROTOCOL: Final = "Examination protocol"
# What one dGy.cm2 is in Gy.m2.
AREA_DOSE: Final = Decimal("1e-5")

Told = tuple[dict[str, Any], Answer]


def _fluoroscopy(draw: Draw) -> Told:
    """Totals of the step, and each exposure of it."""
    modes = ("CONTINUOUS", "PULSED", "CONTINUOUS")
    exposures, events = [], []
    for mode in modes:
        kvp, current, time = (
            draw.decimal(60, 120, 0),
            draw.decimal(2000, 90_000, 0),
            draw.decimal(200, 9000, 0),
        )
        exposures.append(
            item({"RadiationMode": mode, "KVP": plain(kvp), "XRayTubeCurrentInuA": plain(current),
                  "ExposureTime": plain(time), "FilterMaterial": "COPPER"})
        )  # fmt: skip
        events.append(
            {
                "protocol": PROTOCOL, "kvp": float(kvp), "tube_current_ma": float(current / 1000),
                "exposure_time_ms": float(time), "filters": "COPPER", "fluoroscopy": mode == "CONTINUOUS",
                "described": {"fluoro_mode": mode}, "sources": [],
            }
        )  # fmt: skip
    area, seconds = draw.decimal(0.5, 900, 2), draw.rng.randint(20, 900)
    attributes = {
        "ImageAndFluoroscopyAreaDoseProduct": plain(area),
        "TotalTimeOfFluoroscopy": seconds,
        "TotalNumberOfExposures": len(modes),
        "ExposureDoseSequence": Items(exposures),
    }
    totals = [
        _total("dap", float(area * AREA_DOSE), "Gy.m2", plain(area), "dGy.cm2"),
        _total("fluoro_time", float(seconds), "s", str(seconds), "s"),
    ]
    return attributes, {"template": "10001", "fluoroscopy": True, "totals": totals, "events": events}


def _ct(draw: Draw) -> Told:
    """CTDIvol of each acquisition."""
    exposures, events = [], []
    for _ in range(2):
        uid, ctdivol, kvp = draw.uid(), draw.decimal(3, 40, 2), Decimal(120)
        exposures.append(
            item({"IrradiationEventUID": uid, "CTDIvol": float(ctdivol), "KVP": plain(kvp),
                  "CTDIPhantomTypeCodeSequence": coded(dcm("113691"))})
        )  # fmt: skip
        events.append(
            {"irradiation_event_uid": uid, "protocol": PROTOCOL, "ctdivol_mgy": float(ctdivol), "kvp": float(kvp),
             "sources": []}
        )  # fmt: skip
    return {"ExposureDoseSequence": Items(exposures)}, {
        "template": "10011", "fluoroscopy": False, "events": events,
    }  # fmt: skip


def _total(quantity: str, value: float, unit: str, stored_value: str, stored_unit: str) -> Answer:
    return {
        "quantity": quantity, "mode": "total", "plane": "", "phantom": "", "laterality": "", "value": value,
        "unit": unit, "stored_value": stored_value, "stored_unit": stored_unit,
    }  # fmt: skip


# Name to modality and what it tells.
KINDS: Final[Mapping[str, tuple[str, Callable[[Draw], Told]]]] = {
    "performed step of fluoroscopy": ("RF", _fluoroscopy),
    "performed step of ct": ("CT", _ct),
}


def plan(name: str, draw: Draw) -> Plan:
    """A completed step of this kind."""
    modality, tell = KINDS[name]
    told, said = tell(draw)
    begun, ended = draw.at, draw.at + 15 * MINUTE
    accession = f"A{draw.rng.randrange(10**8):08d}"
    head = Head(
        kind="performed_step",
        sop_class=PERFORMED_STEP,
        sop_uid=draw.uid(),
        study_uid=draw.uid(),
        series_uid=draw.uid(),
        modality=modality,
        study_at=begun,
        content_at=ended,
        patient_id=f"P{draw.rng.randrange(10**6):06d}",
        accession=accession,
    )
    scheduled = {
        "StudyInstanceUID": head.study_uid,
        "AccessionNumber": accession,
        "RequestedProcedureID": "RP1",
        "ScheduledProcedureStepID": "SPS1",
        "RequestedProcedureDescription": head.description,
        "ReferencedStudySequence": Items(),
    }
    performed = {
        "PerformedStationAETitle": "ROOM1",
        "PerformedProcedureStepStartDate": stamp(begun).strftime("%Y%m%d"),
        "PerformedProcedureStepStartTime": stamp(begun).strftime("%H%M%S"),
        "PerformedProcedureStepEndDate": stamp(ended).strftime("%Y%m%d"),
        "PerformedProcedureStepEndTime": stamp(ended).strftime("%H%M%S"),
        "PerformedProcedureStepStatus": "COMPLETED",
        "PerformedProcedureStepID": "PPS1",
        "PerformedProcedureStepDescription": head.description,
        "PerformedSeriesSequence": Items(
            [item({"ProtocolName": PROTOCOL, "SeriesInstanceUID": head.series_uid})]
        ),
        "ScheduledStepAttributesSequence": Items([item(scheduled)]),
    }
    dose = {"mammography": False, "source": "mpps", **said}
    return Plan(name, replace(head, attributes=performed | told), (), dose)
