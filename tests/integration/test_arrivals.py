"""C-STORE and C-ECHO against a real broker: what is answered, and what is in Kafka by then."""

import json
import os
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import pydicom
import pytest
import sr_builder as sr
from arrivals_running import audited
from pydicom import Dataset
from pynetdicom import AE
from reading import records
from running_stack import DOSESTREAM, wait_until
from sr_builder import coded, num, text

from dosestream.client.store import StoreError, Storer, store_files
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.events.codec import Codec
from dosestream.events.identity import patient_key
from dosestream.events.receipt import ReceiptClock
from dosestream.events.records import Audit, RawMessage, Rejection, Study
from dosestream.kafka.normalised_up_to import DICOM_GROUP
from dosestream.kafka.publisher import Position, Publisher
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.roster import Member, Roster
from dosestream.kafka.stretch import INSTANCE_HEADER
from dosestream.kafka.topics import Topic
from dosestream.life import Life
from dosestream.settings import (
    DicomSettings,
    KafkaSettings,
    RepeatsSettings,
    Settings,
    SiteSettings,
    SourceSettings,
)
from services.arrivals.intake import Instance, Intake
from services.arrivals.listener import Listener
from services.arrivals.publications import Publications
from services.arrivals.service import Arrivals

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
CALLED = "DOSESTREAM"

E = TypeVar("E", RawMessage, Study, Rejection, Audit)


@dataclass(frozen=True)
class Running:
    """The service under test, in this process."""

    settings: Settings
    port: int
    intake: Intake | None = None

    def storer(self, calling: str = "CT1") -> Storer:
        return Storer("127.0.0.1", self.port, CALLED, calling)

    def published(self, topic: Topic, kind: type[E], sop_instance_uid: str) -> list[E]:
        """The records of a topic about one instance."""
        held = records(self.settings.kafka, topic, kind)
        return [record for _, record in held if record.control_id == sop_instance_uid]


def settings_for(kafka: KafkaSettings, folder: Path) -> Settings:
    return Settings(
        kafka=kafka,
        repeats=RepeatsSettings(folder=str(folder)),
        site=SiteSettings(authority="SITE", timezone="Europe/Amsterdam"),
        dicom=DicomSettings(port=0),
        source=(
            SourceSettings(name="ct-room-1", ae_title="CT1", authority="HIS", timezone="America/New_York"),
            SourceSettings(name="lenient", ae_title="LENIENT", on_reject="AA"),
            SourceSettings(name="elsewhere", ae_title="ELSEWHERE", peers=("192.0.2.0/24",)),
        ),
    )


@pytest.fixture(scope="module")
def arrivals(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = settings_for(kafka, tmp_path_factory.mktemp("repeats"))
    service = Arrivals(settings)
    try:
        listener = service.start(threading.Event())
        assert isinstance(listener, Listener)
        yield Running(settings, listener.port, service.intake)
    finally:
        service.stop()


def new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def dose_report(**changes: Any) -> Dataset:
    event = sr.event(num("122130", "1.5", "dGy.cm2"), coded("113721", sr.FLUOROSCOPY), event_uid=new_uid())
    changes = {"SOPInstanceUID": new_uid(), "StudyInstanceUID": new_uid()} | changes
    return sr.projection(event, totals=(num("113722", "1.5", "dGy.cm2"),), **changes)


def image() -> Dataset:
    data_set = sr.header(
        SOPClassUID=sr.CT_IMAGE, SOPInstanceUID=new_uid(), StudyInstanceUID=new_uid(), Modality="CT"
    )
    data_set.Rows = data_set.Columns = 64
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 16, 15
    data_set.SamplesPerPixel, data_set.PixelRepresentation = 1, 0
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.PixelData = b"\x55" * 8192
    data_set["PixelData"].VR = "OW"
    return data_set


def test_an_echo_is_answered(arrivals: Running) -> None:
    ae: Any = AE(ae_title="ANYBODY")
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", arrivals.port, ae_title="WHATEVER")
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000
    association.release()


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_a_dose_report_is_in_kafka_raw_and_normalised_when_success_is_heard(
    arrivals: Running, transfer_syntax: str
) -> None:
    report = dose_report()
    body = sr.part10(report, transfer_syntax)
    with arrivals.storer() as storer:
        assert storer.store(body) == 0x0000
    (raw,) = arrivals.published(Topic.DICOM_RAW, RawMessage, report.SOPInstanceUID)
    (study,) = arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)
    # The data set as it came, byte for byte, in a DICOM file that pydicom reads.
    sent = body[body.index(b"DICM") + 4 :]
    assert raw.body.endswith(sent[int.from_bytes(sent[8:12], "little") + 12 :])
    assert pydicom.dcmread(BytesIO(raw.body)).StudyInstanceUID == report.StudyInstanceUID
    assert (raw.source, raw.called, raw.transport, raw.answer) == ("ct-room-1", CALLED, "dicom", "0000")
    assert (raw.transfer_syntax, raw.message_type) == (transfer_syntax, sr.DOSE_SR)
    assert study.received_at == raw.received_at
    assert study.study_instance_uid == report.StudyInstanceUID
    assert study.study_zone == "America/New_York"
    assert study.dose is not None
    assert [(total.quantity, total.value) for total in study.dose.totals] == [("dap", 1.5e-05)]
    position = (study.raw_partition, study.raw_offset)
    assert position == position_of(arrivals, report.SOPInstanceUID)


def position_of(arrivals: Running, sop_instance_uid: str) -> tuple[int, int]:
    reader = PartitionReader(arrivals.settings.kafka)
    try:
        for partition in reader.partitions(str(Topic.DICOM_RAW)):
            for batch in reader.read(partition, *reader.watermarks(partition)):
                for record in batch:
                    raw = Codec().decode(record.value or b"", RawMessage)
                    if raw.control_id == sop_instance_uid:
                        return partition.number, record.offset
    finally:
        reader.close()
    raise AssertionError("the raw record is not there")


def test_the_keys_are_the_patients_under_the_authority_of_the_source(arrivals: Running) -> None:
    arrival = Publications(arrivals.settings, Codec())
    raw = RawMessage(
        source="ct-room-1",
        control_id="1.2",
        message_type=sr.DOSE_SR,
        received_at=1,
        transport="dicom",
        content_hash="",
        body=sr.part10(dose_report(PatientID="P77")),
    )
    study = arrival.read(raw, Position(0, 0))
    key = patient_key(b"dosestream", "HIS", "P77")
    assert (arrival.raw(raw, study, (INSTANCE_HEADER, b"me")).key, arrival.event(study).key) == (key, key)
    assert not [value for _, value in arrival.event(study).headers if b"P77" in value]


def test_a_repeat_gets_the_same_answer_and_no_second_record(arrivals: Running) -> None:
    report = dose_report()
    body = sr.part10(report)
    for _ in range(2):
        with arrivals.storer() as storer:
            assert storer.store(body) == 0x0000
    assert len(arrivals.published(Topic.DICOM_RAW, RawMessage, report.SOPInstanceUID)) == 1
    assert len(arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)) == 1


def test_a_truncated_report_is_kept_rejected_and_refused(arrivals: Running) -> None:
    report = dose_report()
    with arrivals.storer() as storer:
        status = storer.store(sr.part10(report)[:-60])
        assert 0xC000 <= status <= 0xCFFF
        # The association goes on.
        assert storer.store(sr.part10(dose_report())) == 0x0000
    (raw,) = arrivals.published(Topic.DICOM_RAW, RawMessage, report.SOPInstanceUID)
    (rejection,) = arrivals.published(Topic.REJECTED, Rejection, report.SOPInstanceUID)
    assert (rejection.code, rejection.location) == ("truncated", "(0040,A730)")
    assert rejection.body == raw.body
    assert (raw.answer, rejection.answer) == ("C000", "C000")
    assert (rejection.raw_partition, rejection.raw_offset) == position_of(arrivals, report.SOPInstanceUID)
    assert arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID) == []


def test_a_source_that_stops_on_refusals_is_told_success_and_the_rejection_is_kept(arrivals: Running) -> None:
    report = dose_report()
    with arrivals.storer("LENIENT") as storer:
        assert storer.store(sr.part10(report)[:-60]) == 0x0000
    assert len(arrivals.published(Topic.REJECTED, Rejection, report.SOPInstanceUID)) == 1


def test_a_report_that_is_no_dose_report_is_a_study_arrival_with_a_flag(arrivals: Running) -> None:
    report = sr.report(
        text("121071", "No finding"), title="126000", SOPClassUID=sr.ENHANCED_SR, SOPInstanceUID=new_uid()
    )
    with arrivals.storer("UNKNOWN_AE") as storer:
        assert storer.store(sr.part10(report)) == 0x0000
    (study,) = arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)
    assert (study.kind, study.dose, study.source) == ("structured_report", None, "UNKNOWN_AE")
    assert study.study_zone == "Europe/Amsterdam"
    assert study.issues[0].startswith("sr_without_dose")


def test_a_report_without_accession_patient_or_date_arrives_all_the_same(arrivals: Running) -> None:
    report = dose_report(AccessionNumber=None, PatientID=None, StudyDate=None)
    with arrivals.storer() as storer:
        assert storer.store(sr.part10(report)) == 0x0000
    (study,) = arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)
    assert [issue.split(":")[0] for issue in study.issues] == [
        "no_accession",
        "no_patient_id",
        "no_study_date",
    ]


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, DEFLATED, JPEG])
def test_an_image_is_in_kafka_without_its_pixels(arrivals: Running, transfer_syntax: str) -> None:
    data_set = image()
    if transfer_syntax == JPEG:
        data_set.PixelData = pydicom.encaps.encapsulate([b"\x55" * 8192])
        data_set["PixelData"].VR = "OB"
        data_set["PixelData"].is_undefined_length = True
    with arrivals.storer() as storer:
        assert storer.store(sr.part10(data_set, transfer_syntax)) == 0x0000
    (raw,) = arrivals.published(Topic.DICOM_RAW, RawMessage, data_set.SOPInstanceUID)
    (study,) = arrivals.published(Topic.STUDY, Study, data_set.SOPInstanceUID)
    kept = pydicom.dcmread(BytesIO(raw.body))
    assert "PixelData" not in kept
    assert kept.Rows == 64
    assert len(raw.body) < 2000
    assert (study.kind, study.modality, study.dose) == ("image", "CT", None)


def test_an_instance_over_the_cap_is_rejected_and_the_association_goes_on(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    settings = settings_for(replace(kafka, max_message_bytes=200_000), tmp_path)
    service = Arrivals(settings)
    try:
        listener = service.start(threading.Event())
        assert listener is not None
        running = Running(settings, listener.port)
        report = dose_report()
        report.ContentSequence.append(text("121106", "x" * 300_000))
        with running.storer() as storer:
            assert 0xC000 <= storer.store(sr.part10(report)) <= 0xCFFF
            assert storer.store(sr.part10(dose_report())) == 0x0000
        (rejection,) = running.published(Topic.REJECTED, Rejection, report.SOPInstanceUID)
        assert (rejection.code, rejection.raw_partition) == ("too_large", -1)
    finally:
        service.stop()


@pytest.mark.skipif(shutil.which("storescu") is None, reason="dcmtk's storescu is not installed")
@pytest.mark.parametrize("option", ["-xe", "-xi", "-xb", "-xd"])
def test_dcmtk_stores_a_report(arrivals: Running, tmp_path: Path, option: str) -> None:
    report = dose_report()
    # storescu proposes the file's own encoding: one file per option.
    syntax = {"-xe": EXPLICIT, "-xi": IMPLICIT, "-xb": BIG_ENDIAN, "-xd": DEFLATED}[option]
    path = tmp_path / "report.dcm"
    path.write_bytes(sr.part10(report, syntax))
    command = ["storescu", option, "-aet", "CT1", "-aec", CALLED, "127.0.0.1", str(arrivals.port), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (study,) = arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)
    assert study.dose is not None


@pytest.mark.skipif(shutil.which("echoscu") is None, reason="dcmtk's echoscu is not installed")
def test_dcmtk_hears_an_echo(arrivals: Running) -> None:
    command = ["echoscu", "-aec", CALLED, "127.0.0.1", str(arrivals.port)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_the_client_prints_a_line_per_file_and_tells_refusals_by_its_exit_code(
    arrivals: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, other = tmp_path / "a.dcm", tmp_path / "b.dcm", tmp_path / "c.txt"
    good.write_bytes(sr.part10(dose_report()))
    bad.write_bytes(sr.part10(dose_report())[:-60])
    assert store_files([good], CALLED, "127.0.0.1", arrivals.port) == 0
    other.write_text("no DICOM")
    assert store_files([tmp_path], CALLED, "127.0.0.1", arrivals.port) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1][:8] for line in lines] == ["0x0000", "0x0000", "0xC000", "not sent"]


# pynetdicom drops its socket unclosed when the connection is refused.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_client_says_where_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(sr.part10(dose_report()))
    with Storer("127.0.0.1", 1, CALLED) as storer, pytest.raises(StoreError, match="did not answer"):
        storer.store(path)


def test_a_raw_record_without_its_event_gets_it_at_the_next_start(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    settings = settings_for(kafka, tmp_path)
    # A process that is over was on the roster, and stored one record raw before it died.
    roster = Roster(kafka, str(Topic.DICOM_RAW), DICOM_GROUP)
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    life = Life(f"gone-{uuid.uuid4().hex[:8]}", Life.mine().machine, gone.pid, 1)
    roster.write(Member(life, "", "1", roster.ends()))
    report = dose_report()
    clock = ReceiptClock()
    raw = RawMessage(
        source="ct-room-1",
        control_id=report.SOPInstanceUID,
        message_type=sr.DOSE_SR,
        received_at=clock.next("ct-room-1"),
        transport="dicom",
        content_hash="",
        body=sr.part10(report),
    )
    publisher = Publisher(kafka)
    headers = [(INSTANCE_HEADER, life.name.encode())]
    position = publisher.publish_and_wait(str(Topic.DICOM_RAW), b"key", Codec().encode(raw), headers)
    publisher.close()
    service = Arrivals(settings)
    try:
        listener = service.start(threading.Event())
        assert listener is not None
        # Another process of the machine may have taken it over at the same time: the same event then.
        studies = Running(settings, listener.port).published(Topic.STUDY, Study, report.SOPInstanceUID)
        assert studies
        for study in studies:
            assert (study.raw_partition, study.raw_offset) == position
            assert study.received_at == raw.received_at
    finally:
        service.stop()


def test_with_the_broker_away_it_says_out_of_resources_and_works_again_on_the_same_association(
    arrivals: Running, embedded_kafka: EmbeddedKafka
) -> None:
    first, second = dose_report(), dose_report()
    with arrivals.storer() as storer:
        assert storer.store(sr.part10(first)) == 0x0000
        association = storer._association
        embedded_kafka.stop()
        try:
            assert storer.store(sr.part10(second)) == 0xA700
            assert storer.store(sr.part10(second)) == 0xA700
        finally:
            embedded_kafka.launch()
            embedded_kafka.wait_ready(200)
        statuses: list[int] = []

        def stored() -> bool:
            statuses.append(storer.store(sr.part10(second)))
            return statuses[-1] == 0x0000

        wait_until(stored, "success after the broker is back")
        assert storer._association is association
    studies = arrivals.published(Topic.STUDY, Study, second.SOPInstanceUID)
    assert len({study.event_id for study in studies}) == 1


def test_a_repeat_after_a_restart_gets_the_same_status_and_no_second_event(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    good, bad = dose_report(), dose_report(StudyInstanceUID="")
    statuses = []
    for _ in range(2):
        settings = settings_for(kafka, tmp_path)
        service = Arrivals(settings)
        try:
            listener = service.start(threading.Event())
            assert isinstance(listener, Listener)
            with Running(settings, listener.port).storer() as storer:
                statuses.append([storer.store(sr.part10(report)) for report in (good, bad)])
        finally:
            service.stop()
    assert statuses[0] == statuses[1]
    assert [status == 0 for status in statuses[0]] == [True, False]
    running = Running(settings_for(kafka, tmp_path), 0)
    for report in (good, bad):
        assert len(running.published(Topic.DICOM_RAW, RawMessage, report.SOPInstanceUID)) == 1
    assert len(running.published(Topic.STUDY, Study, good.SOPInstanceUID)) == 1
    assert len(running.published(Topic.REJECTED, Rejection, bad.SOPInstanceUID)) == 1


def test_sigterm_ends_the_service_with_0_and_what_was_answered_is_in_kafka(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    ready = tmp_path / "ready.json"
    environment = os.environ | {
        "DOSESTREAM_REPEATS": str(tmp_path / "repeats"),
        "DOSESTREAM_KAFKA": kafka.bootstrap,
        "DOSESTREAM_DICOM_PORT": "0",
        "DOSESTREAM_DICOM_AE_TITLE": "READY",
        "DOSESTREAM_READY": str(ready),
    }
    report = dose_report()
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([DOSESTREAM, "arrivals"], env=environment, stderr=log)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, "the ready file")
        told = json.loads(ready.read_text())
        assert (told["host"], told["ae_title"]) == ("127.0.0.1", "READY")
        with Storer("127.0.0.1", told["port"], "READY") as storer:
            assert storer.store(sr.part10(report)) == 0x0000
            process.send_signal(signal.SIGTERM)
            assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()
    assert (
        len(Running(settings_for(kafka, tmp_path), 0).published(Topic.STUDY, Study, report.SOPInstanceUID))
        == 1
    )
    assert "Doe" not in (tmp_path / "log").read_text()


def receipts(arrivals: Running, sop_instance_uid: str) -> list[Audit]:
    return [one for one in audited(arrivals.settings.kafka) if one.control_id == sop_instance_uid]


def test_every_receipt_is_on_the_audit_trail(arrivals: Running) -> None:
    report = dose_report()
    uid = str(report.SOPInstanceUID)
    with arrivals.storer() as storer:
        assert [storer.store(sr.part10(report)) for _ in range(2)] == [0, 0]
    wait_until(lambda: len(receipts(arrivals, uid)) == 2, "the audit records")
    first, again = receipts(arrivals, uid)
    assert (first.source, first.answer, first.repeat) == ("ct-room-1", "0000", False)
    assert (again.answer, again.repeat, again.raw_offset) == ("0000", True, -1)
    (raw,) = arrivals.published(Topic.DICOM_RAW, RawMessage, uid)
    assert (first.content_hash, first.received_at) == (raw.content_hash, raw.received_at)
    assert first.raw_offset >= 0


def test_a_stranger_under_the_title_of_a_source_has_no_association_and_stores_nothing(
    arrivals: Running,
) -> None:
    report = dose_report()
    with arrivals.storer("ELSEWHERE") as storer, pytest.raises(StoreError):
        storer.store(sr.part10(report))
    # What came by another way than an association that the listener accepted is refused all the same.
    uid = str(report.SOPInstanceUID)
    assert arrivals.intake is not None
    instance = Instance(sr.DOSE_SR, uid, EXPLICIT, b"", "ELSEWHERE", CALLED, "127.0.0.1:104")
    assert arrivals.intake.take(instance) == 0x0124
    wait_until(lambda: len(receipts(arrivals, uid)) == 1, "the audit record")
    (stranger,) = receipts(arrivals, uid)
    assert (stranger.source, stranger.answer, stranger.code) == ("elsewhere", "0124", "peer_not_allowed")
    assert arrivals.published(Topic.DICOM_RAW, RawMessage, uid) == []
