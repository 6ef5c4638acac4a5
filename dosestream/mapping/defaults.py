"""Where each field of an event is read: the IHE Radiology defaults (TF-2, RAD-1 to RAD-4 and RAD-13) as data.

A row lists the fields that are read together and, in order, the places they are read from; the first place
that says anything gives all of them, so that a code never gets another code's meaning.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from dosestream.hl7.header import Delimiters
from dosestream.hl7.path import Path
from dosestream.mapping import values
from dosestream.settings import MappingSettings

# A value as sent (never empty) and its delimiters to the event's text.
Reader = Callable[[str, Delimiters], str]


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
    parsed = [tuple(map(Path.parse, place.split())) for place in places]
    return Row(
        tuple(Place(paths[0].segment, tuple(zip(names, readers, paths, strict=False))) for paths in parsed)
    )


_CODE = (values.first, values.first, values.first)
_EI = (values.first, values.issuer)

VISIT = (
    row(
        "visit_number visit_authority", (values.first, values.authority), "PV1-19.1 PV1-19", "PID-18.1 PID-18"
    ),
    row("location", values.as_sent, "PV1-3"),
    row("referring_physician", values.practitioner, "PV1-8"),
)

PATIENT = (*VISIT, row("patient_class", values.first, "PV1-2"))

DEMOGRAPHICS = (
    row("name", values.person, "PID-5"),
    row("birth_date", values.birth_date, "PID-7"),
    row("sex", values.sex, "PID-8"),
)

# Patient identifiers: internal, external (before 2.3), alternate; and what is merged.
IDENTIFIERS = tuple(map(Path.parse, ("PID-3", "PID-2", "PID-4")))
PRIOR_IDENTIFIERS = tuple(map(Path.parse, ("MRG-1", "MRG-4")))

ORDER = (
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
    *VISIT,
)

ACCESSION = ("IPC-1.1 IPC-1", "OBR-18 OBR-18")

# Times: the first place that holds a readable one.
MESSAGE_TIME = (Path.parse("MSH-7"),)
PATIENT_EVENT_TIME = (Path.parse("EVN-2"), *MESSAGE_TIME)
ORDER_EVENT_TIME = (Path.parse("ORC-9"), *MESSAGE_TIME)
ADMITTED = (Path.parse("PV1-44"),)
ORDERED = tuple(map(Path.parse, ("ORC-9", "ORC-15")))
SCHEDULED = tuple(map(Path.parse, ("TQ1-7", "ORC-7.4", "OBR-27.4", "OBR-36")))


@lru_cache(maxsize=16)
def order_rows(mapping: MappingSettings) -> tuple[Row, ...]:
    """The rows of an order, with the site's places for the accession number behind the default ones.

    Raises:
        PathError: a configured path is none.
    """
    accession = row(
        "accession_number accession_issuer",
        (values.first, values.issuer),
        *ACCESSION,
        *mapping.accession_fallback,
    )
    return (*ORDER, accession)


def first_paths() -> dict[str, str]:
    """Field to the path it is read from unless an event's `paths` says otherwise."""
    rows = (*PATIENT, *DEMOGRAPHICS, *order_rows(MappingSettings()))
    table = {name: path.text for r in rows for name, _, path in r.places[0].columns}
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
