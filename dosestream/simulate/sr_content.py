"""Content items of a structured report (DICOM PS3.3, C.17.3) as pydicom datasets, one function a value type."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dosestream.simulate.sr_codes import Code


def coded(code: Code) -> Sequence:
    """A code sequence of one item."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return Sequence([item])


def _item(relationship: str, kind: str, concept: Code, children: tuple[Dataset, ...]) -> Dataset:
    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = kind
    item.ConceptNameCodeSequence = coded(concept)
    if children:
        item.ContentSequence = Sequence(children)
    return item


def container(concept: Code, *children: Dataset) -> Dataset:
    """CONTAINS CONTAINER."""
    item = _item("CONTAINS", "CONTAINER", concept, children)
    item.ContinuityOfContent = "SEPARATE"
    return item


def code(concept: Code, value: Code, *children: Dataset, relationship: str = "CONTAINS") -> Dataset:
    """CODE."""
    item = _item(relationship, "CODE", concept, children)
    item.ConceptCodeSequence = coded(value)
    return item


def text(concept: Code, value: str, relationship: str = "CONTAINS") -> Dataset:
    """TEXT."""
    item = _item(relationship, "TEXT", concept, ())
    item.TextValue = value
    return item


def uid(concept: Code, value: str, *children: Dataset, relationship: str = "CONTAINS") -> Dataset:
    """UIDREF."""
    item = _item(relationship, "UIDREF", concept, children)
    item.UID = value
    return item


def moment(concept: Code, at: int, relationship: str = "CONTAINS") -> Dataset:
    """DATETIME, `at` in microseconds since 1970 UTC, written without offset."""
    item = _item(relationship, "DATETIME", concept, ())
    item.DateTime = stamp(at).strftime("%Y%m%d%H%M%S")
    return item


def number(concept: Code, value: Decimal, unit: str, *children: Dataset) -> Dataset:
    """NUM, the unit in UCUM; the decimal's own digits are what the file says."""
    item = _item("CONTAINS", "NUM", concept, children)
    measured = Dataset()
    measured.NumericValue = plain(value)
    measured.MeasurementUnitsCodeSequence = coded(Code(unit, "UCUM", unit))
    item.MeasuredValueSequence = Sequence([measured])
    return item


def plain(value: Decimal) -> str:
    """A decimal string of at most 16 characters (VR DS), without exponent where it fits."""
    fixed = f"{value:f}"
    return fixed if len(fixed) <= 16 else f"{value:.9E}"


def stamp(at: int) -> datetime:
    """Microseconds since 1970 UTC as a datetime."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
