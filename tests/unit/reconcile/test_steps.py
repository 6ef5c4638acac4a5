"""Which scheduled steps the worklist offers, and the study UIDs they get."""

from itertools import permutations
from typing import Any

import pytest
from rows_of import Event, rows_of
from said import appointment, arrival, at, order, person

from dosestream.events.records import Order, RequestReference, Study
from dosestream.reconcile.rows import StepRow
from dosestream.reconcile.rules import Rules

JOE = person("P1", name="DOE^JOE")
NUMBERS = {"accession_number": "A1", "filler_order_number": "F1"}


def placed(second: float = 1, code: str = "NW", status: str = "SC", **fields: Any) -> Order:
    return order(second, code, status, patient=JOE, **{**NUMBERS, "scheduled_at": at(600), **fields})


def step(number: int, second: float = 1, **fields: Any) -> Order:
    numbers = {"requested_procedure_id": "R1", "scheduled_step_id": f"S{number}"}
    return placed(second, **numbers, **fields)


def performed(kind: str, *steps: str) -> Study:
    requests = tuple(RequestReference(accession_number="A1", scheduled_step_id=one) for one in steps)
    return arrival(700, uid="1.2.9", patient=JOE, kind=kind, accession_number="A1", requests=requests)


CASES: dict[str, tuple[list[Event], list[str]]] = {
    "an order that is scheduled": ([placed()], ["A1"]),
    "a step is known by its own id": ([step(1)], ["S1"]),
    "an order in progress": ([placed(), placed(2, "SC", "IP")], []),
    "an order that is done": ([placed(), placed(2, "SC", "CM")], []),
    "an order that was cancelled": ([placed(), placed(2, "CA", "CA")], []),
    "an order put on hold": ([placed(), placed(2, "HD", "HD")], []),
    "an order released again": ([placed(), placed(2, "HD", "HD"), placed(3, "RL", "SC")], ["A1"]),
    "an order whose appointment was cancelled": (
        [placed(), appointment(5, "S15", filler_order_number="F1")],
        [],
    ),
    "a parent": ([placed(), placed(2, "PA", "SC")], []),
    "two steps": ([step(1), step(2, 2)], ["S1", "S2"]),
    "two steps of a cancelled order": ([step(1), step(2, 2), placed(3, "CA", "CA")], []),
    "two steps of which one was cancelled": (
        [step(1), step(2, 2), step(1, 3, code="CA", status="CA")],
        ["S2"],
    ),
    "a step performed by MPPS": ([step(1), step(2, 2), performed("performed_step", "S1")], ["S2"]),
    "a study that names no step performs all": ([step(1), step(2, 2), performed("image")], []),
    "a study that names a step of another order performs all": (
        [step(1), step(2, 2), performed("image", "S9")],
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_steps_that_are_offered_in_every_order_of_arrival(name: str) -> None:
    said, expected = CASES[name]
    for way in permutations(said):
        assert sorted(str(row.scheduled_step_id) for row in steps_of(*way)) == expected, way


def steps_of(*events: Event) -> tuple[StepRow, ...]:
    return rows_of(list(events), at(800), Rules()).steps


def test_numbers_make_the_study_uid_and_equal_numbers_the_equal_one() -> None:
    (first,) = steps_of(placed())
    (moved,) = steps_of(placed(), placed(5, "XO", "SC", scheduled_at=at(9000)))
    (other,) = steps_of(placed(filler_order_number="F2"))
    assert first.study_instance_uid == moved.study_instance_uid != other.study_instance_uid
    assert int(first.study_instance_uid.removeprefix("2.25.")) >> 76 & 0xF == 5


def test_the_study_uid_of_the_order_is_taken_where_it_names_one() -> None:
    (row,) = steps_of(placed(study_instance_uid="1.2.3"))
    assert row.study_instance_uid == "1.2.3"
