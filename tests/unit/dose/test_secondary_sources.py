"""Dose where no dose report tells it: headers of images, performed steps."""

from typing import Any

import pytest
import sr_builder as sr
from arrived import instance, study_of
from pydicom import Dataset, Sequence

from dosestream.events.codec import Codec
from dosestream.events.records import DoseReport, IrradiationEvent, Study

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "NM": "1.2.840.10008.5.1.4.1.1.20",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
}
LITTLE, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def image(modality: str, **attributes: Any) -> Dataset:
    return sr.header(Modality=modality, SOPClassUID=CLASSES[modality], Rows=8, **attributes)


def read(data_set: Dataset, syntax: str = LITTLE) -> Study:
    event = study_of(instance(sr.part10(data_set, syntax)))
    assert Codec().decode(Codec().encode(event), Study) == event
    return event


def dose(data_set: Dataset, syntax: str = LITTLE) -> DoseReport:
    report = read(data_set, syntax).dose
    assert report is not None
    return report


def item(**attributes: Any) -> Dataset:
    data_set = Dataset()
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    return data_set


CT: dict[str, Any] = {
    "KVP": "120",
    "XRayTubeCurrent": "210",
    "ExposureTime": "500",
    "CTDIvol": 8.5,
    "SpiralPitchFactor": 0.9,
    "CTDIPhantomTypeCodeSequence": Sequence([sr.code("113691", "DCM", "IEC Body Dosimetry Phantom")]),
    "AcquisitionNumber": "3",
    "ProtocolName": "Thorax",
    "BodyPartExamined": "CHEST",
    "IrradiationEventUID": "1.2.3.4",
}
HEADERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a CT image, whose exposure time is one rotation's": (
        "CT",
        CT,
        {
            "irradiation_event_uid": "1.2.3.4",
            "kvp": 120.0,
            "tube_current_ma": 210.0,
            "ctdivol_mgy": 8.5,
            "ctdi_phantom": "BODY",
            "pitch": 0.9,
            "exposure_time_ms": None,
            "dlp_mgycm": None,
            "protocol": "Thorax",
            "target_region": "CHEST",
            "no_event_uid": False,
        },
    ),
    "a digital radiograph": (
        "DX",
        {
            "KVP": "70",
            "ExposureInuAs": "2500",
            "Exposure": "2",
            "ExposureTime": "12",
            "ImageAndFluoroscopyAreaDoseProduct": "1.25",
            "ExposureIndex": "410",
            "TargetExposureIndex": "400",
            "DeviationIndex": "0.1",
            "FilterMaterial": ["ALUMINUM", "COPPER"],
            "FilterThicknessMinimum": ["1", "0.1"],
            "FilterThicknessMaximum": ["1", "0.1"],
            "EntranceDoseInmGy": "0.2",
            "ImageLaterality": "L",
        },
        {
            "kvp": 70.0,
            "exposure_uas": 2500.0,
            "exposure_time_ms": 12.0,
            "dap_gym2": 1.25e-05,
            "exposure_index": 410.0,
            "deviation_index": 0.1,
            "filters": "ALUMINUM 1-1 mm; COPPER 0.1-0.1 mm",
            "measured": {"entrance_dose_mgy": 0.2, "target_exposure_index": 400.0},
            "laterality": "L",
            "agd_mgy": None,
            "no_event_uid": True,
        },
    ),
    "a mammogram, whose organ dose is in dGy": (
        "MG",
        {
            "KVP": "28",
            "ExposureInuAs": "90000",
            "OrganDose": "0.016",
            "HalfValueLayer": "0.55",
            "BodyPartThickness": "54",
            "CompressionForce": "90",
            "AnodeTargetMaterial": "TUNGSTEN",
            "ImageLaterality": "R",
            "ViewPosition": "MLO",
        },
        {
            "agd_mgy": 1.6,
            "hvl_mm": 0.55,
            "compressed_thickness_mm": 54.0,
            "target": "TUNGSTEN",
            "laterality": "R",
            "view": "MLO",
            "measured": {"compression_force_n": 90.0},
        },
    ),
}


@pytest.mark.parametrize(("modality", "header", "expected"), HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("syntax", [LITTLE, BIG])
def test_an_image_tells_its_acquisition(
    modality: str, header: dict[str, Any], expected: dict[str, Any], syntax: str
) -> None:
    event = read(image(modality, **header), syntax)
    assert event.kind == "image"
    assert event.dose is not None
    (found,) = event.dose.events
    assert {name: getattr(found, name) for name in expected} == expected
    assert (event.dose.source, event.dose.totals, event.dose.mammography) == ("image", (), modality == "MG")


def event_of(modality: str, **header: Any) -> IrradiationEvent:
    (found,) = dose(image(modality, **({"KVP": "70"} | header))).events
    return found


SAME: dict[str, tuple[str, dict[str, Any], dict[str, Any], bool]] = {
    "two slices of one CT acquisition": (
        "CT",
        {"AcquisitionNumber": "1", "AcquisitionTime": "101500"},
        {"AcquisitionNumber": "1", "AcquisitionTime": "101501", "SeriesInstanceUID": "1.2.9"},
        True,
    ),
    "two acquisitions of a CT": ("CT", {"AcquisitionNumber": "1"}, {"AcquisitionNumber": "2"}, False),
    "a mammogram for processing and for presentation": (
        "MG",
        {"AcquisitionDate": "20260301", "AcquisitionTime": "101500", "SOPInstanceUID": "1.2.10"},
        {"AcquisitionDate": "20260301", "AcquisitionTime": "101500", "SOPInstanceUID": "1.2.11"},
        True,
    ),
    "two exposures": (
        "DX",
        {"AcquisitionDate": "20260301", "AcquisitionTime": "101500"},
        {"AcquisitionDate": "20260301", "AcquisitionTime": "101600"},
        False,
    ),
    "one Irradiation Event UID": (
        "DX",
        {"IrradiationEventUID": "1.2.3", "AcquisitionTime": "101500"},
        {"IrradiationEventUID": "1.2.3", "AcquisitionTime": "101600"},
        True,
    ),
}


@pytest.mark.parametrize(("modality", "one", "other", "same"), SAME.values(), ids=SAME.keys())
def test_images_of_one_acquisition_name_one_event(
    modality: str, one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    uids = {event_of(modality, **header).irradiation_event_uid for header in (one, other)}
    assert (len(uids) == 1) is same


def test_an_enhanced_ct_tells_of_its_exposure_in_functional_groups() -> None:
    exposure = item(
        CTDIvol=7.5,
        XRayTubeCurrentInmA=180.0,
        CTDIPhantomTypeCodeSequence=Sequence([sr.code("113690", "DCM", "Head")]),
    )
    group = item(CTExposureSequence=Sequence([exposure]), CTXRayDetailsSequence=Sequence([item(KVP="100")]))
    (found,) = dose(image("CT", SharedFunctionalGroupsSequence=Sequence([group]))).events
    assert (found.ctdivol_mgy, found.tube_current_ma, found.kvp, found.ctdi_phantom) == (
        7.5,
        180.0,
        100.0,
        "HEAD",
    )


@pytest.mark.parametrize(("modality", "stored"), [("NM", "370"), ("PT", "370000000")])
def test_an_administered_activity_is_in_the_unit_of_its_modality(modality: str, stored: str) -> None:
    given = item(
        Radiopharmaceutical="FDG", RadionuclideTotalDose=stored, RadiopharmaceuticalStartTime="090000"
    )
    report = dose(image(modality, RadiopharmaceuticalInformationSequence=Sequence([given])))
    (one,) = report.administrations
    assert (one.agent, one.activity_mbq, report.radiopharmaceutical) == ("FDG", 370.0, "FDG")
    assert report.totals == ()


NO_DOSE = {
    "an image without exposure": image("CT"),
    "a magnetic resonance image": image("MR", KVP="1"),
    "a nuclear image without activity": image("NM"),
}


@pytest.mark.parametrize("data_set", NO_DOSE.values(), ids=NO_DOSE.keys())
def test_what_says_nothing_of_dose_is_an_arrival_without(data_set: Dataset) -> None:
    assert read(data_set).dose is None


def test_a_number_that_is_none_is_listed_and_the_next_place_is_tried() -> None:
    data_set = image("DX", KVP="70", XRayTubeCurrentInuA="2000")
    data_set.add_new(0x00181151, "SH", "n/a")
    data_set[0x00188151].value = None
    report = dose(data_set)
    assert report.events[0].tube_current_ma is None
    assert any(line.startswith("(0018,1151)") for line in report.unread)


def performed(**changes: Any) -> Dataset:
    exposures = [
        item(KVP="80", XRayTubeCurrentInuA="5000", ExposureTime="40000", RadiationMode="CONTINUOUS"),
        item(KVP="75", XRayTubeCurrentInuA="200000", ExposureTime="10", RadiationMode="PULSED"),
    ]
    values: dict[str, Any] = {
        "Modality": "RF",
        "SOPClassUID": "1.2.840.10008.3.1.2.3.3",
        "ImageAndFluoroscopyAreaDoseProduct": "25",
        "TotalTimeOfFluoroscopy": 40,
        "ExposureDoseSequence": Sequence(exposures),
        "CommentsOnRadiationDose": "TotalDLP=3",
    }
    return sr.header(**(values | changes))


def test_a_performed_step_tells_its_totals_and_exposures() -> None:
    report = dose(performed())
    assert [(t.quantity, t.value, t.stored_unit) for t in report.totals] == [
        ("dap", 25e-05, "dGy.cm2"),
        ("fluoro_time", 40.0, "s"),
    ]
    first, second = report.events
    assert (first.kvp, first.tube_current_ma, first.exposure_time_ms, first.fluoroscopy) == (
        80.0,
        5.0,
        4e4,
        True,
    )
    assert (second.kvp, second.tube_current_ma, second.fluoroscopy) == (75.0, 200.0, False)
    assert (report.source, report.fluoroscopy) == ("mpps", True)
    assert any(line.startswith("(0040,0310)") for line in report.unread)


def test_a_ct_step_tells_the_index_of_each_exposure() -> None:
    exposures = Sequence([item(CTDIvol=8.0, KVP="120"), item(CTDIvol=9.0, KVP="100")])
    report = dose(
        performed(
            Modality="CT",
            ExposureDoseSequence=exposures,
            ImageAndFluoroscopyAreaDoseProduct=None,
            TotalTimeOfFluoroscopy=None,
        )
    )
    assert [(event.ctdivol_mgy, event.kvp) for event in report.events] == [(8.0, 120.0), (9.0, 100.0)]
    again = dose(performed(Modality="CT", ExposureDoseSequence=exposures))
    assert [e.irradiation_event_uid for e in again.events] == [e.irradiation_event_uid for e in report.events]
