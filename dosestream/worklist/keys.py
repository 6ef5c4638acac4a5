"""The matching keys of a worklist query: each with its column and how it is matched (PS3.4 table K.6-1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

STEP: Final = "ScheduledProcedureStepSequence"


class Kind(Enum):
    """How a key is matched."""

    # Single value or wildcard, case and all; blanks at the ends mean nothing.
    TEXT = auto()
    # The same over a list of values, of which one must match.
    LIST = auto()
    # As TEXT but without case, over the whole name and each of its groups.
    NAME = auto()
    # One of a list.
    UID = auto()
    # Single day or range.
    DATE = auto()
    # The start of the step: date and time are matched together.
    START = auto()


@dataclass(frozen=True, slots=True)
class Key:
    """A column of the view `scheduled_step` and how it is matched."""

    column: str
    kind: Kind = Kind.TEXT


SUPPORTED: Final[Mapping[str, Key]] = {
    "PatientName": Key("patient_name_key", Kind.NAME),
    "PatientID": Key("patient_id"),
    "IssuerOfPatientID": Key("patient_authority"),
    "PatientBirthDate": Key("patient_birth_date", Kind.DATE),
    "PatientSex": Key("patient_sex"),
    "AccessionNumber": Key("accession_number"),
    "RequestedProcedureID": Key("requested_procedure_id"),
    "RequestedProcedureDescription": Key("procedure_meaning"),
    "RequestedProcedureCodeSequence.CodeValue": Key("procedure_code"),
    "RequestedProcedureCodeSequence.CodingSchemeDesignator": Key("procedure_scheme"),
    "RequestedProcedurePriority": Key("priority"),
    "StudyInstanceUID": Key("study_instance_uid", Kind.UID),
    "ReferringPhysicianName": Key("referring_physician_key", Kind.NAME),
    "RequestingPhysician": Key("requesting_physician_key", Kind.NAME),
    "AdmissionID": Key("visit_number"),
    "CurrentPatientLocation": Key("location"),
    "PlacerOrderNumberImagingServiceRequest": Key("placer_order_number"),
    "FillerOrderNumberImagingServiceRequest": Key("filler_order_number"),
    f"{STEP}.Modality": Key("modality"),
    f"{STEP}.ScheduledStationAETitle": Key("station_ae_titles", Kind.LIST),
    f"{STEP}.ScheduledStationName": Key("station_name"),
    f"{STEP}.ScheduledProcedureStepLocation": Key("station_location"),
    f"{STEP}.ScheduledProcedureStepStartDate": Key("scheduled_at", Kind.START),
    f"{STEP}.ScheduledProcedureStepStartTime": Key("scheduled_at", Kind.START),
    f"{STEP}.ScheduledPerformingPhysicianName": Key("performing_physician_key", Kind.NAME),
    f"{STEP}.ScheduledProcedureStepID": Key("scheduled_step_id"),
    f"{STEP}.ScheduledProcedureStepDescription": Key("step_meaning"),
    f"{STEP}.ScheduledProcedureStepStatus": Key("status"),
    f"{STEP}.ScheduledProtocolCodeSequence.CodeValue": Key("step_code"),
    f"{STEP}.ScheduledProtocolCodeSequence.CodingSchemeDesignator": Key("step_scheme"),
}
