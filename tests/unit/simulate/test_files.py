"""What `dosestream simulate` writes."""

import json
from datetime import date
from pathlib import Path

import pytest
from simulated_day import BASE, day_one

from dosestream.simulate.day import Day
from dosestream.simulate.folder import ForeignFolderError
from dosestream.simulate.main import simulate, write
from dosestream.simulate.timeline import DICOM, HL7
from dosestream.simulate.truth import from_jsonl


@pytest.fixture
def base() -> date:
    return BASE


@pytest.fixture
def day() -> Day:
    return day_one()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_file_names_sorted_are_the_order_of_sending(tmp_path: Path, day: Day) -> None:
    write(tmp_path, day.timeline, day.truth())
    for folder, channel in (("hl7", HL7), ("dicom", DICOM)):
        bodies = [path.read_bytes() for path in sorted((tmp_path / folder).iterdir())]
        assert bodies == [step.body for step in day.timeline if step.channel == channel]


def test_the_timeline_names_every_file_once(tmp_path: Path, day: Day) -> None:
    write(tmp_path, day.timeline, day.truth())
    listed = [json.loads(line) for line in (tmp_path / "timeline.jsonl").read_text().splitlines()]
    assert {item["file"] for item in listed} == content(tmp_path).keys() - {"timeline.jsonl", "truth.jsonl"}
    assert [item["sent_at"] for item in listed] == sorted(item["sent_at"] for item in listed)


@pytest.mark.slow
def test_days_and_sites_are_told_apart(tmp_path: Path, base: date) -> None:
    assert simulate(2, 2, 5, tmp_path, None, base) == 0
    lines = from_jsonl((tmp_path / "truth.jsonl").read_text())
    names = [
        line["filler_order_number"]
        for line in lines
        if line["kind"] == "order" and line["filler_order_number"]
    ]
    assert len(names) == len(set(names))
    assert {line["patient_authority"] for line in lines if line["kind"] == "patient"} == {"HOSP1", "HOSP2"}


@pytest.mark.slow
def test_the_same_seed_writes_the_same_files_over_those_of_an_earlier_simulation(
    tmp_path: Path, base: date
) -> None:
    simulate(1, 1, 5, tmp_path / "used", None, base)
    simulate(1, 1, 6, tmp_path / "used", None, base)
    simulate(1, 1, 6, tmp_path / "fresh", None, base)
    assert content(tmp_path / "used") == content(tmp_path / "fresh")


def test_files_of_another_origin_are_left_alone(tmp_path: Path, day: Day, base: date) -> None:
    (tmp_path / "hl7").mkdir()
    (tmp_path / "hl7" / "mine.hl7").write_bytes(b"MSH|")
    with pytest.raises(ForeignFolderError, match="give an empty folder"):
        write(tmp_path, day.timeline, day.truth())
    assert simulate(1, 1, 5, tmp_path, None, base) == 2
    assert content(tmp_path) == {"hl7/mine.hl7": b"MSH|"}


@pytest.mark.parametrize(("days", "sites"), [(0, 1), (1, 0), (1, 100)])
def test_impossible_numbers_are_refused_in_a_sentence(
    tmp_path: Path, base: date, days: int, sites: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(days, sites, 1, tmp_path, None, base) == 2
    assert "at least one day" in capsys.readouterr().err
    assert content(tmp_path) == {}
