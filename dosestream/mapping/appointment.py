"""Scheduling messages to appointment events (SIU, HL7 v2.5.1 chapter 10): one per service (AIS), else one per SCH."""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

from dosestream.events.records import Demographics
from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.hl7.path import CLEARED
from dosestream.hl7.reader import Group, Message, Segment
from dosestream.kafka.topics import Topic
from dosestream.mapping.defaults import APPOINTED, APPOINTMENT, APPOINTMENT_EVENT_TIME
from dosestream.mapping.draft import Draft, put_event_time, put_time, read_demographics, read_rows
from dosestream.mapping.site import Overlay
from dosestream.mapping.values import first

# Booked, rescheduled, modified, cancelled, discontinued, deleted, patient did not come. The others are about
# single resources and services (S18 to S22), or about no patient's appointment (S23, S24).
TRIGGERS = frozenset({"S12", "S13", "S14", "S15", "S16", "S17", "S26"})

NO_APPOINTMENT = Refusal("no_appointment", 100, "The message holds no SCH segment.", "SCH", Severity.ERROR)
NO_APPOINTMENT_NUMBER = Refusal(
    "no_appointment_number",
    101,
    "The appointment has no number, and names no order.",
    "SCH-2",
    Severity.ERROR,
)

NUMBERS = (
    "placer_appointment_id",
    "filler_appointment_id",
    "placer_order_number",
    "filler_order_number",
    "accession_number",
)
RESOURCES = frozenset({"AIG", "AIL", "AIP"})
# What SCH says once for each service, or once for all of them: placer and filler order number.
ORDER_NUMBERS = ((26, "placer_order_number"), (27, "filler_order_number"))
# AIS-2 (table 0206): the service is taken out of the appointment.
DELETED = "D"


def draft_appointments(
    message: Message, trigger: str, site: Overlay | None, local: tzinfo
) -> tuple[list[Draft], Refusal | None]:
    """A draft for every service of the appointment; or why it cannot be mapped."""
    schedule = message.first("SCH")
    if schedule is None:
        return [], NO_APPOINTMENT
    patient_paths: dict[str, str] = {}
    patient: Demographics | None = None
    if message.first("PID") is not None:
        patient = read_demographics(message, patient_paths)
    refusal: Refusal | None = None
    drafts = []
    for index, (group, numbers) in enumerate(_numbered(list(service_groups(message)), schedule)):
        paths = dict(patient_paths)
        fields: dict[str, Any] = {"trigger": trigger, "patient": patient, "paths": paths}
        read_rows(APPOINTMENT, group, fields, paths)
        fields |= numbers
        put_event_time(APPOINTMENT_EVENT_TIME, group, local, fields)
        put_time("scheduled_at", APPOINTED, group, local, fields, paths)
        identifiers = patient.identifiers if patient is not None else ()
        draft = Draft(Topic.APPOINTMENT, index, fields, identifiers, group)
        changed = draft if site is None else site.apply(draft, local)
        if isinstance(changed, Refusal):
            refusal = refusal or changed
        elif any(changed.fields.get(number, "") not in ("", CLEARED) for number in NUMBERS):
            drafts.append(changed)
        else:
            refusal = refusal or NO_APPOINTMENT_NUMBER
    return drafts, refusal


def service_groups(message: Message) -> Iterator[Group]:
    """Every AIS with the resources of its RGS; the message itself where it has none.

    Of as many resources of a kind as services each service has its own, in order; else they share them. A service
    that is taken out of the appointment is none.
    """
    head: list[Segment] = []
    blocks: list[list[Segment]] = []
    for segment in message.segments:
        if segment.name == "RGS" or (segment.name in RESOURCES | {"AIS"} and not blocks):
            blocks.append([])
        (blocks[-1] if blocks else head).append(segment)
    outer = Group(head)
    found = False
    for block in blocks:
        services = [segment for segment in block if segment.name == "AIS"]
        for number, service in enumerate(services):
            found = True
            if first(service.field(2), service.delimiters) != DELETED:
                yield Group([service, *_resources(block, number, len(services))], outer)
    if not found:
        yield message


def _resources(block: Sequence[Segment], number: int, services: int) -> list[Segment]:
    chosen: list[Segment] = []
    for name in sorted(RESOURCES):
        same = [segment for segment in block if segment.name == name]
        chosen += [same[number]] if len(same) == services else same
    return chosen


def _numbered(services: list[Group], schedule: Segment) -> list[tuple[Group, dict[str, str]]]:
    """The services with the order numbers that are each one's own.

    With as many repetitions of SCH-26 or SCH-27 as services, the first is the first one's; an appointment of one
    service for several orders is told once for each of them.
    """
    delimiters = schedule.delimiters
    repeated = {
        name: [first(one, delimiters) for one in value.split(delimiters.repetition)]
        for field, name in ORDER_NUMBERS
        if delimiters.repetition in (value := schedule.field(field))
    }
    if len(services) == 1:
        services = services * max([1, *map(len, repeated.values())])
    paired = {name: numbers for name, numbers in repeated.items() if len(numbers) == len(services)}
    return [
        (group, {name: numbers[index] for name, numbers in paired.items()})
        for index, group in enumerate(services)
    ]
