"""What `dosestream simulate` writes."""

import json
from datetime import date
from pathlib import Path

import pytest

from dosestream.simulate.day import plan
from dosestream.simulate.main import ForeignFolderError, simulate, write
from dosestream.simulate.timeline import DICOM, HL7
from dosestream.simulate.truth import from_jsonl

BASE = date(2026, 3, 14)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        assert simulate(1, 1, 5, tmp_path / name, None, BASE) == 0
    assert content(tmp_path / "one") == content(tmp_path / "other")


def test_file_names_sorted_are_the_order_of_sending(tmp_path: Path) -> None:
    day = plan(5, BASE)
    write(tmp_path, day.timeline, day.truth())
    for folder, channel in (("hl7", HL7), ("dicom", DICOM)):
        bodies = [path.read_bytes() for path in sorted((tmp_path / folder).iterdir())]
        assert bodies == [step.body for step in day.timeline if step.channel == channel]


def test_the_timeline_names_every_file_once(tmp_path: Path) -> None:
    simulate(1, 1, 5, tmp_path, None, BASE)
    listed = [json.loads(line) for line in (tmp_path / "timeline.jsonl").read_text().splitlines()]
    assert {item["file"] for item in listed} == content(tmp_path).keys() - {"timeline.jsonl", "truth.jsonl"}
    assert [item["sent_at"] for item in listed] == sorted(item["sent_at"] for item in listed)


def test_days_and_sites_are_told_apart(tmp_path: Path) -> None:
    assert simulate(2, 2, 5, tmp_path, None, BASE) == 0
    lines = from_jsonl((tmp_path / "truth.jsonl").read_text())
    names = [
        line["filler_order_number"]
        for line in lines
        if line["kind"] == "order" and line["filler_order_number"]
    ]
    assert len(names) == len(set(names))
    assert {line["patient_authority"] for line in lines if line["kind"] == "patient"} == {"HOSP1", "HOSP2"}


def test_an_earlier_simulation_in_the_folder_is_replaced(tmp_path: Path) -> None:
    simulate(1, 1, 5, tmp_path / "used", None, BASE)
    simulate(1, 1, 6, tmp_path / "used", None, BASE)
    simulate(1, 1, 6, tmp_path / "fresh", None, BASE)
    assert content(tmp_path / "used") == content(tmp_path / "fresh")


def test_files_of_another_origin_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hl7").mkdir()
    (tmp_path / "hl7" / "mine.hl7").write_bytes(b"MSH|")
    day = plan(5, BASE)
    with pytest.raises(ForeignFolderError, match="give an empty folder"):
        write(tmp_path, day.timeline, day.truth())
    assert simulate(1, 1, 5, tmp_path, None, BASE) == 2
    assert content(tmp_path) == {"hl7/mine.hl7": b"MSH|"}


@pytest.mark.parametrize(("days", "sites"), [(0, 1), (1, 0), (1, 100)])
def test_impossible_numbers_are_refused_in_a_sentence(
    tmp_path: Path, days: int, sites: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(days, sites, 1, tmp_path, None, BASE) == 2
    assert "at least one day" in capsys.readouterr().err
    assert content(tmp_path) == {}
