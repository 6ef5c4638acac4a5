"""Full replacement: an XO with fewer steps removes those it no longer names, by version."""

from itertools import permutations

import pytest
from rows_of import rows_of
from said import at, order, person

from dosestream.events.records import Order
from dosestream.reconcile.rules import Rules

RULES = Rules()
JOE = person("P1", name="DOE^JOE")


def steps(
    second: float, code: str, *accessions: str, status: str = "", received: float | None = None
) -> list[Order]:
    """One message about some steps of order F1."""
    return [
        order(
            second,
            code,
            status,
            JOE,
            received,
            control_id=f"{code}{second}",
            filler_order_number="F1",
            accession_number=accession,
            requested_procedure_id=accession.replace("A", "R"),
        )
        for accession in accessions
    ]


BOTH = steps(1, "NW", "A1", "A2")

CASES: dict[str, tuple[list[Order], dict[str, str]]] = {
    "a step left out is removed": (
        [*BOTH, *steps(2, "XO", "A1")],
        {"A1": "SCHEDULED", "A2": "CANCELED"},
    ),
    "one that names both removes none": (
        [*BOTH, *steps(2, "XO", "A1", "A2")],
        {"A1": "SCHEDULED", "A2": "SCHEDULED"},
    ),
    "a late older message brings nothing back": (
        [*steps(1, "NW", "A1", received=1), *steps(1, "NW", "A2", received=9), *steps(2, "XO", "A1")],
        {"A1": "SCHEDULED", "A2": "CANCELED"},
    ),
    "a later message that names it brings it back": (
        [*BOTH, *steps(2, "XO", "A1"), *steps(3, "XO", "A1", "A2")],
        {"A1": "SCHEDULED", "A2": "SCHEDULED"},
    ),
    "an XO that names no step speaks of all": (
        [*BOTH, order(2, "XO", "SC", JOE, filler_order_number="F1", modality="CT")],
        {"A1": "SCHEDULED", "A2": "SCHEDULED"},
    ),
    "an XO that names only a new step adds it": (
        [*BOTH, *steps(2, "XO", "A3", status="SC")],
        {"A1": "SCHEDULED", "A2": "SCHEDULED", "A3": "SCHEDULED"},
    ),
    "an XO that renames one and leaves one out": (
        [
            *BOTH,
            order(
                2,
                "XO",
                "SC",
                JOE,
                filler_order_number="F1",
                accession_number="A9",
                requested_procedure_id="R1",
            ),
        ],
        {"A9": "SCHEDULED", "A2": "CANCELED"},
    ),
    "an XO that reports the end of one step leaves the others": (
        [*BOTH, *steps(2, "XO", "A1", status="CM")],
        {"A1": "COMPLETED", "A2": "SCHEDULED"},
    ),
    "a step that has begun is not removed": (
        [*BOTH, *steps(2, "SC", "A2", status="IP"), *steps(3, "XO", "A1")],
        {"A1": "SCHEDULED", "A2": "STARTED"},
    ),
    "another order's steps are left alone": (
        [
            *BOTH,
            order(2, "XO", "SC", JOE, filler_order_number="F2", accession_number="A3"),
        ],
        {"A1": "SCHEDULED", "A2": "SCHEDULED", "A3": "SCHEDULED"},
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
def test_steps_whatever_the_order(events: list[Order], expected: dict[str, str]) -> None:
    for arranged in permutations(events):
        found = rows_of([*arranged, arranged[0]], at(10), RULES).orders
        assert {row.accession_number: row.status for row in found} == expected


def test_a_removed_step_is_cancelled_and_not_overdue() -> None:
    later = at(100) + RULES.window_us + RULES.grace_us + 1
    rows = rows_of([*BOTH, *steps(2, "XO", "A1")], later, RULES)
    assert {row.accession_number: row.state for row in rows.orders} == {"A1": "expected", "A2": "cancelled"}
    assert rows.anomalies == ()
