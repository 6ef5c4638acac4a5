"""Order messages to order events (IHE RAD-2 to RAD-4, RAD-13; HL7 v2.5.1 chapter 4).

Every ORC/OBR group is an order of its own, and every IPC of it again.
"""

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

from dosestream.events.records import Demographics
from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.hl7.path import CLEARED
from dosestream.hl7.reader import Group, Message, Segment
from dosestream.kafka.topics import Topic
from dosestream.mapping.defaults import ORDER, ORDER_EVENT_TIME, ORDERED, SCHEDULED
from dosestream.mapping.draft import Draft, put_event_time, put_time, read_demographics, read_rows, read_time
from dosestream.mapping.site import Overlay
from dosestream.mapping.values import HEIGHT_CODES, KILOGRAMS, METRES, WEIGHT_CODES, quantity

# What finds an order again; a group with none of them is nobody's order.
NUMBERS = (
    "placer_order_number",
    "filler_order_number",
    "accession_number",
    "study_instance_uid",
    "requested_procedure_id",
)

NOTHING = ("", CLEARED)

# What is measured of the patient: the field, what observations say it is, and the factors of their units.
BODY = (("weight_kg", WEIGHT_CODES, KILOGRAMS), ("height_m", HEIGHT_CODES, METRES))

NO_ORDER = Refusal("no_order", 100, "The message holds no ORC and no OBR segment.", "ORC", Severity.ERROR)
NO_ORDER_NUMBER = Refusal(
    "no_order_number",
    101,
    "An order has no placer, filler, accession or requested procedure number and no study UID.",
    "ORC-2",
    Severity.ERROR,
)

# ORC-1 of a prior result that comes along (table 0119).
PREVIOUS_RESULTS = "PR"


def draft_orders(message: Message, site: Overlay | None, local: tzinfo) -> tuple[list[Draft], Refusal | None]:
    """A draft for every order that has a number; and the first thing that could not be mapped."""
    groups = list(order_groups(message))
    if not groups:
        return [], NO_ORDER
    patient_paths: dict[str, str] = {}
    patient: Demographics | None = None
    if message.first("PID") is not None:
        patient = read_demographics(message, patient_paths)
    refusal: Refusal | None = None
    drafts = []
    for index, group in enumerate(groups):
        paths = dict(patient_paths)
        fields: dict[str, Any] = {"control_code": "", "patient": patient, "paths": paths}
        read_rows(ORDER, group, fields, paths)
        _put_times(group, local, fields, paths)
        if group.first("OBX") is not None:
            for name, codes, factors in BODY:
                if value := quantity(group, codes, factors):
                    fields[name] = value
        identifiers = patient.identifiers if patient is not None else ()
        draft = Draft(Topic.ORDER, index, fields, identifiers, group)
        if site is not None:
            changed = site.apply(draft, local)
            if isinstance(changed, Refusal):
                refusal = refusal or changed
                continue
            draft = changed
        # A cleared number finds nothing either, nor an empty one.
        said = draft.fields.get
        if any(said(number, "") not in NOTHING for number in NUMBERS):
            drafts.append(draft)
        else:
            refusal = refusal or NO_ORDER_NUMBER
    return drafts, refusal


def _put_times(group: Group, local: tzinfo, fields: dict[str, Any], paths: dict[str, str]) -> None:
    put_event_time(ORDER_EVENT_TIME, group, local, fields)
    if fields.get("event_time_path") == ORDERED[0].text:
        fields["ordered_at"] = fields["event_time"]
    else:
        put_time("ordered_at", ORDERED, group, local, fields, paths)
    scheduled, path = read_time(SCHEDULED, group, local)
    if path:
        if scheduled is None:
            fields["scheduled_cleared"] = True
        else:
            fields["scheduled_at"] = scheduled
        if path != SCHEDULED[0].text:
            paths["scheduled_at"] = path


def order_groups(message: Message) -> Iterator[Group]:
    """The order groups of a message, one per IPC where a group has several.

    A group begins at ORC, or at an OBR that follows another OBR of the group (it then shares the ORC). Prior
    results that come along with an order (a PID inside the orders) are no orders. A ZDS behind the last group
    speaks for all groups that have none, as IHE sends it.
    """
    head, groups = _split(message.segments)
    if len(groups) == 1 and message.is_plain and len(head) + len(groups[0]) == len(message.segments):
        yield message.part(groups[0])
        return
    shared: list[Segment] = []
    zds = [segment for group in groups for segment in group if segment.name == "ZDS"]
    if len(groups) > 1 and len(zds) == 1 and zds[0] in groups[-1]:
        shared = zds
    outer = Group([*head, *shared])
    for segments in groups:
        codes = [s for s in segments if s.name == "IPC"]
        if len(codes) < 2:
            yield Group(segments, outer)
        else:
            rest = [s for s in segments if s.name != "IPC"]
            for code in codes:
                yield Group([*rest, code], outer)


def _split(
    segments: "tuple[Segment, ...] | list[Segment] | Any",
) -> tuple[list[Segment], list[list[Segment]]]:
    head: list[Segment] = []
    groups: list[list[Segment]] = []
    current: list[Segment] = head
    prior = False
    for segment in segments:
        name = segment.name
        if name == "PID" and groups:
            prior, current = True, []
            continue
        if name == "ORC" or (name == "OBR" and current is head and not prior):
            control = segment.field(1) if name == "ORC" else ""
            prior = (prior and not control) or control == PREVIOUS_RESULTS
            current = [segment]
            if not prior:
                groups.append(current)
        elif name == "OBR" and any(s.name == "OBR" for s in current) and not prior:
            current = [*(s for s in current if s.name == "ORC"), segment]
            groups.append(current)
        else:
            current.append(segment)
    return head, groups
