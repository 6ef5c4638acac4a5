"""X-Ray Radiation Dose SR instances as scanners send them (DICOM PS3.3 A.35.8; PS3.16 TID 10001 and 10011)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from random import Random
from typing import Any

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    XRayAngiographicImageStorage,
    XRayRadiationDoseSRStorage,
)

from dosestream.simulate import ct, mammography, projection
from dosestream.simulate.hl7_messages import Person
from dosestream.simulate.procedures import Procedure, Room
from dosestream.simulate.sr_codes import Code, dcm, snomed
from dosestream.simulate.sr_content import code, coded, stamp, text, uid

# An exposure is the modality's own record; only its module looks inside.
Exposures = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of scanner does: how it exposes, and how it reports that."""

    template: str
    expose: Callable[[Random, Room, Procedure, int, Callable[[], str]], Exposures]
    procedure_reported: Callable[[Room], Code]
    content: Callable[[Exposures, Room], list[Dataset]]
    totals: Callable[[Exposures], Mapping[str, Decimal]]


KINDS: Mapping[str, Kind] = {
    "ct": Kind("10011", ct.expose, ct.procedure_reported, ct.content, ct.totals),
    "projection": Kind(
        "10001", projection.expose, projection.procedure_reported, projection.content, projection.totals
    ),
    "mammography": Kind(
        "10001", mammography.expose, mammography.procedure_reported, mammography.content, mammography.totals
    ),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One item of Referenced Request Sequence (0040,A370). Empty text is written as an empty attribute."""

    accession: str = ""
    placer: str = ""
    filler: str = ""
    requested_procedure_id: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands around the content.

    Attributes:
        study_at, content_at: microseconds since 1970 UTC.
        person: None where the scanner was given no patient.
        accession: Accession Number of the header, often empty.
        description: Study Description, often empty: then the report has no procedure information.
        procedure_code: written as Procedure Code Sequence (0008,1032) where it is not empty.
    """

    study_uid: str
    series_uid: str
    instance_uid: str
    room: Room
    study_at: int
    content_at: int
    person: Person | None
    accession: str = ""
    description: str = ""
    request: Request | None = None
    procedure_code: str = ""
    procedure_meaning: str = ""


def report(header: Header, exposures: Exposures = ()) -> bytes:
    """One dose report as a DICOM file (PS3.10); without exposures it ends before its content sequence."""
    room = header.room
    kind = KINDS[room.kind]
    dataset = _header(header, XRayRadiationDoseSRStorage, "SR")
    dataset.ContentDate, dataset.ContentTime = _date_time(header.content_at)
    dataset.InstanceNumber = 1
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = Items()
    dataset.PerformedProcedureCodeSequence = Items()
    if header.request is not None:
        dataset.ReferencedRequestSequence = Items([_request(header.study_uid, header.request)])
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = coded(dcm("113701"))
    dataset.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource = "DCMR"
    template.TemplateIdentifier = kind.template
    dataset.ContentTemplateSequence = Items([template])
    if exposures:
        dataset.ContentSequence = _content(header, exposures)
    return _file(dataset, room)


def _content(header: Header, exposures: Exposures) -> Items:
    room = header.room
    kind = KINDS[room.kind]
    intent = code(
        snomed("has intent", room.dialect),
        snomed("diagnostic intent", room.dialect),
        relationship="HAS CONCEPT MOD",
    )
    return Items(
        [
            code(dcm("121058"), kind.procedure_reported(room), intent, relationship="HAS CONCEPT MOD"),
            *_observer(room),
            code(
                dcm("113705"),
                dcm("113014"),
                uid(dcm("110180"), header.study_uid, relationship="HAS PROPERTIES"),
                relationship="HAS OBS CONTEXT",
            ),
            *kind.content(exposures, room),
        ]
    )


# Kind of room to the SOP class and modality of its images.
IMAGES: Mapping[str, tuple[UID, str]] = {
    "ct": (CTImageStorage, "CT"),
    "projection": (XRayAngiographicImageStorage, "XA"),
    "mammography": (DigitalMammographyXRayImageStorageForPresentation, "MG"),
}


def image(header: Header) -> bytes:
    """An image of 8 by 8 pixels: a study that arrives without a dose report."""
    sop_class, modality = IMAGES[header.room.kind]
    dataset = _header(header, sop_class, modality)
    if modality == "CT":
        _slice(dataset, header)
    dataset.InstanceNumber = 1
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = 8
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(128)
    return _file(dataset, header.room)


def _slice(dataset: Dataset, header: Header) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.FrameOfReferenceUID = header.series_uid
    dataset.ImagePositionPatient = [0, 0, 0]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    dataset.SliceThickness = 1
    dataset.KVP = 120
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1


def _date_time(at: int) -> tuple[str, str]:
    moment = stamp(at)
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")


def _header(header: Header, sop_class: str, modality: str) -> Dataset:
    room, person = header.room, header.person
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100" if room.latin1 else "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = header.instance_uid
    dataset.StudyDate, dataset.StudyTime = _date_time(header.study_at)
    dataset.SeriesDate, dataset.SeriesTime = dataset.StudyDate, dataset.StudyTime
    dataset.AccessionNumber = header.accession
    dataset.Modality = modality
    dataset.Manufacturer = room.manufacturer
    dataset.ManufacturerModelName = room.model
    dataset.DeviceSerialNumber = room.serial
    dataset.SoftwareVersions = "SIM 1"
    dataset.StationName = room.ae_title
    dataset.ReferringPhysicianName = ""
    if room.zone:
        dataset.TimezoneOffsetFromUTC = "+0000"
    if header.description:
        dataset.StudyDescription = header.description
    if header.procedure_code:
        dataset.ProcedureCodeSequence = coded(Code(header.procedure_code, "SIM", header.procedure_meaning))
    dataset.PatientName = person.name if person else ""
    dataset.PatientID = person.identifier if person else ""
    if person and room.issuer:
        dataset.IssuerOfPatientID = person.authority
    dataset.PatientBirthDate = person.birth_date.strftime("%Y%m%d") if person and person.birth_date else ""
    dataset.PatientSex = person.sex if person else ""
    dataset.StudyInstanceUID = header.study_uid
    dataset.SeriesInstanceUID = header.series_uid
    dataset.StudyID = ""
    dataset.SeriesNumber = 990
    return dataset


def _request(study_uid: str, request: Request) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedStudySequence = Items()
    item.AccessionNumber = request.accession
    item.PlacerOrderNumberImagingServiceRequest = request.placer
    item.FillerOrderNumberImagingServiceRequest = request.filler
    item.RequestedProcedureID = request.requested_procedure_id
    item.RequestedProcedureDescription = request.description
    item.RequestedProcedureCodeSequence = Items()
    return item


def _observer(room: Room) -> list[Dataset]:
    """Observer context of the scanner itself (TID 1002, 1004)."""
    context = "HAS OBS CONTEXT"
    device = f"2.25.{int.from_bytes(room.serial.encode(), 'big')}"
    return [
        code(dcm("121005"), dcm("121007"), relationship=context),
        uid(dcm("121012"), device, relationship=context),
        text(dcm("121013"), room.ae_title, relationship=context),
        text(dcm("121014"), room.manufacturer, relationship=context),
        text(dcm("121015"), room.model, relationship=context),
        text(dcm("121016"), room.serial, relationship=context),
        code(dcm("113876"), dcm("113859"), relationship=context),
    ]


def _file(dataset: Dataset, room: Room) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if room.implicit else ExplicitVRLittleEndian
    out = BytesIO()
    FileDataset(out, dataset, file_meta=meta, preamble=bytes(128)).save_as(out, enforce_file_format=True)
    return out.getvalue()
