"""A planned report as a DICOM file: header, content sequence, transfer syntax (DICOM PS3.3 C.17, PS3.5, PS3.10)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from typing import Any, Final

from pydicom import config, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dosestream.simulate.dose_reports import Request
from dosestream.simulate.sr_answers import answers, differing
from dosestream.simulate.sr_codes import Code
from dosestream.simulate.sr_content import coded, plain, stamp
from dosestream.simulate.sr_plan import Answer, Item

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)
BIG_ENDIAN, DEFLATED = str(ExplicitVRBigEndian), str(DeflatedExplicitVRLittleEndian)

# Something done to the encoded data set, where pydicom would write nothing so wrong.
Edit = Callable[[bytes], bytes]
# Keyword of an attribute to its value.
Attributes = Mapping[str, Any]
NUMERIC_VALUE: Final = 0x0040A30A
# Kind of an instance that is no stored one.
PERFORMED_STEP: Final = "performed_step"
EXAMINATION: Final = Code("EXAM1", "SIM", "Examination one")


@dataclass(frozen=True, slots=True)
class Head:
    """What stands around the content.

    Attributes:
        kind: what the instance is: `dose_report`, `structured_report`, `image` or `performed_step`.
        study_at: microseconds since 1970 UTC, written without offset; None is written empty.
        name: as written (PN); `read_name` is what must be read of it.
        charset: Specific Character Set, its values parted by a backslash.
        zone: Timezone Offset From UTC is written.
        attributes: others by keyword, of images and procedure steps.
    """

    kind: str
    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    modality: str
    study_at: int | None
    content_at: int
    patient_id: str = "P4711"
    name: str = "Müller^Jürgen"
    read_name: str = "Müller^Jürgen"
    birth_date: str = "1960-01-02"
    sex: str = "M"
    charset: str = "ISO_IR 192"
    accession: str = "A0815"
    request: Request | None = None
    description: str = "Examination"
    procedure: Code | None = EXAMINATION
    title: Code | None = None
    template: str = ""
    stated_template: bool = True
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """One instance to be written, and what must be read from it.

    Attributes:
        name: of its template.
        content: items under the root.
        said: columns of the dose that no item carries, such as `template`.
        unread: concepts that a reader must list as unread.
        issues: codes of the issues that a reader must raise; others it must not.
        faults: names of what was done to it.
    """

    name: str
    head: Head
    content: tuple[Item, ...] = ()
    said: Answer = field(default_factory=dict)
    syntax: str = EXPLICIT
    edits: tuple[Edit, ...] = ()
    unread: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def answer(self) -> Answer:
        """What must be read, as plain data: header columns, `dose` (None where there is none), `unread`, `issues`."""
        head = self.head
        requested = [head.request.accession] if head.request else []
        if head.kind == PERFORMED_STEP:
            # The scheduled step that it is of.
            requested = [head.accession]
        header = {
            "study_instance_uid": head.study_uid,
            "sop_instance_uid": head.sop_uid,
            "sop_class_uid": head.sop_class,
            "modality": head.modality,
            "study_at": head.study_at,
            "patient_id": head.patient_id,
            "patient_name": head.read_name,
            "patient_birth_date": head.birth_date,
            "patient_sex": head.sex,
            "accession_number": head.accession,
            "requested_accession_numbers": requested,
            "study_description": head.description,
            "procedure_code": head.procedure.value if head.procedure and head.kind != PERFORMED_STEP else "",
        }
        dose = answers(self.content) | self.said if self.said else None
        flags = ["total_differs"] if dose and differing(dose) else []
        return {
            "template": self.name,
            "kind": head.kind,
            "faults": list(self.faults),
            "header": header,
            "dose": dose,
            "unread": list(self.unread),
            "issues": [*self.issues, *flags],
        }

    def body(self) -> bytes:
        """The DICOM file (PS3.10)."""
        return encoded(self)


def encoded(plan: Plan) -> bytes:
    """The file of a plan."""
    with config.disable_value_validation():
        dataset = _header(plan.head)
        if plan.content:
            dataset.ContentSequence = Items([_dataset(item) for item in plan.content])
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = UID(plan.head.sop_class)
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(plan.head.sop_uid)
        dataset.file_meta.TransferSyntaxUID = UID(plan.syntax)
        out = BytesIO()
        dcmwrite(out, dataset, enforce_file_format=True)
    body = out.getvalue()
    for edit in plan.edits:
        body = edit(body)
    return body


def _header(head: Head) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = head.charset.split("\\")
    dataset.Modality = head.modality
    dataset.PatientName, dataset.PatientID = head.name, head.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = head.birth_date.replace("-", ""), head.sex
    if head.kind != PERFORMED_STEP:
        _stored(dataset, head)
    if head.title is not None:
        _document(dataset, head, head.title)
    for keyword, value in head.attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _stored(dataset: Dataset, head: Head) -> None:
    """What a stored instance has and a performed step has in other places (PS3.3 C.7, C.12)."""
    dataset.SOPClassUID, dataset.SOPInstanceUID = head.sop_class, head.sop_uid
    dataset.StudyDate, dataset.StudyTime = _date_time(head.study_at)
    dataset.AccessionNumber = head.accession
    dataset.Manufacturer, dataset.ManufacturerModelName = "SIMULATED", "Model 1"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "S1", "SIM 1"
    dataset.StationName, dataset.InstitutionName = "ROOM1", "General Hospital"
    dataset.ReferringPhysicianName = ""
    if head.description:
        dataset.StudyDescription = head.description
    if head.procedure is not None:
        dataset.ProcedureCodeSequence = coded(head.procedure)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = head.study_uid, head.series_uid
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "", 990, 1
    dataset.ContentDate, dataset.ContentTime = _date_time(head.content_at)


def _document(dataset: Dataset, head: Head, title: Code) -> None:
    """SR Document General and the root of SR Document Content (PS3.3 C.17.2, C.17.3)."""
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = Items()
    dataset.PerformedProcedureCodeSequence = Items()
    if head.request is not None:
        item = Dataset()
        item.StudyInstanceUID = head.study_uid
        item.ReferencedStudySequence = Items()
        item.AccessionNumber = head.request.accession
        item.PlacerOrderNumberImagingServiceRequest = head.request.placer
        item.FillerOrderNumberImagingServiceRequest = head.request.filler
        item.RequestedProcedureID = head.request.requested_procedure_id
        item.RequestedProcedureDescription = head.request.description
        item.RequestedProcedureCodeSequence = Items()
        dataset.ReferencedRequestSequence = Items([item])
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = coded(title)
    if head.stated_template and head.template:
        template = Dataset()
        template.MappingResource, template.TemplateIdentifier = "DCMR", head.template
        dataset.ContentTemplateSequence = Items([template])


def _dataset(item: Item) -> Dataset:
    made = Dataset()
    made.RelationshipType, made.ValueType = item.relationship, item.kind
    made.ConceptNameCodeSequence = coded(item.concept)
    WRITERS[item.kind](made, item)
    if item.children:
        made.ContentSequence = Items([_dataset(child) for child in item.children])
    return made


def _container(made: Dataset, item: Item) -> None:
    made.ContinuityOfContent = "SEPARATE"


def _code(made: Dataset, item: Item) -> None:
    made.ConceptCodeSequence = coded(item.value)


def _text(made: Dataset, item: Item) -> None:
    made.TextValue = item.value


def _person(made: Dataset, item: Item) -> None:
    made.PersonName = item.value


def _uid(made: Dataset, item: Item) -> None:
    made.UID = item.value


def _composite(made: Dataset, item: Item) -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = item.value
    made.ReferencedSOPSequence = Items([reference])


def _moment(made: Dataset, item: Item) -> None:
    at = stamp(item.value)
    made.DateTime = at.strftime("%Y%m%d%H%M%S.%f" if at.microsecond else "%Y%m%d%H%M%S")


def _number(made: Dataset, item: Item) -> None:
    made.MeasuredValueSequence = Items()
    if item.value is None:
        return
    measured = Dataset()
    values = item.value if isinstance(item.value, tuple) else (item.value,)
    digits = "\\".join(plain(value) if isinstance(value, Decimal) else value for value in values)
    # pydicom writes as DS only what is a number; SH has the same shape, and the tag is what counts.
    numeric = all(isinstance(value, Decimal) for value in values)
    measured.add(DataElement(NUMERIC_VALUE, "DS" if numeric else "SH", digits))
    if item.unit:
        measured.MeasurementUnitsCodeSequence = coded(Code(item.unit, "UCUM", item.unit))
    made.MeasuredValueSequence = Items([measured])


WRITERS: Final[Mapping[str, Callable[[Dataset, Item], None]]] = {
    "CONTAINER": _container,
    "CODE": _code,
    "TEXT": _text,
    "PNAME": _person,
    "UIDREF": _uid,
    "COMPOSITE": _composite,
    "DATETIME": _moment,
    "NUM": _number,
}


def _date_time(at: int | None) -> tuple[str, str]:
    if at is None:
        return "", ""
    moment = stamp(at)
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
