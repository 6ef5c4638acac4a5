"""Performed procedure steps, availability notifications and storage commitment, by pynetdicom as the peer."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sr_builder as sr
from arrivals_running import (
    Running,
    audited,
    dose_report,
    image_header,
    new_uid,
    running,
    settings_for,
)
from pydicom import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt
from running_stack import wait_until

from dosestream.dose.step_header import INSTANCE_AVAILABILITY, PERFORMED_STEP
from dosestream.embedded import ports
from dosestream.events.codec import Codec
from dosestream.events.records import Audit, RawMessage, Rejection, Study
from dosestream.kafka.publisher import Position
from dosestream.kafka.topics import Topic
from dosestream.settings import DicomSettings, KafkaSettings, SourceSettings
from services.arrivals.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from services.arrivals.publications import Publications

MPPS = PERFORMED_STEP


@pytest.fixture(scope="module")
def commitment_port() -> int:
    return ports.free(set())


@pytest.fixture(scope="module")
def arrivals(
    kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory, commitment_port: int
) -> Iterator[Running]:
    settings = settings_for(
        kafka,
        tmp_path_factory.mktemp("repeats"),
        DicomSettings(port=0),
        SourceSettings(name="listens", ae_title="LISTENS", commitment=f"127.0.0.1:{commitment_port}"),
        SourceSettings(name="lenient", ae_title="LENIENT", on_reject="AA"),
    )
    with running(settings) as service:
        yield service


def created(study: str, **changes: Any) -> Dataset:
    scheduled = Dataset()
    scheduled.StudyInstanceUID = study
    scheduled.AccessionNumber = "A1"
    scheduled.RequestedProcedureID = "R1"
    scheduled.ScheduledProcedureStepID = "S1"
    step = Dataset()
    step.PatientName, step.PatientID = "Doe^Jane", "P1"
    step.Modality = "CT"
    step.PerformedProcedureStepID = "PPS1"
    step.PerformedStationAETitle = "CT1"
    step.PerformedProcedureStepStartDate, step.PerformedProcedureStepStartTime = "20260701", "081500"
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.ScheduledStepAttributesSequence = Sequence([scheduled])
    for name, value in changes.items():
        setattr(step, name, value)
    return step


def changed(status: str = "") -> Dataset:
    step = Dataset()
    if status:
        step.PerformedProcedureStepStatus = status
        step.PerformedProcedureStepEndDate, step.PerformedProcedureStepEndTime = "20260701", "083000"
    step.PerformedProcedureStepDescription = f"CT CHEST {status}".strip()
    return step


def told(arrivals: Running, messages: list[tuple[str, Dataset]], uid: str, calling: str = "CT1") -> list[int]:
    """The statuses of messages about one step, sent in turn."""
    association = arrivals.associate(MPPS, calling=calling)
    assert association.is_established
    statuses = []
    for command, data_set in messages:
        if command == "N-CREATE":
            answer, _ = association.send_n_create(data_set, MPPS, uid)
        else:
            answer, _ = association.send_n_set(data_set, MPPS, uid)
        statuses.append(int(answer.Status))
    association.release()
    return statuses


STUDY = "1.2.3.4"
CASES: dict[str, tuple[list[tuple[str, Dataset]], list[int], list[str]]] = {
    "a step is created, changed and completed": (
        [
            ("N-CREATE", created(STUDY)),
            ("N-SET", changed()),
            ("N-SET", changed("COMPLETED")),
        ],
        [0, 0, 0],
        ["IN PROGRESS", "", "COMPLETED"],
    ),
    "a step is discontinued": (
        [("N-CREATE", created(STUDY)), ("N-SET", changed("DISCONTINUED"))],
        [0, 0],
        ["IN PROGRESS", "DISCONTINUED"],
    ),
    "a step that is over is not changed": (
        [
            ("N-CREATE", created(STUDY)),
            ("N-SET", changed("COMPLETED")),
            ("N-SET", changed("DISCONTINUED")),
        ],
        [0, 0, 0x0110],
        ["IN PROGRESS", "COMPLETED"],
    ),
    "a step is not created twice": (
        [("N-CREATE", created(STUDY)), ("N-CREATE", created(STUDY, PerformedLocation="X"))],
        [0, 0x0111],
        ["IN PROGRESS"],
    ),
    "the same message again gets the same answer": (
        [("N-CREATE", created(STUDY)), ("N-CREATE", created(STUDY))],
        [0, 0],
        ["IN PROGRESS"],
    ),
    "a change before the creation is told as unknown, and counts": (
        [("N-SET", changed("COMPLETED")), ("N-CREATE", created(STUDY))],
        [0x0112, 0],
        ["COMPLETED", "IN PROGRESS"],
    ),
    "a step begins in progress": (
        [("N-CREATE", created(STUDY, PerformedProcedureStepStatus="COMPLETED"))],
        [0x0106],
        [],
    ),
    "a status that is none is refused": (
        [("N-CREATE", created(STUDY)), ("N-SET", changed("DONE"))],
        [0, 0x0106],
        ["IN PROGRESS"],
    ),
    "a step of no study is refused": (
        [("N-CREATE", created(STUDY, ScheduledStepAttributesSequence=Sequence([])))],
        [0x0106],
        [],
    ),
}


@pytest.mark.parametrize(("messages", "statuses", "published"), CASES.values(), ids=CASES.keys())
def test_messages_about_a_step(
    arrivals: Running, messages: list[tuple[str, Dataset]], statuses: list[int], published: list[str]
) -> None:
    uid = new_uid()
    assert told(arrivals, messages, uid) == statuses
    studies = arrivals.published(Topic.STUDY, Study, uid)
    assert [one.step_status for one in studies] == published
    raws = arrivals.published(Topic.DICOM_RAW, RawMessage, uid)
    repeats = len(messages) - len({repr((command, str(message))) for command, message in messages})
    assert len(raws) == len(messages) - repeats
    assert [raw.answer for raw in raws] == [f"{status:04X}" for status in statuses[: len(raws)]]
    rejected = arrivals.published(Topic.REJECTED, Rejection, uid)
    assert len(rejected) + len(studies) == len(raws)


def test_a_created_step_says_study_patient_order_and_start(arrivals: Running) -> None:
    uid = new_uid()
    told(arrivals, [("N-CREATE", created(STUDY))], uid)
    (study,) = arrivals.published(Topic.STUDY, Study, uid)
    assert (study.kind, study.study_instance_uid, study.accession_number) == ("performed_step", STUDY, "A1")
    assert (study.patient.identifiers[0].value, study.patient.name) == ("P1", "Doe^Jane")
    assert (study.study_local, study.modality) == ("2026-07-01T08:15:00", "CT")
    (request,) = study.requests
    assert (request.requested_procedure_id, request.scheduled_step_id) == ("R1", "S1")
    (raw,) = arrivals.published(Topic.DICOM_RAW, RawMessage, uid)
    assert raw.message_type == f"{MPPS}^N-CREATE"


def test_messages_about_a_step_are_on_the_audit_trail(arrivals: Running) -> None:
    uid = new_uid()
    create, late = ("N-CREATE", created(STUDY)), ("N-SET", changed("DISCONTINUED"))
    told(arrivals, [create, ("N-SET", changed("COMPLETED")), late], uid)
    told(arrivals, [create], uid)

    def receipts() -> list[Audit]:
        return [one for one in audited(arrivals.settings.kafka) if one.control_id == uid]

    wait_until(lambda: len(receipts()) == 4, "the audit records")
    assert [(one.message_type, one.answer, one.code, one.repeat) for one in receipts()] == [
        (f"{MPPS}^N-CREATE", "0000", "", False),
        (f"{MPPS}^N-SET", "0000", "", False),
        (f"{MPPS}^N-SET", "0110", "step_closed", False),
        (f"{MPPS}^N-CREATE", "0000", "", True),
    ]
    raws = arrivals.published(Topic.DICOM_RAW, RawMessage, uid)
    assert [one.content_hash for one in receipts()[:3]] == [raw.content_hash for raw in raws]


def test_a_closed_step_is_told_with_the_error_id_of_the_standard(arrivals: Running) -> None:
    uid = new_uid()
    told(arrivals, [("N-CREATE", created(STUDY)), ("N-SET", changed("COMPLETED"))], uid)
    association = arrivals.associate(MPPS)
    answer, _ = association.send_n_set(changed("DISCONTINUED"), MPPS, uid)
    association.release()
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)


def test_a_source_that_stops_on_refusals_hears_success(arrivals: Running) -> None:
    uid = new_uid()
    assert told(arrivals, [("N-SET", changed("COMPLETED"))], uid, "LENIENT") == [0]
    assert len(arrivals.published(Topic.STUDY, Study, uid)) == 1


def test_states_survive_a_restart(kafka: KafkaSettings, tmp_path: Path) -> None:
    uid, settings = new_uid(), settings_for(kafka, tmp_path, DicomSettings(port=0))
    with running(settings) as service:
        assert told(service, [("N-CREATE", created(STUDY))], uid) == [0]
    with running(settings) as service:
        assert told(service, [("N-SET", changed("COMPLETED"))], uid) == [0]
    with running(settings) as service:
        assert told(service, [("N-SET", changed("DISCONTINUED"))], uid) == [0x0110]


@pytest.mark.parametrize("uid", [new_uid(), None], ids=["with the instance", "without it"])
def test_an_availability_notification_is_a_study_event(arrivals: Running, uid: str | None) -> None:
    study = new_uid()
    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = sr.CT_IMAGE, new_uid()
    instance.InstanceAvailability, instance.RetrieveAETitle = "ONLINE", "PACS"
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = new_uid(), Sequence([instance])
    notification = Dataset()
    notification.ReferencedPerformedProcedureStepSequence = Sequence([])
    notification.StudyInstanceUID = study
    notification.ReferencedSeriesSequence = Sequence([series])
    answers: list[Dataset] = []
    heard = (evt.EVT_DIMSE_RECV, lambda event: answers.append(event.message.command_set))
    association = arrivals.associate(INSTANCE_AVAILABILITY, calling="PACS", evt_handlers=[heard])
    answer, _ = association.send_n_create(notification, INSTANCE_AVAILABILITY, uid)
    association.release()
    assert answer.Status == 0x0000
    # Where the sender names the instance so does the answer; else we do.
    (event,) = arrivals.published(Topic.STUDY, Study, str(answers[0].AffectedSOPInstanceUID))
    assert uid is None or event.control_id == uid
    assert (event.kind, event.availability, event.study_instance_uid) == ("available", "ONLINE", study)


def commitment(*references: tuple[str, str]) -> Dataset:
    request = Dataset()
    request.TransactionUID = new_uid()
    request.ReferencedSOPSequence = Sequence([])
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        request.ReferencedSOPSequence.append(item)
    return request


def _heard(results: list[tuple[int, Dataset]], count: int) -> bool:
    return len(results) == count


def results(event: Any, heard: list[tuple[int, Dataset]]) -> tuple[int, None]:
    heard.append((event.event_type, event.event_information))
    return 0x0000, None


@pytest.mark.parametrize("calling", ["CT1", "LISTENS"])
def test_commitment_is_given_for_what_kafka_holds_whole_and_for_nothing_else(
    arrivals: Running, commitment_port: int, calling: str
) -> None:
    report, picture, never = dose_report(), image_header(), new_uid()
    with arrivals.storer() as storer:
        assert storer.store(sr.part10(report)) == 0x0000
        assert storer.store(sr.part10(picture)) == 0x0000
    heard: list[tuple[int, Dataset]] = []
    handlers = [(evt.EVT_N_EVENT_REPORT, results, [heard])]
    ae: Any = AE(ae_title="LISTENS")
    ae.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", commitment_port), block=False, evt_handlers=handlers)
    try:
        association = arrivals.associate(PUSH_MODEL, calling=calling, evt_handlers=handlers)
        assert association.is_established
        asked = [
            (sr.DOSE_SR, report.SOPInstanceUID),
            (sr.ENHANCED_SR, report.SOPInstanceUID),
            (sr.CT_IMAGE, picture.SOPInstanceUID),
            (sr.DOSE_SR, never),
        ]
        for count, references in enumerate((asked[:1], asked), 1):
            request = commitment(*references)
            answer, _ = association.send_n_action(request, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
            assert answer.Status == 0x0000
            wait_until(partial(_heard, heard, count), "the result")
            assert heard[-1][1].TransactionUID == request.TransactionUID
        association.release()
    finally:
        server.shutdown()
    assert [event_type for event_type, _ in heard] == [1, 2]
    _, information = heard[1]
    (held,) = information.ReferencedSOPSequence
    assert held.ReferencedSOPInstanceUID == report.SOPInstanceUID
    assert [item.FailureReason for item in information.FailedSOPSequence] == [0x0119, 0x0122, 0x0112]


def test_a_message_that_was_refused_does_not_count_when_its_raw_record_is_read_again(
    arrivals: Running,
) -> None:
    uid = new_uid()
    told(arrivals, [("N-CREATE", created(STUDY)), ("N-CREATE", created(STUDY, PerformedLocation="X"))], uid)
    first, second = arrivals.published(Topic.DICOM_RAW, RawMessage, uid)
    again = Publications(arrivals.settings, Codec())
    assert isinstance(again.read(first, Position(0, 0)), Study)
    refused = again.read(second, Position(2, 7))
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.raw_partition, refused.raw_offset) == ("step_created_twice", 2, 7)
    (rejected,) = arrivals.published(Topic.REJECTED, Rejection, uid)
    assert refused.event_id == rejected.event_id
