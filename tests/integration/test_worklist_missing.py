"""Performed and never reported: which studies are listed, and that they can be fetched from an archive."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from running_stack import DOSESTREAM, RunningStack, wait_until
from sr_builder import container, num, part10, report
from test_apply import begin, feed, records, settle

from dosestream.client.send import MllpSender
from dosestream.client.store import Storer
from dosestream.db.migrate import migrate
from dosestream.db.missing import missing_reports
from dosestream.embedded import ports
from dosestream.events.records import Clock
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "reconcile"))

from said import arrival, at, ct_report, decision, order, person

DAY = 86_400
JOE = person("P1", name="DOE^JOE")
Said = tuple[Topic, Any]


def instance(second: float, uid: str, kind: str, modality: str = "CT", **fields: Any) -> Said:
    given: dict[str, Any] = {
        "patient": JOE,
        "kind": kind,
        "modality": modality,
        "sop": f"{uid}.{kind}",
    } | fields
    return Topic.STUDY, arrival(second, uid=uid, **given)


def ordered(second: float, accession: str, code: str, status: str) -> Said:
    numbers: dict[str, Any] = {
        "accession_number": accession,
        "filler_order_number": f"F{accession}",
        "modality": "CT",
    }
    return Topic.ORDER, order(second, code, status, patient=JOE, scheduled_at=at(second), **numbers)


TOLD: list[Said] = [
    instance(10, "1.1", "image", accession_number="A1"),
    instance(20, "1.2", "performed_step", accession_number="A2"),
    instance(21, "1.2", "available"),
    # Reported, whatever else was heard; no radiation; excluded; too fresh.
    instance(30, "1.3", "image"),
    instance(31, "1.3", "dose_report", "SR", dose=ct_report("e1")),
    instance(40, "1.4", "image", "MR"),
    instance(50, "1.5", "image"),
    (Topic.DECISION, decision(51, "exclude", "1.5")),
    instance(5 * DAY, "1.6", "image"),
    # Completed by its order, which nothing was heard of since; and one that is only scheduled.
    ordered(60, "A7", "SC", "CM"),
    ordered(61, "A8", "NW", "SC"),
    (Topic.CLOCK, Clock(at=at(5 * DAY), ticker="t")),
]


def test_what_was_performed_and_has_no_dose_report_is_listed(fresh_database: Callable[[], str]) -> None:
    url = fresh_database()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        topics = dict.fromkeys(topic for topic, _ in TOLD)
        begin(connection, [Record(Partition(str(topic), 0), 0, b"") for topic in topics])
        feed(connection, records(TOLD))
        settle(connection)
        found = missing_reports(connection)
    assert [
        (m.study_instance_uid, m.accession_number, m.source, m.patient_id, m.modality) for m in found
    ] == [
        ("1.1", "A1", "images", "P1", "CT"),
        ("1.2", "A2", "ian, mpps", "P1", "CT"),
        (None, "A7", "order", "P1", "CT"),
    ]
    performed = datetime.fromtimestamp(at(10) / 1e6, UTC)
    assert found[0].performed_at == performed
    # Window and grace of a day each.
    assert (found[0].overdue_since - performed).days == 2


needs_dcmqrscp = pytest.mark.skipif(
    shutil.which("dcmqrscp") is None, reason="dcmtk (dcmqrscp) is not installed"
)


@pytest.fixture
def orthanc(stack: RunningStack, tmp_path: Path) -> Iterator[int]:
    """An Orthanc called PACS that knows our listener; its DICOM port."""
    binary = shutil.which("Orthanc")
    if binary is None:
        pytest.skip("Orthanc is not installed")
    taken: set[int] = set()
    port, rest, listener = ports.free(taken), ports.free(taken), stack.ready["dicom"]
    folder = tmp_path / "orthanc"
    folder.mkdir()
    ours = [listener["ae_title"], listener["host"], listener["port"]]
    path = folder / "orthanc.json"
    path.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder), "IndexDirectory": str(folder), "DicomAet": "PACS",
                "DicomPort": port, "HttpPort": rest, "DicomModalities": {"ours": ours},
                "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True,
            }
        )
    )  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([binary, str(path)], stdout=log, stderr=log)
    try:
        wait_until(lambda: ports.answers(port), "Orthanc listening")
        yield port
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def archive(stack: RunningStack, tmp_path: Path) -> Iterator[int]:
    """A dcmqrscp called PACS that knows our listener; its port."""
    port, listener = ports.free(set()), stack.ready["dicom"]
    (tmp_path / "images").mkdir()
    config = tmp_path / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nours = ({listener['ae_title']}, {listener['host']}, {listener['port']})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nPACS {tmp_path}/images RW (100, 1024mb) ANY\nAETable END\n"
    )
    process = subprocess.Popen(
        ["dcmqrscp", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: ports.answers(port), "dcmqrscp listening")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def fetch(stack: RunningStack, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [DOSESTREAM, "fetch", *arguments, "--ready-file", str(stack.ready_file)]
    return subprocess.run(
        [*command, "--pacs", f"PACS@127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def dose_report(uid: str) -> bytes:
    total = container("113811", num("113813", "42", "mGy.cm"))
    changes: dict[str, Any] = {
        "StudyInstanceUID": uid,
        "SeriesInstanceUID": f"{uid}.1",
        "SOPInstanceUID": f"{uid}.1.1",
    }
    encoded: bytes = part10(report(total, **changes))
    return encoded


def becomes_a_row(stack: RunningStack, uid: str) -> None:
    with psycopg.connect(stack.ready["postgres"], autocommit=True) as connection:
        query = "SELECT ct_dlp_total_mgycm FROM dose.study WHERE study_instance_uid = %s"
        wait_until(lambda: connection.execute(query, [uid]).fetchone() == (42.0,), "the study's row")


@pytest.mark.parametrize("pacs", [pytest.param("archive", marks=needs_dcmqrscp), "orthanc"])
def test_a_report_is_fetched_from_an_archive_and_becomes_a_row(
    stack: RunningStack, pacs: str, request: pytest.FixtureRequest
) -> None:
    port: int = request.getfixturevalue(pacs)
    uid = f"1.2.826.0.1.7.{time.time_ns()}"
    with Storer("127.0.0.1", port, "PACS") as storer:
        assert storer.store(dose_report(uid)) == 0
    done = fetch(stack, port, "--study", uid)
    assert (done.returncode, done.stdout.strip()) == (0, f"{uid}  1 series, 1 sent to DOSESTREAM"), (
        done.stderr
    )
    becomes_a_row(stack, uid)


@pytest.mark.skipif(shutil.which("movescu") is None, reason="dcmtk (movescu) is not installed")
@pytest.mark.parametrize("pacs", [pytest.param("archive", marks=needs_dcmqrscp), "orthanc"])
def test_a_report_that_dcmtk_moves_from_an_archive_becomes_a_row(
    stack: RunningStack, pacs: str, request: pytest.FixtureRequest
) -> None:
    port: int = request.getfixturevalue(pacs)
    uid = f"1.2.826.0.1.6.{time.time_ns()}"
    with Storer("127.0.0.1", port, "PACS") as storer:
        assert storer.store(dose_report(uid)) == 0
    keys = ("0008,0052=STUDY", f"0020,000D={uid}")
    command = ["movescu", "-S", "-aec", "PACS", "-aem", stack.ready["dicom"]["ae_title"]]
    command += [word for key in keys for word in ("-k", key)]
    done = subprocess.run(
        [*command, "127.0.0.1", str(port)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    becomes_a_row(stack, uid)


@needs_dcmqrscp
def test_a_study_that_the_archive_has_not_is_told(stack: RunningStack, archive: int) -> None:
    done = fetch(stack, archive, "--study", "1.2.3.4.5")
    assert done.returncode == 1
    assert done.stdout.strip() == "1.2.3.4.5  0 series, 0 sent to DOSESTREAM: the archive has no such study"


@needs_dcmqrscp
def test_a_listener_that_the_archive_does_not_know_is_told(stack: RunningStack, archive: int) -> None:
    uid = f"1.2.826.0.1.8.{time.time_ns()}"
    with Storer("127.0.0.1", archive, "PACS") as storer:
        assert storer.store(dose_report(uid)) == 0
    done = fetch(stack, archive, "--study", uid, "--destination", "NOBODY")
    assert done.returncode == 1
    assert "0xA801" in done.stdout


def test_an_archive_that_is_away_is_told(stack: RunningStack) -> None:
    done = fetch(stack, ports.free(set()), "--study", "1.2.3")
    assert done.returncode == 2
    assert "did not answer" in done.stderr


def test_missing_says_how_many(stack: RunningStack) -> None:
    command = [DOSESTREAM, "missing", "--ready-file", str(stack.ready_file)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].split()[1].startswith("missing")


ORM = (
    "MSH|^~\\&|RIS|HOSP|DOSE|HOSP|{now}||ORM^O01|W{id}|P|2.3.1\r"
    "PID|1||W{id}^^^HOSP||WORK^LIST||19700101|M\r"
    "ORC|{code}|PW{id}|FW{id}||{status}||^^^{now}\r"
    "OBR|1|PW{id}|FW{id}|CTABD^CT Abdomen^L||||||||||||||AW{id}|RW{id}|SW{id}||||CT\r"
)


def told(stack: RunningStack, number: int, code: str, status: str) -> None:
    text = ORM.format(now=datetime.now(UTC).strftime("%Y%m%d%H%M%S"), id=number, code=code, status=status)
    with MllpSender(stack.ready["mllp"]["host"], stack.ready["mllp"]["port"]) as sender:
        assert b"MSA|AA" in sender.send(text.encode())


@pytest.mark.skipif(shutil.which("findscu") is None, reason="dcmtk (findscu) is not installed")
def test_an_order_sent_to_the_stack_is_on_its_worklist_until_it_is_cancelled(stack: RunningStack) -> None:
    number = time.time_ns() % 10**10
    worklist = stack.ready["worklist"]

    def offered() -> bool:
        command: Sequence[str] = [
            "findscu",
            "-W",
            "-aec",
            worklist["ae_title"],
            "-k",
            f"0008,0050=AW{number}",
        ]
        done = subprocess.run(
            [*command, worklist["host"], str(worklist["port"])], capture_output=True, text=True, check=True
        )
        return f"[AW{number}" in done.stdout + done.stderr

    told(stack, number, "NW", "SC")
    wait_until(offered, "the step on the worklist")
    told(stack, number, "CA", "CA")
    wait_until(lambda: not offered(), "the step off the worklist")
