"""Where each field of an event is read: the IHE Radiology defaults (TF-2, RAD-1 to RAD-4 and RAD-13) as data.

A row lists the fields that are read together and, in order, the places they are read from; the first place
that says anything gives all of them, so that a code never gets another code's meaning.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from dosestream.hl7.header import Delimiters
from dosestream.hl7.path import WHOLE, Path
from dosestream.mapping import values

# A value as sent (never empty) and its delimiters to the event's text.
Reader = Callable[[str, Delimiters], str]


# These make one value of a field's repetitions: the groups of a name.
OF_REPETITIONS = frozenset({values.person, values.practitioner})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is read: a segment, and per field its reader and its path in that segment."""

    segment: str
    columns: tuple[tuple[str, Reader, Path], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Fields read together, and the places they are read from."""

    places: tuple[Place, ...]


def row(fields: str, readers: tuple[Reader, ...] | Reader, *places: str) -> Row:
    """A row from text: names and paths apart by blanks; the paths of one place lie in one segment.

    Raises:
        PathError: a path is none.
    """
    readers = readers if isinstance(readers, tuple) else (readers,)
    names = fields.split()
    parsed = []
    for place in places:
        paths = [
            replace(path, repetition=WHOLE) if reader in OF_REPETITIONS and _names_a_field(path) else path
            for reader, path in zip(readers, map(Path.parse, place.split()), strict=False)
        ]
        parsed.append(Place(paths[0].segment, tuple(zip(names, readers, paths, strict=False))))
    return Row(tuple(parsed))


def _names_a_field(path: Path) -> bool:
    return path.plain and path.repetition == 1 and path.where is None and not path.component


_CODE = (values.first, values.first, values.first)
_EI = (values.first, values.issuer)

VISIT = (
    row(
        "visit_number visit_authority", (values.first, values.authority), "PV1-19.1 PV1-19", "PID-18.1 PID-18"
    ),
    row("location", values.as_sent, "PV1-3"),
    row("referring_physician", values.practitioner, "PV1-8"),
)

PATIENT: tuple[Row, ...] = (*VISIT, row("patient_class", values.first, "PV1-2"))

DEMOGRAPHICS: tuple[Row, ...] = (
    row("name", values.person, "PID-5"),
    row("birth_date", values.birth_date, "PID-7"),
    row("sex", values.sex, "PID-8"),
)

# Patient identifiers: internal, external (before 2.3), alternate; and what is merged.
IDENTIFIERS = tuple(map(Path.parse, ("PID-3", "PID-2", "PID-4")))
PRIOR_IDENTIFIERS = tuple(map(Path.parse, ("MRG-1", "MRG-4")))

ORDER: tuple[Row, ...] = (
    row("control_code", values.first, "ORC-1"),
    row("order_status", values.first, "ORC-5"),
    row("placer_order_number placer_issuer", _EI, "ORC-2.1 ORC-2", "OBR-2.1 OBR-2"),
    row("filler_order_number filler_issuer", _EI, "ORC-3.1 ORC-3", "OBR-3.1 OBR-3"),
    row("placer_group_number", values.first, "ORC-4.1"),
    row("requested_procedure_id", values.first, "IPC-2.1", "OBR-19"),
    row("scheduled_step_id", values.first, "IPC-4.1", "OBR-20"),
    row("study_instance_uid", values.first, "IPC-3.1", "ZDS-1.1"),
    row("modality", values.first, "IPC-5.1", "OBR-24"),
    row(
        "procedure_code procedure_meaning procedure_scheme",
        _CODE,
        "OBR-44.1 OBR-44.2 OBR-44.3",
        "OBR-4.1 OBR-4.2 OBR-4.3",
    ),
    row(
        "step_code step_meaning step_scheme",
        _CODE,
        "IPC-6.1 IPC-6.2 IPC-6.3",
        "OBR-4.4 OBR-4.5 OBR-4.6",
    ),
    row("priority", values.priority, "TQ1-9.1", "ORC-7.6", "OBR-27.6"),
    row("reason", values.text, "OBR-31.2", "OBR-31.1"),
    row("requesting_physician", values.practitioner, "OBR-16", "ORC-12"),
    row("performing_physician", values.named_practitioner, "OBR-34"),
    row("station_name", values.first, "IPC-7.1", "ORC-18"),
    row("station_location", values.first, "IPC-8.1"),
    row("station_ae_title", values.first, "IPC-9"),
    row("allergies", values.text, "OBR-13"),
    row("patient_state", values.text, "OBR-12"),
    row("accession_number accession_issuer", _EI, "IPC-1.1 IPC-1", "OBR-18 OBR-18"),
    *VISIT,
)

# In a report the OBR says which order is meant: one ORC may stand before several.
REPORT = (
    row(
        "procedure_code procedure_meaning procedure_scheme",
        _CODE,
        "OBR-44.1 OBR-44.2 OBR-44.3",
        "OBR-4.1 OBR-4.2 OBR-4.3",
    ),
    row("study_instance_uid", values.first, "ZDS-1.1", "IPC-3.1"),
    row("accession_number accession_issuer", _EI, "OBR-18 OBR-18", "IPC-1.1 IPC-1"),
)
RESULT: tuple[Row, ...] = (
    *REPORT,
    row("placer_order_number placer_issuer", _EI, "OBR-2.1 OBR-2", "ORC-2.1 ORC-2"),
    row("filler_order_number filler_issuer", _EI, "OBR-3.1 OBR-3", "ORC-3.1 ORC-3"),
    row("status", values.first, "OBR-25"),
    row("author", values.named_practitioner, "OBR-32"),
)
DOCUMENT: tuple[Row, ...] = (
    *REPORT,
    row("placer_order_number placer_issuer", _EI, "TXA-14.1 TXA-14", "OBR-2.1 OBR-2", "ORC-2.1 ORC-2"),
    row("filler_order_number filler_issuer", _EI, "TXA-15.1 TXA-15", "OBR-3.1 OBR-3", "ORC-3.1 ORC-3"),
    row("document_number", values.entity, "TXA-12"),
    row("parent_document_number", values.entity, "TXA-13"),
    row("status", values.first, "TXA-17"),
    row("author", values.practitioner, "TXA-9", "TXA-22", "TXA-10", "TXA-5"),
)
APPOINTMENT: tuple[Row, ...] = (
    row("placer_appointment_id", values.first, "SCH-1.1"),
    row("filler_appointment_id", values.first, "SCH-2.1"),
    row("placer_order_number", values.first, "SCH-26.1"),
    row("filler_order_number", values.first, "SCH-27.1"),
    row("status", values.first, "SCH-25.1", "AIS-10.1"),
    row("procedure_code procedure_meaning procedure_scheme", _CODE, "AIS-3.1 AIS-3.2 AIS-3.3"),
    row("location", values.first, "AIL-3.1"),
    row("personnel", values.practitioner, "AIP-3"),
)

# Times: the first place that holds a readable one.
MESSAGE_TIME = (Path.parse("MSH-7"),)
PATIENT_EVENT_TIME = (Path.parse("EVN-2"), *MESSAGE_TIME)
ORDER_EVENT_TIME = (Path.parse("ORC-9"), *MESSAGE_TIME)
RESULT_EVENT_TIME = (Path.parse("OBR-22"), *MESSAGE_TIME)
DOCUMENT_EVENT_TIME = PATIENT_EVENT_TIME
APPOINTMENT_EVENT_TIME = MESSAGE_TIME
REPORTED = (Path.parse("OBR-22"),)
DOCUMENTED = tuple(map(Path.parse, ("TXA-4", "TXA-8", "TXA-6")))
APPOINTED = tuple(map(Path.parse, ("AIS-4", "TQ1-7", "SCH-11.4")))
ADMITTED = (Path.parse("PV1-44"),)
ORDERED = tuple(map(Path.parse, ("ORC-9", "ORC-15")))
SCHEDULED = tuple(map(Path.parse, ("TQ1-7", "ORC-7.4", "OBR-27.4", "OBR-36")))


# The tables that events are read by.
READ_BY_NAME = ("DEMOGRAPHICS", "PATIENT", "ORDER", "RESULT", "DOCUMENT", "APPOINTMENT")
READ_BY_ROWS: tuple[tuple[Row, ...], ...] = (DEMOGRAPHICS, PATIENT, ORDER, RESULT, DOCUMENT, APPOINTMENT)

# Event to its rows, for what asks by field.
TABLES: dict[str, tuple[Row, ...]] = {
    "patient": (*PATIENT, *DEMOGRAPHICS),
    "order": (*ORDER, *DEMOGRAPHICS),
    "appointment": (*APPOINTMENT, *DEMOGRAPHICS),
    "report": (*DOCUMENT, *RESULT, *DEMOGRAPHICS),
}


@cache
def readers(event: str) -> dict[str, Reader]:
    """Field of an event to how its value is read, whatever the place."""
    columns = (column for row in TABLES[event] for place in row.places for column in place.columns)
    return {name: reader for name, reader, _ in columns}


@cache
def default_places(event: str, field: str) -> tuple[str, ...]:
    """The paths a field of an event is read from, in order; none where it is not read by a row."""
    columns = (column for row in TABLES[event] for place in row.places for column in place.columns)
    return tuple(dict.fromkeys(path.text for name, _, path in columns if name == field))


def first_paths() -> dict[str, str]:
    """Field to the path it is read from unless an event's `paths` says otherwise."""
    table = {
        name: path.text for r in (*PATIENT, *DEMOGRAPHICS, *ORDER) for name, _, path in r.places[0].columns
    }
    table |= {
        "identifiers": IDENTIFIERS[0].text,
        "prior_identifiers": PRIOR_IDENTIFIERS[0].text,
        "admitted_at": ADMITTED[0].text,
        "ordered_at": ORDERED[0].text,
        "scheduled_at": SCHEDULED[0].text,
        "weight_kg": "OBX-5",
        "height_m": "OBX-5",
    }
    return table
