"""A scheduled step as the answer to a query: the attributes asked for, those known with their values (PS3.4 K.6.1.2.2)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydicom import DataElement, Dataset
from pydicom import Sequence as Items
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.tag import BaseTag, Tag

from dosestream.worklist.charset import answer_charset
from dosestream.worklist.keys import STEP

# A row of the view `scheduled_step`, its times in the site's zone.
Step = Mapping[str, Any]
Values = Callable[[Step], str | Sequence[str] | None]


def _column(name: str) -> Values:
    def read(step: Step) -> str | Sequence[str] | None:
        found: str | Sequence[str] | None = step[name]
        return found

    return read


def _day(name: str) -> Values:
    def read(step: Step) -> str | None:
        value: date | None = step[name]
        return None if value is None else value.strftime("%Y%m%d")

    return read


def _hour(name: str) -> Values:
    def read(step: Step) -> str | None:
        value: datetime | None = step[name]
        return None if value is None else value.strftime("%H%M%S")

    return read


def _either(*names: str) -> Values:
    def read(step: Step) -> str | None:
        return next((str(step[name]) for name in names if step[name]), None)

    return read


def _code(prefix: str) -> dict[str, Values]:
    return {
        "CodeValue": _column(f"{prefix}_code"),
        "CodingSchemeDesignator": _column(f"{prefix}_scheme"),
        "CodeMeaning": _column(f"{prefix}_meaning"),
    }


Known = Mapping[str, "Values | Known"]
KNOWN: Final[Known] = {
    "PatientName": _column("patient_name"),
    "PatientID": _column("patient_id"),
    "IssuerOfPatientID": _column("patient_authority"),
    "PatientBirthDate": _day("patient_birth_date"),
    "PatientSex": _column("patient_sex"),
    "PatientWeight": _column("weight_kg"),
    "PatientSize": _column("height_m"),
    "Allergies": _column("allergies"),
    "PatientState": _column("patient_state"),
    "AdmissionID": _column("visit_number"),
    "CurrentPatientLocation": _column("location"),
    "StudyInstanceUID": _column("study_instance_uid"),
    "AccessionNumber": _column("accession_number"),
    "IssuerOfAccessionNumberSequence": {"LocalNamespaceEntityID": _column("accession_issuer")},
    "RequestedProcedureID": _column("requested_procedure_id"),
    "RequestedProcedureDescription": _either("procedure_meaning", "procedure_code"),
    "RequestedProcedureCodeSequence": _code("procedure"),
    "RequestedProcedurePriority": _column("priority"),
    "ReasonForTheRequestedProcedure": _column("reason"),
    "ReferringPhysicianName": _column("referring_physician"),
    "RequestingPhysician": _column("requesting_physician"),
    "PlacerOrderNumberImagingServiceRequest": _column("placer_order_number"),
    "FillerOrderNumberImagingServiceRequest": _column("filler_order_number"),
    "IssueDateOfImagingServiceRequest": _day("ordered_at"),
    "IssueTimeOfImagingServiceRequest": _hour("ordered_at"),
    STEP: {
        "Modality": _column("modality"),
        "ScheduledStationAETitle": _column("station_ae_titles"),
        "ScheduledProcedureStepStartDate": _day("scheduled_at"),
        "ScheduledProcedureStepStartTime": _hour("scheduled_at"),
        "ScheduledPerformingPhysicianName": _column("performing_physician"),
        "ScheduledProcedureStepDescription": _either("step_meaning", "procedure_meaning", "procedure_code"),
        "ScheduledProtocolCodeSequence": _code("step"),
        "ScheduledProcedureStepID": _column("scheduled_step_id"),
        "ScheduledStationName": _column("station_name"),
        "ScheduledProcedureStepLocation": _column("station_location"),
        "ScheduledProcedureStepStatus": _column("status"),
    },
}


def answer(step: Step, identifier: Dataset, zone: str) -> Dataset:
    """The data set that answers a query.

    Args:
        step: a row of the view `scheduled_step`.
        identifier: the query; its attributes are those returned, of an empty sequence all that are known.
        zone: of dates and times, IANA name.
    """
    place = ZoneInfo(zone)
    local = {
        name: value.astimezone(place) if isinstance(value, datetime) else value
        for name, value in step.items()
    }
    out = _item(local, identifier, KNOWN)
    asked = identifier.get("SpecificCharacterSet") or []
    terms = [asked] if isinstance(asked, str) else list(asked)
    found = answer_charset(terms, _texts(step))
    out.pop("SpecificCharacterSet", None)
    if found:
        out.SpecificCharacterSet = found if len(found) > 1 else found[0]
    return out


def unknown(identifier: Dataset, known: Known = KNOWN) -> list[str]:
    """The attributes asked for that are not known here, and so come back empty."""
    missing = []
    for element in identifier:
        if element.tag.element == 0 or element.keyword in ("SpecificCharacterSet", "TimezoneOffsetFromUTC"):
            continue
        here = known.get(element.keyword)
        if here is None:
            missing.append(element.keyword or str(element.tag))
        elif isinstance(here, Mapping) and element.value:
            missing += unknown(element.value[0], here)
    return missing


def _item(step: Step, asked: Dataset | None, known: Known) -> Dataset:
    if asked is None:
        elements = [_element(*_named(keyword), here, None, step) for keyword, here in known.items()]
    else:
        elements = [
            _element(
                e.tag, e.VR, known.get(e.keyword), e.value[0] if e.VR == "SQ" and e.value else None, step
            )
            for e in asked
            if e.tag.element
        ]
    # Handed over whole: set one by one, each would be looked at again.
    return Dataset({element.tag: element for element in elements})


@cache
def _named(keyword: str) -> tuple[BaseTag, str]:
    tag = Tag(keyword)
    return tag, dictionary_VR(tag)


def _element(
    tag: BaseTag, vr: str, here: "Values | Known | None", inner: Dataset | None, step: Step
) -> DataElement:
    if vr == "SQ":
        item = None
        if isinstance(here, Mapping):
            # An item with nothing in it asks for all, as no item does.
            item = _item(step, inner if inner is not None and len(inner) else None, here)
        valued = item is not None and any(e.value not in (None, "", []) for e in item)
        return DataElement(tag, "SQ", Items([item] if item is not None and valued else []))
    value = here(step) if callable(here) else None
    return DataElement(tag, vr, value if value is not None else "", validation_mode=IGNORE)


def _texts(step: Step) -> Iterator[str]:
    return (value for value in step.values() if isinstance(value, str))
