"""Reports to report events: ORU^R01 (HL7 v2.5.1 chapter 7, IHE RAD-28) and MDM^T01 to T11 (chapter 9).

Every OBR of an ORU is a report of its own. A document (MDM) is one, or one for each order it names.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

from dosestream.events.records import Demographics
from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.hl7.escapes import unescape
from dosestream.hl7.path import CLEARED
from dosestream.hl7.reader import Group, Message, Segment
from dosestream.kafka.topics import Topic
from dosestream.mapping.defaults import (
    DOCUMENT,
    DOCUMENT_EVENT_TIME,
    DOCUMENTED,
    REPORTED,
    RESULT,
    RESULT_EVENT_TIME,
)
from dosestream.mapping.draft import Draft, put_event_time, put_time, read_demographics, read_rows
from dosestream.mapping.site import Overlay
from dosestream.mapping.values import entity, first

RESULTS = frozenset({"ORU^R01"})
# Original, status change, addendum, edit and replacement, each as a notice and with content; cancel.
DOCUMENTS = frozenset(f"MDM^T{number:02d}" for number in range(1, 12))

NO_REPORT = Refusal("no_report", 100, "The message holds no OBR segment.", "OBR", Severity.ERROR)
NO_DOCUMENT = Refusal("no_document", 100, "The message holds no TXA segment.", "TXA", Severity.ERROR)
NO_REPORT_NUMBER = Refusal(
    "no_report_number",
    101,
    "A report names no order, study, document or patient.",
    "OBR-3",
    Severity.ERROR,
)

# What ties a report to anything, besides its patient.
NUMBERS = (
    "placer_order_number",
    "filler_order_number",
    "accession_number",
    "study_instance_uid",
    "document_number",
)

# OBX-2 of text, and of documents that stand beside it.
TEXT = frozenset({"TX", "FT", "ST"})
ATTACHED = frozenset({"ED", "RP"})
# OBX-11 (table 0085): deleted, and posted as wrong.
WITHDRAWN = frozenset({"D", "W"})
# OBX-11 where OBR-25 is empty: a report is no more final than the least final of its observations.
OBSERVED = ("I", "S", "P", "R", "C", "F", "X")
# OBX-3 of a Study Instance UID: DICOM PS3.16, and the words.
STUDY_UID = frozenset({"110180", "113014", "study instance uid", "studyinstanceuid", "dicom study"})
_UID = re.compile(r"\d+(?:\.\d+)+")


def draft_reports(
    message: Message, kind: str, site: Overlay | None, local: tzinfo
) -> tuple[list[Draft], Refusal | None]:
    """A draft for every report; and the first thing that could not be mapped. `kind` is MSH-9 as `ORU^R01`."""
    document = kind in DOCUMENTS
    if document and message.first("TXA") is None:
        return [], NO_DOCUMENT
    groups = list(document_groups(message) if document else result_groups(message))
    if not groups:
        return [], NO_REPORT
    rows = DOCUMENT if document else RESULT
    content = _content(message)
    refusal: Refusal | None = None
    drafts = []
    for index, group in enumerate(groups):
        paths: dict[str, str] = {}
        patient: Demographics | None = None
        if group.first("PID") is not None:
            patient = read_demographics(group, paths)
        fields: dict[str, Any] = {"trigger": kind[4:], "patient": patient, "paths": paths}
        read_rows(rows, group, fields, paths)
        _put_observations(content if document else group.segments, fields, paths)
        put_event_time(DOCUMENT_EVENT_TIME if document else RESULT_EVENT_TIME, group, local, fields)
        put_time("reported_at", DOCUMENTED if document else REPORTED, group, local, fields, paths)
        draft = Draft(Topic.REPORT, index, fields, patient.identifiers if patient is not None else (), group)
        changed = draft if site is None else site.apply(draft, local)
        if isinstance(changed, Refusal):
            refusal = refusal or changed
        elif changed.identifiers or any(changed.fields.get(n, "") not in ("", CLEARED) for n in NUMBERS):
            drafts.append(changed)
        else:
            refusal = refusal or NO_REPORT_NUMBER
    return drafts, refusal


def result_groups(message: Message) -> Iterator[Group]:
    """The results of an ORU: an OBR with what follows it, behind it its ORC and its patient.

    An OBR without an ORC of its own has the one before it, until the next patient.
    """
    head: list[Segment] = []
    patient: list[Segment] = []
    order: list[Segment] = []
    current: list[Segment] | None = None
    groups: list[tuple[list[Segment], list[Segment]]] = []
    for segment in message.segments:
        name = segment.name
        if name == "PID":
            patient, order, current = [segment], [], None
        elif name == "ORC":
            order, current = [segment], None
        elif name == "OBR":
            current = [segment]
            groups.append((current, [*head, *patient, *order]))
        elif current is not None:
            current.append(segment)
        elif order:
            order.append(segment)
        elif patient:
            patient.append(segment)
        else:
            head.append(segment)
    for segments, outer in groups:
        yield Group(segments, Group(outer))


def document_groups(message: Message) -> Iterator[Group]:
    """A document once for every order (ORC, OBR) that stands before its TXA; once where none does."""
    orders: list[list[Segment]] = []
    rest: list[Segment] = []
    for segment in message.segments:
        name = segment.name
        if rest and rest[-1].name == "TXA":
            rest.append(segment)
        elif name == "ORC" or (
            name == "OBR" and not (orders and orders[-1][-1].name in ("ORC", "TQ1", "TQ2"))
        ):
            orders.append([segment])
        elif name != "TXA" and orders:
            orders[-1].append(segment)
        else:
            rest.append(segment)
    for order in orders or [[]]:
        yield Group(order, Group(rest))


def _content(message: Message) -> Sequence[Segment]:
    """What follows TXA: what stands before it is said of the orders."""
    names = [segment.name for segment in message.segments]
    return message.segments[names.index("TXA") + 1 :] if "TXA" in names else ()


def _put_observations(segments: Sequence[Segment], fields: dict[str, Any], paths: dict[str, str]) -> None:
    """Text, attachments, the study's UID and, where the OBR says none, the status: from the OBX and their NTE.

    An NTE stays with the segment it follows; observations of a specimen (after SPM) are no report.
    """
    lines: list[str] = []
    statuses: list[str] = []
    attachments, taken, cleared = 0, False, False
    for segment in segments:
        name = segment.name
        if name == "SPM":
            break
        if name == "NTE":
            if taken:
                lines += _lines(segment, 3)
            continue
        if name != "OBX":
            taken = name == "OBR"
            continue
        kind, status = (
            first(segment.field(2), segment.delimiters),
            first(segment.field(11), segment.delimiters),
        )
        taken = kind in TEXT and status not in WITHDRAWN
        if status:
            statuses.append(status)
        if kind in ATTACHED:
            attachments += status not in WITHDRAWN
        elif _is_study_uid(segment):
            taken = False
            if (uid := _uid(segment)) and "study_instance_uid" not in fields:
                fields["study_instance_uid"], paths["study_instance_uid"] = uid, "OBX-5"
        elif taken and segment.field(5) == CLEARED:
            cleared = True
        elif taken:
            lines += _lines(segment, 5)
    if found := "\n".join(lines).strip("\n"):
        fields["text"] = found
    elif cleared:
        fields["text"] = CLEARED
    fields["attachments"] = attachments
    if "status" not in fields:
        least = next((status for status in OBSERVED if status in statuses), "")
        if least:
            fields["status"], paths["status"] = least, "OBX-11"


def _lines(segment: Segment, number: int) -> list[str]:
    """A field of text by lines: its repetitions, and the line breaks within them."""
    delimiters = segment.delimiters
    value = segment.field(number)
    if value == CLEARED:
        return []
    whole = "\n".join(unescape(one, delimiters) for one in value.split(delimiters.repetition))
    return [line.rstrip() for line in whole.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def _is_study_uid(segment: Segment) -> bool:
    observed = segment.field(3).split(segment.delimiters.component)[:2]
    return any(piece.strip().casefold() in STUDY_UID for piece in observed)


def _uid(segment: Segment) -> str:
    """OBX-5 where it is a UID: as text, or as an HD by its namespace or its universal id."""
    value = segment.field(5)
    _, _, universal = value.partition(segment.delimiters.component)
    for candidate in (entity(value, segment.delimiters), first(universal, segment.delimiters)):
        if _UID.fullmatch(candidate):
            return candidate
    return ""
