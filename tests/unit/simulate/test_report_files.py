"""What `dosestream simulate --reports` writes."""

import json
import shutil
import subprocess
from datetime import date
from itertools import islice
from pathlib import Path

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from dosestream.cli import app
from dosestream.simulate.folder import ForeignFolderError
from dosestream.simulate.report_files import reports, write_reports
from dosestream.simulate.sr_catalogue import NAMES
from dosestream.simulate.sr_faults import FAULTS
from dosestream.simulate.sr_sequences import SEQUENCES

BASE = date(2026, 3, 14)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_kind_fault_and_sequence_is_made_before_anything_is_made_again() -> None:
    found: set[str] = set()
    labels = []
    for made in reports(1, BASE):
        if made.label in labels:
            break
        labels.append(made.label)
        found |= {plan.name for plan in made.plans} | {fault for plan in made.plans for fault in plan.faults}
    sequences = {f"{label} {name}" for label, (_, names) in SEQUENCES.items() for name in names}
    assert found >= {*NAMES, *FAULTS}
    assert sequences <= set(labels)


def test_a_line_of_answers_names_its_file_and_what_is_in_it(tmp_path: Path) -> None:
    files, _ = write_reports(tmp_path, len(NAMES), 1, BASE)
    answers = lines(tmp_path / "answers.jsonl")
    assert files == len(answers) == len(NAMES)
    assert {answer["template"] for answer in answers} == set(NAMES)
    for answer in answers:
        header = answer["header"]
        assert isinstance(header, dict)
        file = dcmread(tmp_path / str(answer["file"]))
        assert str(file.file_meta.MediaStorageSOPInstanceUID) == header["sop_instance_uid"]
        assert str(file.PatientID) == header["patient_id"]


def test_the_same_seed_writes_the_same_files_over_earlier_ones(tmp_path: Path) -> None:
    write_reports(tmp_path / "used", 3, 2, BASE)
    write_reports(tmp_path / "used", 2, 1, BASE)
    write_reports(tmp_path / "fresh", 2, 1, BASE)
    assert content(tmp_path / "used") == content(tmp_path / "fresh")


def test_files_of_another_origin_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "mine.dcm").write_bytes(b"mine")
    with pytest.raises(ForeignFolderError, match="give an empty folder"):
        write_reports(tmp_path, 1, 1, BASE)
    assert content(tmp_path) == {"dicom/mine.dcm": b"mine"}


def test_a_sequence_is_written_in_the_order_of_sending_with_its_study() -> None:
    made = next(one for one in reports(1, BASE) if one.label == "growing ct")
    events = [len(plan.answer()["dose"]["events"]) for plan in made.plans]
    assert events == sorted(events)
    (study,) = made.studies
    assert study.answer()["event_count"] == events[-1]


def test_the_command_writes_and_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", "--reports", "2", "--seed", "3", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "2 DICOM files" in done.stdout
    assert len(list((tmp_path / "dicom").iterdir())) == 2
    again = CliRunner().invoke(app, ["simulate", "--reports", "2", "--send", "--out", str(tmp_path)])
    assert again.exit_code == 2


@pytest.mark.slow
def test_dcmtk_reads_reports_of_every_fault_that_leaves_them_legal(tmp_path: Path) -> None:
    dsrdump = shutil.which("dsrdump")
    if dsrdump is None:
        pytest.skip("dsrdump (Debian package dcmtk) is not installed")
    legal = ("deflated", "big endian", "implicit vr", "japanese name", "empty value", "no template sequence")
    for fault in legal:
        made = next(one for one in islice(reports(1, BASE), 600) if one.label == f"ct {fault}")
        path = tmp_path / "report.dcm"
        path.write_bytes(made.plans[0].body())
        done = subprocess.run([dsrdump, str(path)], capture_output=True, check=False)
        assert done.returncode == 0, (fault, done.stderr)
