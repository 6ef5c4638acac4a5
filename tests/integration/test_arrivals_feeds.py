"""What comes on disk, and what an Orthanc has: both arrive as if they had been sent."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import sr_builder as sr
from arrivals_running import EXPLICIT, Running, dose_report, image_header, process, running, settings_for
from running_stack import wait_until

from dosestream.embedded import ports
from dosestream.events.records import RawMessage, Study
from dosestream.kafka.topics import Topic
from dosestream.settings import DicomSettings, KafkaSettings, OrthancSettings
from services.arrivals.folder import WatchedFolder

NO_REPORT = b"\0" * 128 + b"DICM" + b"\x02\0\x10\0UI\x14\0" + EXPLICIT.encode() + b"\0cut"


def write_slowly(path: Path, body: bytes, go_on: threading.Event) -> None:
    with path.open("wb", buffering=0) as file:
        file.write(body[:400])
        go_on.wait()
        file.write(body[400:])


def test_files_of_a_watched_folder_are_taken_and_moved_and_what_is_not_taken_says_why(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    report, truncated, picture = dose_report(), dose_report(), image_header()
    (folder / "sub" / "report.dcm").write_bytes(sr.part10(report))
    (folder / "truncated.dcm").write_bytes(sr.part10(truncated)[:-60])
    (folder / "picture").write_bytes(sr.part10(picture))
    (folder / "other.txt").write_text("no DICOM")
    (folder / ".hidden").write_text("not finished")
    settings = settings_for(kafka, tmp_path / "repeats", DicomSettings(port=0))
    with process(settings, tmp_path, "--watch", str(folder)) as arrivals:
        done = {"sub/report.dcm", "picture"}
        failed = {"truncated.dcm", "truncated.dcm.reason", "other.txt", "other.txt.reason"}

        def within(name: str) -> set[str]:
            root = folder / name
            return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

        wait_until(lambda: within("done") == done and within("failed") == failed, "every file moved")
        assert len(arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)) == 1
        (raw,) = arrivals.published(Topic.DICOM_RAW, RawMessage, picture.SOPInstanceUID)
        assert raw.source == "FOLDER"
        assert "0xC000" in (folder / "failed" / "truncated.dcm.reason").read_text()
        assert "DICM" in (folder / "failed" / "other.txt.reason").read_text()
        assert (folder / ".hidden").exists()
        # The same name again does not overwrite what was done.
        (folder / "picture").write_bytes(sr.part10(picture))
        wait_until(lambda: "picture.1" in within("done"), "the second file of that name")


def test_a_file_that_is_still_being_written_is_left_alone(kafka: KafkaSettings, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    report, go_on = dose_report(), threading.Event()
    path = folder / "slow.dcm"
    with running(settings_for(kafka, tmp_path / "repeats", DicomSettings(port=0))) as arrivals:
        assert arrivals.service is not None
        watched = WatchedFolder(folder, arrivals.service.intake, "FOLDER", "DOSESTREAM", 1 << 24, 60.0)
        writer = threading.Thread(target=write_slowly, args=(path, sr.part10(report), go_on))
        writer.start()
        wait_until(lambda: path.exists() and path.stat().st_size == 400, "the first bytes")
        assert watched._whole() == []
        go_on.set()
        writer.join()
        # It grew since the last look.
        assert watched._whole() == []
        assert watched._whole() == [path]
        assert watched._take(path)
        assert (folder / "done" / "slow.dcm").exists()
        assert len(arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)) == 1


def test_a_file_waits_where_kafka_does_not_take_it(kafka: KafkaSettings, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "report.dcm"
    path.write_bytes(sr.part10(dose_report()))
    settings = settings_for(kafka, tmp_path / "repeats", DicomSettings(port=0))
    with running(settings) as arrivals:
        assert arrivals.service is not None
        intake = arrivals.service.intake
        watched = WatchedFolder(folder, intake, "FOLDER", "DOSESTREAM", 1 << 24)
        assert intake.close(1.0)
        assert not watched._take(path)
        assert path.exists()


Orthanc = tuple[str, int]


@pytest.fixture
def start_orthanc(tmp_path: Path) -> Iterator[Callable[[int], Orthanc]]:
    """Starts an Orthanc that forwards to a DICOM port; returns its REST address and its DICOM port."""
    binary = shutil.which("Orthanc")
    if binary is None:
        pytest.skip("Orthanc is not installed")
    started: list[subprocess.Popen[bytes]] = []

    def start(forward_to: int) -> Orthanc:
        taken: set[int] = set()
        rest, dicom = ports.free(taken), ports.free(taken)
        folder = tmp_path / "orthanc"
        folder.mkdir()
        configuration = {
            "Name": "test",
            "StorageDirectory": str(folder),
            "IndexDirectory": str(folder),
            "HttpPort": rest,
            "DicomPort": dicom,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalities": {"dosestream": ["DOSESTREAM", "127.0.0.1", forward_to]},
        }
        path = folder / "orthanc.json"
        path.write_text(json.dumps(configuration))
        with (folder / "log").open("w") as log:
            started.append(subprocess.Popen([binary, str(path)], stdout=log, stderr=log))

        def listens() -> bool:
            assert started[-1].poll() is None, (folder / "log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", rest)) == 0

        wait_until(listens, "Orthanc's REST port")
        return f"http://127.0.0.1:{rest}", dicom

    yield start
    for one in started:
        one.terminate()
        one.wait(90)


def post(address: str, body: bytes) -> object:
    with urllib.request.urlopen(urllib.request.Request(address, data=body, method="POST")) as response:
        found: object = json.loads(response.read() or b"null")
        return found


def test_orthanc_forwards_a_study(
    kafka: KafkaSettings, tmp_path: Path, start_orthanc: Callable[[int], Orthanc]
) -> None:
    report = dose_report()
    picture = image_header(StudyInstanceUID=report.StudyInstanceUID)
    picture.PixelData = b"\x55" * 8192
    picture["PixelData"].VR = "OW"
    with running(settings_for(kafka, tmp_path / "repeats", DicomSettings(port=0))) as arrivals:
        rest, _ = start_orthanc(arrivals.port)
        for instance in (report, picture):
            post(f"{rest}/instances", sr.part10(instance))
        with urllib.request.urlopen(f"{rest}/studies") as response:
            studies = json.loads(response.read())
        post(f"{rest}/modalities/dosestream/store", json.dumps(studies).encode())
        for instance in (report, picture):
            (study,) = arrivals.published(Topic.STUDY, Study, instance.SOPInstanceUID)
            assert (study.source, study.study_instance_uid) == ("ORTHANC", report.StudyInstanceUID)


def test_orthancs_change_feed_is_read_from_where_it_was_left(
    kafka: KafkaSettings, tmp_path: Path, start_orthanc: Callable[[int], Orthanc]
) -> None:
    rest, _ = start_orthanc(1)
    settings = settings_for(kafka, tmp_path / "repeats", DicomSettings(port=0))
    feed = OrthancSettings(url=rest, poll_s=0.2)
    settings = replace(settings, dicom=replace(settings.dicom, orthanc=feed))
    first, second, picture = dose_report(), dose_report(), image_header()
    picture.PixelData = b"\x55" * 1_000_000
    picture["PixelData"].VR = "OW"
    for instances in ((first, picture), (second,)):
        for instance in instances:
            post(f"{rest}/instances", sr.part10(instance))
        with running(settings) as arrivals:
            for instance in instances:
                uid = instance.SOPInstanceUID
                wait_until(partial(_arrived, arrivals, uid), "the instance in the study topic")
    (raw,) = arrivals.published(Topic.DICOM_RAW, RawMessage, picture.SOPInstanceUID)
    assert len(raw.body) < 4000
    assert raw.source == "ORTHANC"
    for instance in (first, second, picture):
        assert len(arrivals.published(Topic.STUDY, Study, instance.SOPInstanceUID)) == 1


def _arrived(arrivals: Running, uid: str) -> bool:
    return bool(arrivals.published(Topic.STUDY, Study, uid))
