"""Scheduling messages (SIU) to appointment events: one per service, with the order and the time of each."""

from typing import Any

import pytest
from hl7_cases import events, normalised, utc

from dosestream.events.records import Appointment

PID = "PID|||4711^^^HOSP^MR||DOE^JOHN||19800102|M"


def sch(**fields: str) -> str:
    """A SCH with fields by number, such as f26="P1"."""
    values = {int(name[1:]): value for name, value in fields.items()}
    return "|".join(["SCH", *(values.get(number, "") for number in range(1, max(values, default=0) + 1))])


SCH = sch(f1="A1^HIS", f2="B1^RIS", f11="^^^20260302090000", f25="Booked", f26="P1^EPIC", f27="F1^RIS")
AIS = "AIS|1|A|CTH^CT head^L|20260302093000"


def appointments(*segments: str, kind: str = "SIU^S12") -> list[Appointment]:
    return [event for event in events(kind, *segments) if isinstance(event, Appointment)]


FIELDS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("its numbers and its order", (SCH,), {
        "trigger": "S12", "placer_appointment_id": "A1", "filler_appointment_id": "B1",
        "placer_order_number": "P1", "filler_order_number": "F1", "status": "Booked"}),
    ("the time of the service", (SCH, "RGS|1", AIS), {
        "scheduled_at": utc("2026-03-02T09:30"), "paths": {}}),
    ("else of the appointment's TQ1", (SCH, "TQ1|||||||20260302094500", "RGS|1", "AIS|1||X"), {
        "scheduled_at": utc("2026-03-02T09:45"), "paths": {"scheduled_at": "TQ1-7"}}),
    ("else of SCH-11", (SCH,), {
        "scheduled_at": utc("2026-03-02T09:00"), "paths": {"scheduled_at": "SCH-11.4"}}),
    ("the procedure", (SCH, "RGS|1", AIS), {
        "procedure_code": "CTH", "procedure_meaning": "CT head", "procedure_scheme": "L"}),
    ("place and person", (SCH, "RGS|1", AIS, "AIL|1||CT1^ROOM", "AIP|1||9^DOE^ANNA"), {
        "location": "CT1", "personnel": "DOE^ANNA"}),
    ("resources without a service", (SCH, "RGS|1", "AIL|1||CT1"), {"location": "CT1", "filler_order_number": "F1"}),
    ("a service without RGS", (SCH, AIS), {"procedure_code": "CTH"}),
    ("the status of the service where the appointment has none", (
        sch(f2="B1"), "RGS|1", "AIS|1||X|||||||Noshow"), {"status": "Noshow", "paths": {"status": "AIS-10.1"}}),
    ("it happened when the message was made", (SCH,), {
        "event_time": utc("2026-03-01T12:00"), "event_time_path": "MSH-7"}),
]  # fmt: skip


@pytest.mark.parametrize(("segments", "expected"), [f[1:] for f in FIELDS], ids=[f[0] for f in FIELDS])
def test_of_an_appointment(segments: tuple[str, ...], expected: dict[str, Any]) -> None:
    (found,) = appointments(segments[0], PID, *segments[1:])
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.patient is not None


@pytest.mark.parametrize("trigger", ["S12", "S13", "S14", "S15", "S16", "S17", "S26"])
def test_what_happens_to_it_is_the_trigger(trigger: str) -> None:
    (found,) = appointments(SCH, PID, kind=f"SIU^{trigger}")
    assert found.trigger == trigger


TWO = ("RGS|1", "AIS|1||A|20260302090000", "RGS|2", "AIS|1||B|20260302100000")
SEVERAL: list[tuple[str, tuple[str, ...], list[tuple[str, str, str, str]]]] = [
    ("services of one order", (sch(f2="B", f27="F1"), *TWO), [("A", "F1", "09", ""), ("B", "F1", "10", "")]),
    ("services of an order each", (sch(f2="B", f27="F1~F2"), *TWO), [("A", "F1", "09", ""), ("B", "F2", "10", "")]),
    ("one service for two orders", (sch(f2="B", f27="F1^R~F2^R"), "RGS|1", TWO[1]), [
        ("A", "F1", "09", ""), ("A", "F2", "09", "")]),
    ("a room for each service", (sch(f2="B"), "RGS|1", TWO[1], TWO[3], "AIL|1||R1", "AIL|2||R2"), [
        ("A", "", "09", "R1"), ("B", "", "10", "R2")]),
    ("one room for all services", (sch(f2="B"), "RGS|1", TWO[1], TWO[3], "AIL|1||R1"), [
        ("A", "", "09", "R1"), ("B", "", "10", "R1")]),
    ("the room of another group is not this one's", (sch(f2="B"), *TWO, "AIL|1||R2"), [
        ("A", "", "09", ""), ("B", "", "10", "R2")]),
    ("a service that is taken out is none", (
        sch(f2="B", f27="F1"), "RGS|1", "AIS|1|D|A|20260302090000", TWO[3]), [("B", "F1", "10", "")]),
]  # fmt: skip


@pytest.mark.parametrize(("segments", "expected"), [s[1:] for s in SEVERAL], ids=[s[0] for s in SEVERAL])
def test_several(segments: tuple[str, ...], expected: list[tuple[str, str, str, str]]) -> None:
    found = appointments(segments[0], PID, *segments[1:])
    hours = {utc(f"2026-03-02T{hour}:00"): hour for hour in ("09", "10")}
    said = [(a.procedure_code, a.filler_order_number, hours[a.scheduled_at or 0], a.location) for a in found]
    assert said == expected
    assert len({a.event_id for a in found}) == len(found)


REJECTED = [
    ("without SCH", (PID, AIS), "no_appointment"),
    ("without any number", (sch(f25="Booked"), PID, AIS), "no_appointment_number"),
]


@pytest.mark.parametrize(("segments", "code"), [r[1:] for r in REJECTED], ids=[r[0] for r in REJECTED])
def test_rejected(segments: tuple[str, ...], code: str) -> None:
    found = normalised("SIU^S12", *segments)
    assert found.events == ()
    assert found.rejection is not None
    assert found.rejection.code == code


def test_an_appointment_without_patient_is_one() -> None:
    (found,) = appointments(SCH)
    assert found.patient is None
