"""Small structured reports, built for the tests item by item and encoded by pydicom."""

from io import BytesIO
from typing import Any

import pydicom
from pydicom import Dataset, Sequence
from pydicom.uid import ExplicitVRLittleEndian

DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"

DECIMAL = set("+-0123456789.eE")


def code(value: str, scheme: str = "DCM", meaning: str = "") -> Dataset:
    """A code sequence item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning or value
    return item


def _item(value_type: str, concept: Dataset | str, children: tuple[Dataset, ...]) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = value_type
    item.ConceptNameCodeSequence = Sequence([code(concept) if isinstance(concept, str) else concept])
    if children:
        item.ContentSequence = Sequence(children)
    return item


def container(concept: Dataset | str, *children: Dataset) -> Dataset:
    """A CONTAINER."""
    return _item("CONTAINER", concept, children)


def num(concept: Dataset | str, value: str | None, unit: str = "1", *children: Dataset) -> Dataset:
    """A NUM; None leaves the Measured Value Sequence empty."""
    item = _item("NUM", concept, children)
    measured = Dataset()
    if value is not None:
        # pydicom would not write what is no number, or several, as DS.
        measured.add_new(0x0040A30A, "DS" if set(value) <= DECIMAL else "SH", value)
        measured.MeasurementUnitsCodeSequence = Sequence([code(unit, "UCUM")])
    item.MeasuredValueSequence = Sequence([measured] if value is not None else [])
    return item


def coded(concept: Dataset | str, value: Dataset, *children: Dataset) -> Dataset:
    """A CODE."""
    item = _item("CODE", concept, children)
    item.ConceptCodeSequence = Sequence([value])
    return item


def text(concept: Dataset | str, value: str) -> Dataset:
    """A TEXT."""
    item = _item("TEXT", concept, ())
    item.TextValue = value
    return item


def uid(concept: Dataset | str, value: str) -> Dataset:
    """A UIDREF."""
    item = _item("UIDREF", concept, ())
    with pydicom.config.disable_value_validation():
        item.add_new(0x0040A124, "UI", value)
    return item


def moment(concept: Dataset | str, value: str) -> Dataset:
    """A DATETIME."""
    item = _item("DATETIME", concept, ())
    item.DateTime = value
    return item


LEFT, RIGHT = code("80248007", "SCT", "Left breast"), code("73056007", "SCT", "Right breast")
LATERALITY = code("272741003", "SCT", "Laterality")
SINGLE_PLANE, PLANE_A, PLANE_B = code("113622"), code("113620"), code("113621")
FLUOROSCOPY = code("P5-06000", "SRT", "Fluoroscopy")
BODY_PHANTOM = code("113691", "DCM", "IEC Body Dosimetry Phantom")


def header(**changes: Any) -> Dataset:
    """A dose report's header with everything in it; a change to None leaves an element out."""
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": DOSE_SR,
        "SOPInstanceUID": "1.2.826.0.1.1",
        "StudyDate": "20260301",
        "StudyTime": "101500",
        "ContentDate": "20260301",
        "ContentTime": "103000.5",
        "AccessionNumber": "A1",
        "Modality": "SR",
        "Manufacturer": "Maker",
        "ManufacturerModelName": "Model",
        "InstitutionName": "Hospital",
        "StationName": "ROOM1",
        "StudyDescription": "Thorax",
        "PatientName": "Doe^Jane^^^",
        "PatientID": "P1",
        "PatientBirthDate": "19800102",
        "PatientSex": "F",
        "PatientAge": "046Y",
        "PatientSize": "1.7",
        "PatientWeight": "70",
        "StudyInstanceUID": "1.2.826.0.1.2",
        "SeriesInstanceUID": "1.2.826.0.1.3",
        "CompletionFlag": "COMPLETE",
        "VerificationFlag": "UNVERIFIED",
    }
    data_set = Dataset()
    with pydicom.config.disable_value_validation():
        for keyword, value in (values | changes).items():
            if value is not None:
                setattr(data_set, keyword, value)
    return data_set


def report(*children: Dataset, title: str = "113701", template: str | None = None, **changes: Any) -> Dataset:
    """A structured report of these content items."""
    data_set = header(**changes)
    data_set.ValueType = "CONTAINER"
    data_set.ConceptNameCodeSequence = Sequence([code(title)])
    data_set.ContentSequence = Sequence(children)
    if template is not None:
        item = Dataset()
        item.MappingResource, item.TemplateIdentifier = "DCMR", template
        data_set.ContentTemplateSequence = Sequence([item])
    return data_set


def projection(*events: Dataset, totals: tuple[Dataset, ...] = (), **changes: Any) -> Dataset:
    """A fluoroscopy report of one plane: TID 10001."""
    accumulated = container("113702", coded("113764", SINGLE_PLANE), *totals)
    procedure = coded("121058", code("113704", "DCM", "Projection X-Ray"))
    return report(procedure, accumulated, *events, template="10001", **changes)


def event(
    *children: Dataset, event_uid: str | None = "1.2.826.0.1.9.1", start: str = "20260301101600"
) -> Dataset:
    """One projection event: TID 10003."""
    known = (uid("113769", event_uid),) if event_uid is not None else ()
    return container("113706", coded("113764", SINGLE_PLANE), moment("111526", start), *known, *children)


def part10(data_set: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a DICOM file."""
    buffer = BytesIO()
    data_set.file_meta = pydicom.dataset.FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = pydicom.uid.UID(transfer_syntax)
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(buffer, data_set, enforce_file_format=True)
    return buffer.getvalue()
