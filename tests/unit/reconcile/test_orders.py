"""Order messages to rows: identity found gradually, whatever the order of arrival."""

from itertools import permutations

import pytest
from said import at, order, person

from dosestream.events.records import Order
from dosestream.reconcile.facts import order_fact
from dosestream.reconcile.orders import imaging_orders
from dosestream.reconcile.rules import Rules

RULES = Rules()
JOE = person("P1", name="DOE^JOE")
Row = tuple[str | None, ...]

PLACER = order(1, "NW", "", JOE, placer_order_number="PL1")
FILLER = order(2, "SN", "", JOE, placer_order_number="PL1", filler_order_number="F1")
SCHEDULED = order(
    3, "NW", "SC", JOE, filler_order_number="F1", accession_number="A1", requested_procedure_id="R1"
)

CASES: dict[str, tuple[list[Order], list[Row]]] = {
    "placer, filler and scheduled order end as one": (
        [PLACER, FILLER, SCHEDULED],
        [("PL1", "F1", "A1", "SCHEDULED")],
    ),
    "several procedures of one order are rows of their own": (
        [
            SCHEDULED,
            order(
                3,
                "NW",
                "SC",
                JOE,
                filler_order_number="F1",
                accession_number="A2",
                requested_procedure_id="R2",
            ),
        ],
        [(None, "F1", "A1", "SCHEDULED"), (None, "F1", "A2", "SCHEDULED")],
    ),
    "a message without procedure speaks of every row": (
        [
            SCHEDULED,
            order(
                3,
                "NW",
                "SC",
                JOE,
                filler_order_number="F1",
                accession_number="A2",
                requested_procedure_id="R2",
            ),
            order(9, "CA", "CA", JOE, filler_order_number="F1"),
        ],
        [(None, "F1", "A1", "CANCELED"), (None, "F1", "A2", "CANCELED")],
    ),
    "a row without accession joins the row that gets one": (
        [order(1, "NW", "SC", JOE, filler_order_number="F1", requested_procedure_id="R1"), SCHEDULED],
        [(None, "F1", "A1", "SCHEDULED")],
    ),
    "an XO with another accession for the same procedure renames": (
        [
            SCHEDULED,
            order(
                5,
                "XO",
                "SC",
                JOE,
                filler_order_number="F1",
                accession_number="A9",
                requested_procedure_id="R1",
            ),
        ],
        [(None, "F1", "A9", "SCHEDULED")],
    ),
    "another accession without XO is a new row": (
        [
            SCHEDULED,
            order(
                5,
                "NW",
                "SC",
                JOE,
                filler_order_number="F1",
                accession_number="A9",
                requested_procedure_id="R1",
            ),
        ],
        [(None, "F1", "A1", "SCHEDULED"), (None, "F1", "A9", "SCHEDULED")],
    ),
    "a cleared order number names no order": (
        [
            order(
                1,
                "NW",
                "SC",
                JOE,
                placer_order_number='""',
                accession_number="A1",
                requested_procedure_id="R1",
            ),
            order(
                2,
                "NW",
                "SC",
                JOE,
                placer_order_number='""',
                accession_number="A2",
                requested_procedure_id="R2",
            ),
        ],
        [(None, None, "A1", "SCHEDULED"), (None, None, "A2", "SCHEDULED")],
    ),
    "a requested procedure id alone is an order of its own": (
        [
            order(
                1,
                "NW",
                "SC",
                JOE,
                filler_order_number="F1",
                accession_number="A1",
                requested_procedure_id="R1",
            ),
            order(2, "SC", "CM", JOE, requested_procedure_id="R1"),
        ],
        [(None, "F1", "A1", "SCHEDULED"), (None, None, None, "COMPLETED")],
    ),
    "equal numbers of different issuers are different orders": (
        [
            order(1, "NW", "", JOE, placer_order_number="PL1", placer_issuer="HIS1"),
            order(2, "NW", "", JOE, placer_order_number="PL1", placer_issuer="HIS2"),
        ],
        [("PL1", None, None, "SCHEDULED"), ("PL1", None, None, "SCHEDULED")],
    ),
    "the newest status holds, a late older one does not": (
        [
            SCHEDULED,
            order(9, "SC", "CM", None, filler_order_number="F1"),
            order(7, "SC", "IP", None, filler_order_number="F1", received=20),
        ],
        [(None, "F1", "A1", "COMPLETED")],
    ),
    "a message without order number speaks of the row with its accession": (
        [SCHEDULED, order(4, "SC", "IP", None, accession_number="A1")],
        [(None, "F1", "A1", "STARTED")],
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
def test_rows_whatever_the_order(events: list[Order], expected: list[Row]) -> None:
    for arranged in permutations(events):
        rows = imaging_orders((order_fact(e, RULES) for e in arranged), RULES)
        names = ("placer_order_number", "filler_order_number", "accession_number")
        found = [(*map(row.value, names), row.status.status if row.status else None) for row in rows]
        assert sorted(found, key=str) == sorted(expected, key=str)


def test_an_empty_field_changes_nothing_and_two_quotes_clear() -> None:
    said = [
        order(1, filler_order_number="F1", modality="CT", station_name="ROOM1", scheduled_at=at(100)),
        order(2, "XO", filler_order_number="F1", modality="", station_name='""', scheduled_cleared=True),
    ]
    (row,) = imaging_orders((order_fact(e, RULES) for e in said), RULES)
    assert (row.value("modality"), row.value("station_name"), row.scheduled_at) == ("CT", None, None)


def test_an_order_is_as_old_as_the_message_that_began_it() -> None:
    said = [
        order(1, "NW", filler_order_number="F1", ordered_at=at(1)),
        order(9, "SC", "CM", filler_order_number="F1", ordered_at=at(9)),
    ]
    (row,) = imaging_orders((order_fact(e, RULES) for e in said), RULES)
    assert row.ordered_at == at(1)


def test_procedure_code_and_meaning_come_from_one_message() -> None:
    said = [
        order(1, filler_order_number="F1", procedure_code="CTHEAD", procedure_meaning="CT head"),
        order(2, "XO", filler_order_number="F1", procedure_code="CTABD"),
    ]
    (row,) = imaging_orders((order_fact(e, RULES) for e in said), RULES)
    assert row.procedure is not None
    assert (row.procedure.event.procedure_code, row.procedure.event.procedure_meaning) == ("CTABD", "")
