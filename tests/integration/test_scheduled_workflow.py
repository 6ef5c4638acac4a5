"""IHE Scheduled Workflow through the stack's own ports: ordered, offered, begun, ended, reported, linked."""

import time
from datetime import UTC, datetime
from typing import Any

import psycopg
from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pynetdicom import AE
from running_stack import RunningStack, wait_until
from sr_builder import container, num, part10, report, uid
from test_worklist import Console, query

from dosestream.client.send import MllpSender
from dosestream.client.store import Storer
from dosestream.dose.step_header import PERFORMED_STEP

ORM = (
    "MSH|^~\\&|RIS|HOSP|DOSE|HOSP|{now}||ORM^O01|SWF{id}|P|2.3.1\r"
    "PID|1||SWF{id}^^^HOSP||WORK^FLOW||19700101|F\r"
    "ORC|NW|PSWF{id}|FSWF{id}||SC||^^^{now}\r"
    "OBR|1|PSWF{id}|FSWF{id}|CTABD^CT Abdomen^L||||||||||||||ASWF{id}|RSWF{id}|SSWF{id}||||CT\r"
)


class Room:
    """A CT console at the stack: it asks for its worklist, tells of its steps and stores its reports."""

    def __init__(self, stack: RunningStack, number: int) -> None:
        self._stack, self._number = stack, number
        worklist = stack.ready["worklist"]
        self._console = Console(worklist["host"], worklist["port"])

    def order(self) -> None:
        """A RIS orders the examination."""
        mllp, now = self._stack.ready["mllp"], datetime.now(UTC)
        with MllpSender(mllp["host"], mllp["port"]) as sender:
            message = ORM.format(now=now.strftime("%Y%m%d%H%M%S"), id=self._number)
            assert b"MSA|AA" in sender.send(message.encode())

    def offered(self) -> list[Dataset]:
        """What the worklist answers for the accession number."""
        return self._console.ask(query(AccessionNumber=f"ASWF{self._number}"))

    def tell(self, step_uid: str, create: Dataset | None = None, status: str = "") -> int:
        """N-CREATE of a step, or N-SET of its status; the answer's."""
        dicom = self._stack.ready["dicom"]
        ae: Any = AE(ae_title="CT1")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        ae.add_requested_context(PERFORMED_STEP)
        association = ae.associate(dicom["host"], dicom["port"], ae_title=dicom["ae_title"])
        assert association.is_established
        if create is not None:
            answer, _ = association.send_n_create(create, PERFORMED_STEP, step_uid)
        else:
            change = Dataset()
            change.PerformedProcedureStepStatus = status
            answer, _ = association.send_n_set(change, PERFORMED_STEP, step_uid)
        association.release()
        return int(answer.Status)

    def store(self, entry: Dataset) -> None:
        """The dose report of what a worklist entry asked for."""
        dicom, study = self._stack.ready["dicom"], str(entry.StudyInstanceUID)
        event = container("113819", uid("113769", f"{study}.9"), num("113838", "42", "mGy.cm"))
        total = container("113811", num("113813", "42", "mGy.cm"))
        made = report(
            total, event, template="10011", StudyInstanceUID=study, SOPInstanceUID=f"{study}.1",
            PatientID=str(entry.PatientID), PatientName=str(entry.PatientName), PatientBirthDate="19700101",
            AccessionNumber=str(entry.AccessionNumber),
            StudyDate=datetime.now(UTC).strftime("%Y%m%d"), StudyTime=datetime.now(UTC).strftime("%H%M%S"),
        )  # fmt: skip
        with Storer(dicom["host"], dicom["port"], dicom["ae_title"], "CT1") as storer:
            assert storer.store(part10(made)) == 0x0000

    def study(self, entry: Dataset) -> tuple[Any, ...] | None:
        """link_state, link_method, accession_number and CT total of the entry's study."""
        columns = "link_state, link_method, accession_number, filler_order_number, ct_dlp_total_mgycm"
        with psycopg.connect(self._stack.ready["postgres"], autocommit=True) as connection:
            return connection.execute(
                f"SELECT {columns} FROM dose.study WHERE study_instance_uid = %s",
                [str(entry.StudyInstanceUID)],
            ).fetchone()


def begun(entry: Dataset) -> Dataset:
    """The N-CREATE that a console makes of a worklist entry (IHE RAD-6)."""
    scheduled = entry.ScheduledProcedureStepSequence[0]
    reference = Dataset()
    reference.StudyInstanceUID, reference.AccessionNumber = entry.StudyInstanceUID, entry.AccessionNumber
    reference.RequestedProcedureID = entry.RequestedProcedureID
    reference.ScheduledProcedureStepID = scheduled.ScheduledProcedureStepID
    step, now = Dataset(), datetime.now(UTC)
    step.PatientName, step.PatientID = entry.PatientName, entry.PatientID
    step.Modality, step.PerformedStationAETitle = "CT", "CT1"
    step.PerformedProcedureStepID = str(scheduled.ScheduledProcedureStepID)
    step.PerformedProcedureStepStartDate = now.strftime("%Y%m%d")
    step.PerformedProcedureStepStartTime = now.strftime("%H%M%S")
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.ScheduledStepAttributesSequence = Items([reference])
    return step


def new_room(stack: RunningStack) -> tuple[Room, Dataset, str]:
    """A room whose order is on the worklist; its entry, and a UID for its step."""
    number = time.time_ns() % 10**10
    room = Room(stack, number)
    room.order()
    wait_until(lambda: len(room.offered()) == 1, "the step on the worklist")
    (entry,) = room.offered()
    return room, entry, f"1.2.826.0.1.9.{number}"


def test_an_order_is_offered_begun_completed_reported_and_linked(stack: RunningStack) -> None:
    room, entry, step = new_room(stack)
    assert room.tell(step, create=begun(entry)) == 0x0000
    wait_until(lambda: room.offered() == [], "the begun step off the worklist")
    assert room.tell(step, status="COMPLETED") == 0x0000
    room.store(entry)
    accession = str(entry.AccessionNumber)
    expected = ("linked", "accession", accession, f"F{accession[1:]}", 42.0)
    wait_until(lambda: room.study(entry) == expected, "the study linked to its order")
    assert room.offered() == []


def test_a_discontinued_step_stays_off_the_worklist_and_its_study_has_no_dose(stack: RunningStack) -> None:
    room, entry, step = new_room(stack)
    assert room.tell(step, create=begun(entry)) == 0x0000
    wait_until(lambda: room.offered() == [], "the begun step off the worklist")
    assert room.tell(step, status="DISCONTINUED") == 0x0000
    # A step that is over cannot be completed.
    assert room.tell(step, status="COMPLETED") == 0x0110
    wait_until(lambda: room.study(entry) is not None, "the study's row")
    found = room.study(entry)
    assert found is not None and found[0] == "linked" and found[4] is None
    assert room.offered() == []
