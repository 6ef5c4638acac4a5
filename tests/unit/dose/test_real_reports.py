"""Four reports of real scanners: every total and every event equals what a second, independent walk finds.

The second walk uses pydicom's values and decimal arithmetic, and finds items by a path of codes.
"""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pydicom
import pytest
from arrived import instance, study_of
from pydicom import Dataset

from dosestream.events.records import IrradiationEvent, Study

NAMES = (
    "philips_allura_clarity_u104",
    "philips_allura_clarity_u601",
    "siemens_axiom_artis",
    "siemens_axiom_example_procedure",
)
GRAY_SQUARE_METRES = {"Gy.m2": Decimal(1), "Gym2": Decimal(1), "dGy.cm2": Decimal("0.00001")}
TOTALS = {
    "113722": ("dap", "total"),
    "113726": ("dap", "fluoro"),
    "113727": ("dap", "acquisition"),
    "113725": ("dose_rp", "total"),
    "113728": ("dose_rp", "fluoro"),
    "113729": ("dose_rp", "acquisition"),
    "113730": ("fluoro_time", "total"),
    "113855": ("acquisition_time", "total"),
}
EVENT_NUMBERS = {
    "dap_gym2": "122130",
    "dose_rp_gy": "113738",
    "kvp": "113733",
    "tube_current_ma": "113734",
    "exposure_uas": "113736",
    "exposure_time_ms": "113735",
    "frames": "113768",
    "pulse_rate": "113791",
    "source_detector_mm": "113750",
    "source_patient_mm": "113748",
    "primary_angle_deg": "112011",
    "secondary_angle_deg": "112012",
}


PLANES = {"113620": "A", "113621": "B", "113622": "single"}
EVENT_WORDS = {"protocol": "125203", "target_region": "123014"}
# What these four reports, angiography all of them, have no item of.
NOT_OF_PROJECTION = (
    *("ctdivol_mgy", "ctdi_phantom", "dlp_mgycm", "ssde_mgy", "pitch", "scan_length_mm", "dose_checks"),
    *("agd_mgy", "laterality", "view", "compressed_thickness_mm", "hvl_mm", "target"),
    *("exposure_index", "deviation_index", "sources"),
)
# Compared by a rule of their own, here or in another test.
ELSEWHERE = (
    *("irradiation_event_uid", "started_at", "acquisition_type", "plane", "filters"),
    *("no_event_uid", "fluoroscopy", "measured", "described", "stored"),
)
# Column of `measured` to its code, and what one unit of a file is worth in the column's.
MEASURED = {
    "irradiation_duration_s": "113742",
    "collimated_area_m2": "113790",
    "collimated_height_mm": "113788",
    "collimated_width_mm": "113789",
    "source_isocenter_mm": "113748",
    "source_reference_point_mm": "113737",
    "source_table_mm": "113792",
    "primary_end_angle_deg": "113739",
    "secondary_end_angle_deg": "113740",
    "column_angulation_deg": "113770",
    "table_longitudinal_mm": "113751",
    "table_lateral_mm": "113752",
    "table_height_mm": "113753",
    "table_longitudinal_end_mm": "113759",
    "table_lateral_end_mm": "113760",
    "table_height_end_mm": "113761",
    "table_head_tilt_deg": "113754",
    "table_horizontal_rotation_deg": "113755",
    "table_cradle_tilt_deg": "113756",
    "patient_equivalent_thickness_mm": "111638",
    "focal_spot_mm": "113766",
}
DESCRIBED = {
    "fluoro_mode": "113732",
    "reference_point": "113780",
    "patient_orientation": "113743",
    "patient_table_relationship": "113745",
    "comment": "121106",
    "event_label": "113605",
}
FLUOROSCOPY = ("44491008", "P5-06000")


def found(container: Dataset, code: str) -> Iterator[Dataset]:
    return (item for item in container.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == code)


def value(item: Dataset) -> Decimal:
    (measured,) = item.MeasuredValueSequence
    unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
    text = getattr(measured.NumericValue, "original_string", str(measured.NumericValue))
    return Decimal(text) * GRAY_SQUARE_METRES.get(unit, Decimal(1))


@pytest.fixture(params=NAMES)
def report(request: pytest.FixtureRequest, test_data: Path) -> tuple[Dataset, Study]:
    path = test_data / "rdsr" / f"{request.param}.dcm"
    return pydicom.dcmread(path), study_of(instance(path.read_bytes()))


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def test_totals_equal_what_the_file_says(report: tuple[Dataset, Study]) -> None:
    data_set, event = report
    assert event.dose is not None
    expected = {}
    for container in found(data_set, "113702"):
        (plane,) = found(container, "113764")
        for code, (quantity, mode) in TOTALS.items():
            for item in found(container, code):
                key = (quantity, mode, PLANES[plane.ConceptCodeSequence[0].CodeValue])
                expected[key] = float(value(item))
    assert {(t.quantity, t.mode, t.plane): t.value for t in event.dose.totals} == expected
    assert len(expected) in (8, 16)
    assert event.dose.fluoroscopy


def test_events_equal_what_the_file_says(report: tuple[Dataset, Study]) -> None:
    data_set, event = report
    assert event.dose is not None
    assert event.dose.unread == ()
    containers = list(found(data_set, "113706"))
    assert len(containers) == len(event.dose.events) > 20
    for container, read in zip(containers, event.dose.events, strict=True):
        (uid,) = found(container, "113769")
        assert read.irradiation_event_uid == str(uid.UID)
        for field, code in EVENT_NUMBERS.items():
            values = [float(value(item)) for item in found(container, code)]
            assert getattr(read, field) == (values[0] if values else None), field
        assert read.acquisition_type == next(found(container, "113721")).ConceptCodeSequence[0].CodeMeaning
        for field, code in EVENT_WORDS.items():
            words = [_word(item) for item in found(container, code)]
            assert getattr(read, field) == (words[0] if words else ""), field
        (plane,) = found(container, "113764")
        assert read.plane == PLANES[plane.ConceptCodeSequence[0].CodeValue]
        for field in NOT_OF_PROJECTION:
            assert getattr(read, field) in (None, "", ()), field
        known = {*EVENT_NUMBERS, *EVENT_WORDS, *NOT_OF_PROJECTION, *ELSEWHERE}
        assert known == {field.name for field in fields(IrradiationEvent)}
        (started,) = found(container, "111526")
        whole, _, fraction = str(started.DateTime).partition(".")
        at = datetime.strptime(whole + "." + (fraction or "0"), "%Y%m%d%H%M%S.%f").replace(tzinfo=UTC)
        assert read.started_at == round(at.timestamp() * 1_000_000)
        assert _filters(container) == read.filters


def test_further_numbers_and_words_equal_what_the_file_says(report: tuple[Dataset, Study]) -> None:
    data_set, event = report
    assert event.dose is not None
    told = set()
    for container, read in zip(found(data_set, "113706"), event.dose.events, strict=True):
        for column, code in MEASURED.items():
            values = [float(value(item)) for item in found(container, code)]
            assert read.measured.get(column) == (values[0] if values else None), column
        for column, code in DESCRIBED.items():
            words = [_word(item) for item in found(container, code)]
            assert read.described.get(column) == (words[0] if words else None), column
        (kind,) = found(container, "113721")
        assert read.fluoroscopy is (kind.ConceptCodeSequence[0].CodeValue in FLUOROSCOPY)
        told |= read.measured.keys() | read.described.keys()
    assert len(told) > 8
    # Nothing is said that the walk does not know of.
    assert told <= {*MEASURED, *DESCRIBED, "filter_types", "patient_orientation_modifier"}
    assert (event.dose.source, event.dose.administrations, event.dose.organ_doses) == ("rdsr", (), ())


def test_a_value_in_another_unit_is_kept_as_the_file_has_it(report: tuple[Dataset, Study]) -> None:
    data_set, event = report
    assert event.dose is not None
    for container, read in zip(found(data_set, "113706"), event.dose.events, strict=True):
        for item in found(container, "122130"):
            (measured,) = item.MeasuredValueSequence
            unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
            text = measured.NumericValue.original_string
            assert read.stored.get("dap_gym2") == (None if unit == "Gy.m2" else f"{text} {unit}")


def test_totals_that_differ_from_their_events_are_those_of_the_walk(report: tuple[Dataset, Study]) -> None:
    data_set, event = report
    fluoro, acquisition = Decimal(0), Decimal(0)
    for container in found(data_set, "113706"):
        (kind,) = found(container, "113721")
        is_fluoro = kind.ConceptCodeSequence[0].CodeValue in FLUOROSCOPY
        for item in found(container, "122130"):
            fluoro += value(item) if is_fluoro else 0
            acquisition += 0 if is_fluoro else value(item)
    summed = {"total": fluoro + acquisition, "fluoro": fluoro, "acquisition": acquisition}
    (text,) = [issue for issue in event.issues if issue.startswith("total_differs")]
    for code, (quantity, mode) in TOTALS.items():
        if quantity != "dap":
            continue
        stated = next(value(item) for part in found(data_set, "113702") for item in found(part, code))
        differs = abs(stated - summed[mode]) > Decimal("0.005") * max(stated, summed[mode])
        assert (f"dap ({mode}" in text) is differs


def _word(item: Dataset) -> str:
    if item.ValueType == "CODE":
        return str(item.ConceptCodeSequence[0].CodeMeaning)
    return str(item.TextValue).strip()


def _filters(container: Dataset) -> str:
    texts = []
    for item in found(container, "113771"):
        material = next(found(item, "113757")).ConceptCodeSequence[0].CodeMeaning
        low, high = (float(value(next(found(item, code)))) for code in ("113758", "113773"))
        texts.append(f"{material} {low:g}-{high:g} mm")
    return "; ".join(texts)


def test_the_header_equals_what_pydicom_reads(report: tuple[Dataset, Study]) -> None:
    data_set, event = report
    assert event.study_instance_uid == data_set.StudyInstanceUID
    assert event.sop_instance_uid == data_set.SOPInstanceUID
    assert event.patient.identifiers[0].value == data_set.PatientID
    assert event.patient.name == str(data_set.PatientName)
    assert event.accession_number == data_set.AccessionNumber
    assert event.kind == "dose_report"


def test_no_event_is_known_by_its_values_where_the_file_names_it(report: tuple[Dataset, Study]) -> None:
    events: tuple[IrradiationEvent, ...] = report[1].dose.events if report[1].dose else ()
    assert events
    assert not any(event.no_event_uid for event in events)
