"""The scanners' dose reports: what a second reader finds in them."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
from pydicom import Dataset, dcmread

from dosestream.simulate.day import hospital
from dosestream.simulate.dose_reports import KINDS, Header, Request, image, report
from dosestream.simulate.hl7_messages import Person
from dosestream.simulate.procedures import CATALOGUE, ROOMS, Room

PATIENT = Person("P1", "HOSP", "Müller^Jürgen^^Dr.", date(1960, 1, 2), "M")
AT = 1_700_000_000_000_000
BY_ROOM = pytest.mark.parametrize("room", ROOMS, ids=[room.ae_title for room in ROOMS])


def made(room: Room, seed: int = 1, person: Person | None = PATIENT) -> tuple[bytes, dict[str, Decimal], int]:
    """A report of this room, the totals it states, and how many events it holds."""
    rng = Random(seed)
    uids = (f"2.25.{number}" for number in range(10_000, 20_000))
    kind = KINDS[room.kind]
    exposures = kind.expose(rng, room, rng.choice(CATALOGUE[room.kind]), AT, lambda: next(uids))
    header = Header("2.25.1", "2.25.2", "2.25.3", room, AT, AT + 900_000_000, person, "A1", "", Request("A1"))
    return report(header, exposures), dict(kind.totals(exposures)), len({e.uid for e in exposures})


def items(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from items(item)


def numbers(dataset: Dataset, code: str) -> list[tuple[float, str]]:
    """Values and units of every NUM of this concept."""
    return [
        (
            float(item.MeasuredValueSequence[0].NumericValue),
            item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
        )
        for item in items(dataset)
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue == code
    ]


# Column to the code its stated total has, and unit as written to how many of it make the view's unit.
TOTALS = {
    "ct_dlp_total_mgycm": ("113813", {"mGy.cm": 1.0}),
    "dap_total_gym2": ("113722", {"Gy.m2": 1.0, "Gym2": 1.0, "dGy.cm2": 1e-5}),
    "dose_rp_total_gy": ("113725", {"Gy": 1.0, "mGy": 1e-3}),
    "fluoro_time_s": ("113730", {"s": 1.0}),
}


@BY_ROOM
@pytest.mark.parametrize("seed", range(4))
def test_the_stated_totals_are_what_the_truth_says(room: Room, seed: int) -> None:
    body, totals, _ = made(room, seed)
    dataset = dcmread(BytesIO(body))
    for column, (code, units) in TOTALS.items():
        stated = [value * units[unit] for value, unit in numbers(dataset, code)]
        assert (column in totals) == bool(stated)
        if stated:
            assert sum(stated) == pytest.approx(float(totals[column]), rel=1e-9)


def test_mammography_states_a_glandular_dose_for_each_breast() -> None:
    room = next(room for room in ROOMS if room.kind == "mammography")
    body, totals, _ = made(room)
    stated = {
        item.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning: float(
            item.MeasuredValueSequence[0].NumericValue
        )
        for item in items(dcmread(BytesIO(body)))
        if item.ConceptNameCodeSequence[0].CodeValue == "111637"
    }
    assert stated == {
        "Left breast": float(totals["agd_left_mgy"]),
        "Right breast": float(totals["agd_right_mgy"]),
    }


@BY_ROOM
def test_every_irradiation_event_has_a_uid_of_its_own(room: Room) -> None:
    body, _, events = made(room)
    uids = [
        i.UID for i in items(dcmread(BytesIO(body))) if i.ConceptNameCodeSequence[0].CodeValue == "113769"
    ]
    assert len(uids) == len(set(uids)) == events


@BY_ROOM
def test_the_patient_is_written_in_the_character_set_of_the_scanner(room: Room) -> None:
    dataset = dcmread(BytesIO(made(room)[0]))
    assert str(dataset.PatientName) == PATIENT.name
    assert dataset.PatientID == "P1"
    assert dataset.get("IssuerOfPatientID", "") == ("HOSP" if room.issuer else "")


@BY_ROOM
def test_a_report_without_patient_has_the_attributes_and_no_values(room: Room) -> None:
    dataset = dcmread(BytesIO(made(room, person=None)[0]))
    assert [str(dataset[k].value or "") for k in ("PatientName", "PatientID", "PatientBirthDate")] == [""] * 3


@BY_ROOM
def test_every_decimal_fits_its_value_representation(room: Room) -> None:
    dataset = dcmread(BytesIO(made(room)[0]))
    texts = [
        str(item.MeasuredValueSequence[0].NumericValue) for item in items(dataset) if item.ValueType == "NUM"
    ]
    assert texts
    assert max(map(len, texts)) <= 16


@BY_ROOM
def test_dcmtk_reads_the_report_without_an_error(room: Room, tmp_path: Path) -> None:
    dsrdump = shutil.which("dsrdump")
    if dsrdump is None:
        pytest.skip("dsrdump (Debian package dcmtk) is not installed")
    path = tmp_path / "report.dcm"
    path.write_bytes(made(room)[0])
    done = subprocess.run([dsrdump, str(path)], capture_output=True, check=False)
    complaints = [
        line
        for line in done.stderr.decode("latin-1").splitlines()
        if not line.startswith("W: The VR checker")
    ]
    assert (done.returncode, complaints) == (0, [])
    assert b"X-Ray Radiation Dose" in done.stdout


def test_an_image_has_no_dose_and_reads_back() -> None:
    h = hospital(1, date(2026, 3, 14))
    header = Header("2.25.1", "2.25.2", "2.25.3", h.room("CT1"), AT, AT, PATIENT, "A1")
    dataset = dcmread(BytesIO(image(header)))
    assert (
        dataset.pixel_array.shape == (8, 8) if hasattr(dataset, "_unused") else len(dataset.PixelData) == 128
    )
    assert "ContentSequence" not in dataset
