"""A stored DICOM instance as the event it is: a study arrived, with or without dose; or why it cannot be read."""

from typing import Any, Final

from dosestream.dose.attributes import Attributes
from dosestream.dose.charset import charset
from dosestream.dose.content import Reading, leaf
from dosestream.dose.dataset import DataSetError, tag_text
from dosestream.dose.header import (
    CHARACTER_SET,
    CONTENT_DATE,
    MODIFIED_AT,
    ORIGINAL_ATTRIBUTES,
    SOP_CLASS,
    SOP_INSTANCE,
    STUDY_DATE,
    STUDY_INSTANCE,
    TIMEZONE,
    Header,
)
from dosestream.dose.image_header import image_dose
from dosestream.dose.moments import Moment, zone_of
from dosestream.dose.part10 import split
from dosestream.dose.rejection_note import rejection
from dosestream.dose.report import Extraction, extract
from dosestream.dose.step_dose import performed_dose
from dosestream.dose.step_header import (
    INSTANCE_AVAILABILITY,
    PERFORMED_STEP,
    as_header,
    availability_of,
    status_of,
)
from dosestream.dose.sums import differences
from dosestream.events.identity import event_id
from dosestream.events.records import DoseReport, RawMessage, Rejection, Study
from dosestream.settings import Settings, SourceSettings

# Storage SOP classes (PS3.4 B.5): every structured report begins with this arc.
STRUCTURED_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
# Storage arcs of what is neither image nor report: presentation states, waveforms, raw data, documents...
OTHERS: Final = (
    "1.2.840.10008.5.1.4.1.1.9.",
    "1.2.840.10008.5.1.4.1.1.11.",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.5.1.4.1.1.104.",
    "1.2.840.10008.5.1.4.1.1.481.",
)
# What tells of a study without being stored.
NO_INSTANCES: Final = {PERFORMED_STEP: "performed_step", INSTANCE_AVAILABILITY: "available"}
IMAGE_ROWS: Final = 0x00280010

START_OF_IRRADIATION: Final = "113809,DCM"


def study_event(raw: RawMessage, partition: int, offset: int, settings: Settings) -> Study | Rejection:
    """The event of one raw instance.

    Args:
        raw: `body` is a DICOM file (PS3.10), pixel data may be missing; `source` names the sender.
        partition: of the raw record.
        offset: of the raw record.
        settings: zones and names of sources and site.

    Returns:
        A Study, whatever is missing in it but the Study Instance UID; else a Rejection with the bytes.
    """
    source = next((one for one in settings.source if one.name == raw.source), SourceSettings())
    try:
        file = split(raw.body)
        data_set = file.read()
        step = (file.sop_class_uid or raw.message_type.partition("^")[0]) == PERFORMED_STEP
        if step:
            data_set = as_header(data_set)
    except DataSetError as error:
        return _rejection(raw, partition, offset, error.code, str(error), error.location)
    # N-SET names no study: the step's N-CREATE does.
    if not leaf(data_set, STUDY_INSTANCE) and not (step and raw.message_type.endswith("^N-SET")):
        reason = "no Study Instance UID: nothing can be filed under it"
        return _rejection(raw, partition, offset, "no_study_instance_uid", reason, tag_text(STUDY_INSTANCE))

    letters = charset(leaf(data_set, CHARACTER_SET).encode("latin-1"))
    zone = zone_of(leaf(data_set, TIMEZONE), source.timezone or settings.site.timezone)
    header = Header(data_set, letters, zone)
    sop_class = leaf(data_set, SOP_CLASS) or file.sop_class_uid or raw.message_type.partition("^")[0]
    sop_instance = leaf(data_set, SOP_INSTANCE) or file.sop_instance_uid or raw.control_id
    is_report = sop_class.startswith(STRUCTURED_REPORTS)
    reading = Reading(letters, zone)
    extraction = extract(data_set, reading, sop_class) if is_report else None
    attributes = Attributes(data_set, reading, file.encoding.big_endian)
    dose = extraction.report if extraction else _secondary_dose(attributes, sop_class, sop_instance)

    patient, paths = header.patient()
    fields = header.fields()
    content = header.content_moment()
    study, study_path = _study_moment(header, extraction, content)
    happened, happened_path = _event_time(header, content)
    if study is not None and study_path != tag_text(STUDY_DATE):
        paths["study_at"] = study_path
    requests = header.requests()
    rejection_code, rejected_instances = rejection(data_set, sop_class)
    values: dict[str, Any] = {
        **fields,
        "paths": paths,
        "kind": _kind(sop_class, is_report, extraction, IMAGE_ROWS in data_set, rejection_code),
        "step_status": status_of(data_set) if step else "",
        "availability": availability_of(data_set) if sop_class == INSTANCE_AVAILABILITY else "",
        "rejection_code": rejection_code,
        "rejected_instances": rejected_instances,
        "patient": patient,
        "requests": requests,
        "dose": dose,
        "study_at": study.at if study else None,
        "study_local": study.local if study else "",
        "study_zone": study.zone if study else "",
        "content_local": content.local if content else "",
        "event_time": happened.at if happened else None,
        "event_time_path": happened_path,
    }
    return Study(
        event_id=event_id(raw.source, raw.body, 0),
        source=raw.source,
        control_id=raw.control_id or sop_instance,
        received_at=raw.received_at,
        raw_partition=partition,
        raw_offset=offset,
        message_type=raw.message_type or sop_class,
        sop_class_uid=sop_class,
        sop_instance_uid=sop_instance,
        issues=(*_issues(values, sop_class, is_report, extraction, study_path), *letters.problems),
        **values,
    )


def _secondary_dose(attributes: Attributes, sop_class: str, sop_instance: str) -> DoseReport | None:
    """Dose beside dose reports: of a performed step or of an image."""
    if sop_class == PERFORMED_STEP:
        return performed_dose(attributes, sop_instance)
    if IMAGE_ROWS in attributes.data_set and not sop_class.startswith(OTHERS):
        return image_dose(attributes)
    return None


def _study_moment(
    header: Header, extraction: Extraction | None, content: Moment | None
) -> tuple[Moment | None, str]:
    """Study Date and Time, else start of irradiation, else content date and time, else the study day alone."""
    candidates = (
        (header.study_moment(), tag_text(STUDY_DATE)),
        (extraction.started if extraction else None, START_OF_IRRADIATION),
        (content, tag_text(CONTENT_DATE)),
        (header.study_day(), "(0008,0020) without (0008,0030)"),
    )
    return next(((moment, path) for moment, path in candidates if moment), (None, ""))


def _event_time(header: Header, content: Moment | None) -> tuple[Moment | None, str]:
    """Attribute Modification DateTime, else content date and time."""
    if modified := header.modified():
        return modified, f"{tag_text(ORIGINAL_ATTRIBUTES)}{tag_text(MODIFIED_AT)}"
    return content, tag_text(CONTENT_DATE) if content else ""


def _kind(
    sop_class: str, is_report: bool, extraction: Extraction | None, has_rows: bool, rejection_code: str
) -> str:
    if rejection_code:
        return "rejection_note"
    if sop_class in NO_INSTANCES:
        return NO_INSTANCES[sop_class]
    if is_report:
        return "dose_report" if extraction else "structured_report"
    return "image" if has_rows and not sop_class.startswith(OTHERS) else "other"


def _issues(
    values: dict[str, Any], sop_class: str, is_report: bool, extraction: Extraction | None, study_path: str
) -> list[str]:
    """What a person should know about the instance. No value of the patient's in them."""
    if values["kind"] in NO_INSTANCES.values():
        return []
    accessions = {one.accession_number for one in values["requests"]} - {""}
    dose = values["dose"]
    differing = differences(dose) if dose else []
    checks = (
        (not values["accession_number"], "no_accession: (0008,0050) is empty"),
        (not values["patient"].identifiers, "no_patient_id: (0010,0020) is empty"),
        (study_path != tag_text(STUDY_DATE), f"no_study_date: taken from {study_path or 'nowhere'}"),
        (
            bool(values["accession_number"]) and bool(accessions - {values["accession_number"]}),
            "accession_differs: (0008,0050) and a referenced request name different ones",
        ),
        (
            is_report and dose is None and not values["rejection_code"],
            f"sr_without_dose: a report of {sop_class} with no dose that is read",
        ),
        (
            extraction is not None
            and not any((dose.totals, dose.events, dose.administrations, dose.organ_doses)),
            "dose_report_empty: no total and no event",
        ),
        (
            extraction is not None and extraction.repeated_event_uid,
            "repeated_event_uid: two events share one Irradiation Event UID",
        ),
        (bool(differing), f"total_differs: {'; '.join(differing)}"),
        (
            dose is not None and dose.events_stated not in (None, len(dose.events)),
            "event_count_differs: the report lists another number of events than it states (113812)",
        ),
        (
            extraction is not None and any(event.no_event_uid for event in dose.events),
            "no_event_uid: events without Irradiation Event UID are known by start and values",
        ),
    )
    return [issue for found, issue in checks if found]


def _rejection(
    raw: RawMessage, partition: int, offset: int, code: str, reason: str, location: str
) -> Rejection:
    return Rejection(
        event_id=event_id(f"{raw.source}\0{code}", raw.body, 0),
        source=raw.source,
        control_id=raw.control_id,
        received_at=raw.received_at,
        raw_partition=partition,
        raw_offset=offset,
        message_type=raw.message_type,
        transport=raw.transport,
        peer=raw.peer,
        code=code,
        reason=reason,
        location=location,
        answer=raw.answer,
        body=raw.body,
    )
