"""What of each event a site may map: the fields of the schemas, by what they hold.

A patient inside an event is named by its own fields (`name`, `birth_date`, `sex`, `identifiers`).
"""

from dataclasses import fields
from enum import Enum
from typing import Any, get_type_hints

from dosestream.events.records import Appointment, Demographics, Identifier, Order, Patient, Report
from dosestream.kafka.topics import Topic


class Kind(Enum):
    """What a field holds."""

    TEXT = "text"
    TIME = "time"
    IDENTIFIERS = "identifiers"


EVENTS: dict[str, type[Patient] | type[Order] | type[Appointment] | type[Report]] = {
    "patient": Patient,
    "order": Order,
    "appointment": Appointment,
    "report": Report,
}

TOPICS: dict[str, Topic] = {
    "patient": Topic.PATIENT,
    "order": Topic.ORDER,
    "appointment": Topic.APPOINTMENT,
    "report": Topic.REPORT,
}

# Said by the message itself, by its receipt, or by another field.
OWN = frozenset(
    {
        *("event_id", "source", "control_id", "received_at", "raw_partition", "raw_offset", "message_type"),
        *("event_time_path", "message_time", "sequence_number", "paths", "action", "trigger"),
        *("scheduled_cleared",),
    }
)

_KINDS: dict[Any, Kind] = {
    str: Kind.TEXT,
    int | None: Kind.TIME,
    tuple[Identifier, ...]: Kind.IDENTIFIERS,
}


def _fields(cls: type) -> dict[str, Kind]:
    hints = get_type_hints(cls)
    found: dict[str, Kind] = {}
    for one in fields(cls):
        hint = hints[one.name]
        if hint in (Demographics, Demographics | None):
            found |= _fields(Demographics)
        elif one.name not in OWN and hint in _KINDS:
            found[one.name] = _KINDS[hint]
    return found


# Event to its fields and what they hold.
FIELDS: dict[str, dict[str, Kind]] = {event: _fields(cls) for event, cls in EVENTS.items()}
DEMOGRAPHICS = frozenset(_fields(Demographics))

# What belongs to a field: never kept beside a value that came from elsewhere.
COMPANIONS: dict[str, tuple[str, ...]] = {
    "procedure_code": ("procedure_scheme", "procedure_meaning"),
    "step_code": ("step_scheme", "step_meaning"),
    "placer_order_number": ("placer_issuer",),
    "filler_order_number": ("filler_issuer",),
    "accession_number": ("accession_issuer",),
    "visit_number": ("visit_authority",),
}

# Fields that hold codes, which a code map may change; never a name or a number of a person.
CODED = (
    *("procedure_code", "step_code", "modality", "control_code", "order_status", "priority", "status"),
    *("patient_class", "sex", "station_name", "station_location", "station_ae_title"),
)


def kind_of(field: str) -> Kind | None:
    """What a field holds, in whichever event it is; None where no event has it."""
    return next((table[field] for table in FIELDS.values() if field in table), None)
