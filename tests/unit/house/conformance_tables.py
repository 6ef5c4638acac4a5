"""The tables of docs/conformance.md, made from what the code offers.

    python tests/unit/house/conformance_tables.py

writes them anew, between the marks `<!-- NAME -->` and `<!-- /NAME -->`; a test holds the page against them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pydicom.charset import python_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom import (
    PYNETDICOM_IMPLEMENTATION_UID,
    PYNETDICOM_IMPLEMENTATION_VERSION,
    AllStoragePresentationContexts,
    sop_class,
)

from dosestream.dose.arrival import STRUCTURED_REPORTS
from dosestream.dose.step_header import INSTANCE_AVAILABILITY, PERFORMED_STEP
from dosestream.hl7.charset import CODECS
from dosestream.hl7.tables import ACKNOWLEDGEMENTS, ERRORS, EVENTS, MESSAGE_TYPES, VERSIONS
from dosestream.mapping import appointment, defaults, report
from dosestream.mapping.normalise import ORDER_RESPONSES, ORDERS
from dosestream.mapping.patient import ACTIONS
from dosestream.settings import DicomSettings, WorklistSettings
from dosestream.worklist.answer import KNOWN
from dosestream.worklist.keys import STEP, SUPPORTED
from services.arrivals import listener as arrivals
from services.arrivals import steps
from services.arrivals.commitment import PUSH_MODEL
from services.arrivals.reception import MAX_PDU
from services.worklist import listener as worklist

PAGE = Path(__file__).parents[3] / "docs" / "conformance.md"

# What the rows of `defaults` leave to code, as the places it looks at.
BESIDES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "patient": {
        "identifiers": [path.text for path in defaults.IDENTIFIERS],
        "prior_identifiers": [path.text for path in defaults.PRIOR_IDENTIFIERS],
        "admitted_at": [path.text for path in defaults.ADMITTED],
        "event_time": [path.text for path in defaults.PATIENT_EVENT_TIME],
    },
    "order": {
        "ordered_at": [path.text for path in defaults.ORDERED],
        "scheduled_at": [path.text for path in defaults.SCHEDULED],
        "event_time": [path.text for path in defaults.ORDER_EVENT_TIME],
    },
    "report": {
        "reported_at": [path.text for path in (*defaults.DOCUMENTED, *defaults.REPORTED)],
        "event_time": [
            path.text for path in dict.fromkeys((*defaults.RESULT_EVENT_TIME, *defaults.DOCUMENT_EVENT_TIME))
        ],
    },
    "appointment": {
        "scheduled_at": [path.text for path in defaults.APPOINTED],
        "event_time": [path.text for path in defaults.APPOINTMENT_EVENT_TIME],
    },
}
# Drafts that pydicom has no name for (PS3.6 annex A, retired).
DRAFTS: Mapping[str, str] = {
    f"{STRUCTURED_REPORTS}{number}": f"{kind} SR Storage - Trial (Retired)"
    for number, kind in enumerate(("Text", "Audio", "Detail", "Comprehensive"), 1)
}
KEYWORDS = {str(uid): keyword for keyword, uid in vars(sop_class).items() if isinstance(uid, UID)}
DEMOGRAPHICS = {
    column[0] for row in defaults.DEMOGRAPHICS for place in row.places for column in place.columns
}


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ranges(codes: Iterable[str]) -> str:
    """Trigger events, neighbours drawn together: A01-A08, A10."""
    found: list[list[str]] = []
    for code in sorted(codes):
        if found and code[0] == found[-1][-1][0] and int(code[1:]) == int(found[-1][-1][1:]) + 1:
            found[-1].append(code)
        else:
            found.append([code])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found)


def hl7_messages() -> str:
    """Message types that become events."""
    by_action = defaultdict(list)
    for trigger, action in ACTIONS.items():
        by_action[action].append(trigger)
    rows = [["ADT", ranges(triggers), f"patient: {action}"] for action, triggers in by_action.items()]
    rows += [[*kind.split("^"), "order, per ORC/OBR group and IPC"] for kind in sorted(ORDERS)]
    rows += [
        [kind, "any listed", "order, where it holds an order number"] for kind in sorted(ORDER_RESPONSES)
    ]
    rows += [[*kind.split("^"), "report, per OBR"] for kind in sorted(report.RESULTS)]
    rows += [["MDM", ranges(kind[4:] for kind in report.DOCUMENTS), "report, per document and order"]]
    rows += [["SIU", ranges(appointment.TRIGGERS), "appointment, per service"]]
    return table(("MSH-9.1", "MSH-9.2", "becomes an event"), rows)


def hl7_listed() -> str:
    """What is taken at all."""
    kinds = len(MESSAGE_TYPES - ACKNOWLEDGEMENTS)
    return (
        f"Versions (MSH-12): {', '.join(sorted(VERSIONS))}. {kinds} message types of table 0076 and {len(EVENTS)} "
        f"trigger events of table 0003 are accepted; {', '.join(sorted(ACKNOWLEDGEMENTS))} are taken and never answered."
    )


def hl7_fields() -> str:
    """Field of an event to the places it is read from, in order."""
    rows = []
    for event, readers in defaults.TABLES.items():
        names = dict.fromkeys(
            column[0] for row in readers for place in row.places for column in place.columns
        )
        found = {name: defaults.default_places(event, name) for name in names}
        if event != "patient":
            found = {name: places for name, places in found.items() if name not in DEMOGRAPHICS}
        rows += [
            [event, f"`{name}`", ", ".join(places)] for name, places in {**found, **BESIDES[event]}.items()
        ]
    return table(("event", "field", "read from, the first that says anything"), rows)


def hl7_charsets() -> str:
    """MSH-18."""
    return ", ".join(f"`{name}`" for name in CODECS)


def hl7_errors() -> str:
    """ERR-3."""
    return table(("ERR-3 (table 0357)", "text"), [[str(code), text] for code, text in ERRORS.items()])


def dicom_classes() -> str:
    """Abstract syntaxes that associations are accepted for, by application entity."""
    normalised = {
        PERFORMED_STEP: ("N-CREATE, N-SET", "F"),
        INSTANCE_AVAILABILITY: ("N-CREATE", "R"),
        PUSH_MODEL: ("N-ACTION; N-EVENT-REPORT sent", "J"),
    }
    rows = [["DOSESTREAM", "Verification", str(sop_class.Verification), "C-ECHO", "A"]]
    rows += [["DOSESTREAM", UID(uid).name, uid, *normalised[uid]] for uid in arrivals.NORMALISED]
    rows += [
        ["DOSESTREAM", f"{len(storage_classes())} storage classes (annex)", "see the annex", "C-STORE", "B"],
        [
            "DOSESTREAM_WL",
            "Modality Worklist Information Model - FIND",
            str(sop_class.ModalityWorklistInformationFind),
            "C-FIND, C-CANCEL",
            "K",
        ],
        ["DOSESTREAM_WL", "Verification", str(sop_class.Verification), "C-ECHO", "A"],
    ]
    return table(("application entity", "SOP class", "UID", "services, as SCP", "PS3.4 annex"), rows)


def storage_classes() -> list[str]:
    """UIDs of the storage classes that are accepted."""
    return [*(str(one.abstract_syntax) for one in AllStoragePresentationContexts), *arrivals.RETIRED]


def _name(uid: str) -> str:
    """PS3.6's name; of classes newer than the dictionary their keyword."""
    name = DRAFTS.get(uid) or UID(uid).name
    return name if name != uid else KEYWORDS[uid]


def dicom_storage() -> str:
    """Storage classes and what is kept of their instances."""
    rows = [
        [
            _name(uid),
            uid,
            "whole" if uid.startswith(STRUCTURED_REPORTS) else "without pixel data",
        ]
        for uid in sorted(storage_classes(), key=lambda uid: [int(part) for part in uid.split(".")])
    ]
    return table(("storage SOP class", "UID", "kept"), rows)


def dicom_syntaxes() -> str:
    """Transfer syntaxes by service."""
    of_data_sets = [uid for uid in arrivals.PLAIN if not uid.endswith(".99")]
    offered = {
        "storage": arrivals.TRANSFER_SYNTAXES,
        "performed step, availability, commitment": of_data_sets,
        "worklist": worklist.TRANSFER_SYNTAXES,
    }
    rows = [
        [UID(uid).name, uid, ", ".join(name for name, syntaxes in offered.items() if uid in syntaxes)]
        for uid in arrivals.TRANSFER_SYNTAXES
    ]
    return table(("transfer syntax", "UID", "accepted for"), rows)


def dicom_charsets() -> str:
    """Defined terms of Specific Character Set that are read."""
    return ", ".join(f"`{term}`" for term in python_encoding if term)


def dicom_policies() -> str:
    """Numbers of the association policies."""
    rows = [
        ["maximum PDU offered, bytes", f"{MAX_PDU}", f"{worklist.MAX_PDU}"],
        ["association idle at most, s", f"{arrivals.IDLE_S}", f"{worklist.IDLE_S}"],
        ["a message that was begun must go on within, s", f"{arrivals.MESSAGE_S}", f"{worklist.MESSAGE_S}"],
        [
            "associations at once, unless configured",
            f"{DicomSettings().max_associations}",
            f"{WorklistSettings().max_associations}",
        ],
        ["operations outstanding (no asynchronous window is negotiated)", "1", "1"],
        *[
            [name, value, value]
            for name, value in (
                ("implementation class UID", str(PYNETDICOM_IMPLEMENTATION_UID)),
                ("implementation version name", str(PYNETDICOM_IMPLEMENTATION_VERSION)),
            )
        ],
    ]
    return table(("", "DOSESTREAM", "DOSESTREAM_WL"), rows)


def dicom_worklist() -> str:
    """Attributes of the worklist: matched, returned."""
    returned = {".".join(path) for path in _paths(KNOWN)}
    names = sorted(returned | set(SUPPORTED), key=_tags)
    rows = [
        [
            " > ".join(f"{part} {_tag(part)}" for part in name.split(".")),
            SUPPORTED[name].kind.name.lower() if name in SUPPORTED else "-",
            "yes" if name in returned else "-",
        ]
        for name in names
    ]
    return table(("attribute", "matching", "returned"), rows)


def _paths(known: Mapping[str, object], before: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    for name, inner in known.items():
        if isinstance(inner, Mapping):
            yield from _paths(inner, (*before, name))
        else:
            yield (*before, name)


def _tags(name: str) -> tuple[int, ...]:
    parts = name.split(".")
    # The step's own attributes stand together, at the end.
    return (parts[0] == STEP, *(tag_for_keyword(part) or 0 for part in parts))


def _tag(keyword: str) -> str:
    tag = Tag(keyword)
    return f"({tag.group:04X},{tag.element:04X})"


def dicom_steps() -> str:
    """States of a performed procedure step."""
    rows = [
        [state or "unknown", message, status or "not set", f"{found.status:04X}", found.state or "unknown"]
        for (state, message, status), found in steps.TABLE.items()
    ]
    return table(("state", "message", "(0040,0252) in it", "status", "state afterwards"), rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "hl7-messages": hl7_messages,
    "hl7-listed": hl7_listed,
    "hl7-fields": hl7_fields,
    "hl7-charsets": hl7_charsets,
    "hl7-errors": hl7_errors,
    "dicom-classes": dicom_classes,
    "dicom-syntaxes": dicom_syntaxes,
    "dicom-policies": dicom_policies,
    "dicom-charsets": dicom_charsets,
    "dicom-worklist": dicom_worklist,
    "dicom-steps": dicom_steps,
    "dicom-storage": dicom_storage,
}


def shown(page: str, name: str) -> str:
    """The table of this name as the page has it."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", page, re.DOTALL)
    return found[1] if found else ""


def main() -> None:
    """Write the tables anew."""
    page = PAGE.read_text(encoding="utf-8")
    for name, made in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n?<!-- /{name} -->)", re.DOTALL)
        text = made()
        page = pattern.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2].lstrip()}", page)  # type: ignore[misc]
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
