"""Appointments move the schedule and the status of the orders they name."""

from itertools import permutations

import pytest
from rows_of import Event, rows_of
from said import appointment, at, order, person

from dosestream.reconcile.rules import Rules

RULES = Rules()
JOE = person("P1", name="DOE^JOE")
ORDER = order(1, patient=JOE, filler_order_number="F1", accession_number="A1", scheduled_at=at(600))
MOVED = appointment(3, "S13", filler_order_number="F1", filler_appointment_id="T1", scheduled_at=at(9000))

CASES: dict[str, tuple[list[Event], tuple[str | None, int | None]]] = {
    "a rescheduled appointment moves the order": ([ORDER, MOVED], ("SCHEDULED", at(9000))),
    "an older one does not": (
        [ORDER, appointment(0, "S12", filler_order_number="F1", scheduled_at=at(300))],
        ("SCHEDULED", at(600)),
    ),
    "a later order message moves it again": (
        [ORDER, MOVED, order(5, "XO", "SC", filler_order_number="F1", scheduled_at=at(700))],
        ("SCHEDULED", at(700)),
    ),
    "a cancelled appointment cancels": (
        [ORDER, appointment(4, "S15", accession_number="A1")],
        ("CANCELED", at(600)),
    ),
    "a deleted one too": ([ORDER, appointment(4, "S17", filler_order_number="F1")], ("CANCELED", at(600))),
    "a patient who did not come too": (
        [ORDER, appointment(4, "S26", filler_order_number="F1")],
        ("CANCELED", at(600)),
    ),
    "a new appointment after it schedules again": (
        [
            ORDER,
            appointment(4, "S26", filler_order_number="F1"),
            appointment(5, "S12", filler_order_number="F1", scheduled_at=at(9999)),
        ],
        ("SCHEDULED", at(9999)),
    ),
    "an exam that has begun is not undone": (
        [
            ORDER,
            order(3, "SC", "IP", filler_order_number="F1"),
            appointment(4, "S17", filler_order_number="F1"),
        ],
        ("STARTED", at(600)),
    ),
    "an order cancelled by its own message is not revived": (
        [ORDER, order(2, "CA", "CA", filler_order_number="F1"), MOVED],
        ("CANCELED", at(9000)),
    ),
    "a cancel by the appointment's number alone finds the order": (
        [ORDER, MOVED, appointment(4, "S15", filler_appointment_id="T1")],
        ("CANCELED", at(9000)),
    ),
    "another order's appointment moves nothing": (
        [ORDER, appointment(4, "S15", filler_order_number="F2")],
        ("SCHEDULED", at(600)),
    ),
    "an event that says nothing of an order moves nothing": (
        [ORDER, appointment(4, "S23", filler_order_number="F1", scheduled_at=at(1))],
        ("SCHEDULED", at(600)),
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
def test_orders_whatever_the_order(events: list[Event], expected: tuple[str | None, int | None]) -> None:
    for arranged in permutations(events):
        rows = rows_of([*arranged, arranged[0]], at(10), RULES)
        assert [(row.status, row.scheduled_at) for row in rows.orders] == [expected]
        assert rows.anomalies == ()


def test_an_appointment_alone_is_no_order() -> None:
    assert rows_of([MOVED], at(10), RULES).orders == ()
