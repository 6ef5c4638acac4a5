"""Orders placed twice keep their rows and name the earlier one; recycled numbers are orders of their own."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from rows_of import Event, rows_of
from said import adt, arrival, at, ct_report, order, person, unissued

from dosestream.events.records import Demographics, Order
from dosestream.reconcile.rules import Rules

RULES = Rules()
MINUTE = 60
JOE = person("P1", name="DOE^JOE")


def placed(
    second: float, filler: str, scheduled: float = 3600, patient: Demographics = JOE, **fields: object
) -> Order:
    given: dict[str, Any] = {
        "procedure_code": "CTHEAD",
        "modality": "CT",
        "accession_number": f"A{filler}",
        **fields,
    }
    return order(second, patient=patient, filler_order_number=filler, scheduled_at=at(scheduled), **given)


FIRST = placed(1, "F1")

CASES: dict[str, tuple[list[Event], dict[str, str | None]]] = {
    "the later order names the earlier": ([FIRST, placed(2, "F2")], {"F1": None, "F2": "F1"}),
    "within ten minutes": (
        [FIRST, placed(2, "F2", 3600 + 10 * MINUTE)],
        {"F1": None, "F2": "F1"},
    ),
    "not past them": ([FIRST, placed(2, "F2", 3601 + 10 * MINUTE)], {"F1": None, "F2": None}),
    "another procedure is none": ([FIRST, placed(2, "F2", procedure_code="CTABD")], {"F1": None, "F2": None}),
    "another patient's is none": (
        [FIRST, placed(2, "F2", patient=person("P2", name="ROE^ANN"))],
        {"F1": None, "F2": None},
    ),
    "a merged patient's is one": (
        [FIRST, placed(2, "F2", patient=person("P2")), adt(5, JOE, prior=person("P2"))],
        {"F1": None, "F2": "F1"},
    ),
    "what is ordered again after a cancel is wanted": (
        [FIRST, order(2, "CA", "CA", None, filler_order_number="F1"), placed(3, "F2")],
        {"F1": None, "F2": None},
    ),
    "rows of one accession are one study's": (
        [FIRST, placed(2, "F2", accession_number="AF1")],
        {"F1": None, "F2": None},
    ),
    "every repeat names the earliest": (
        [FIRST, placed(2, "F2"), placed(3, "F3")],
        {"F1": None, "F2": "F1", "F3": "F1"},
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
def test_duplicates_whatever_the_order(events: list[Event], expected: dict[str, str | None]) -> None:
    for arranged in permutations(events):
        rows = rows_of(list(arranged), at(10), RULES)
        assert {row.filler_order_number: row.duplicate_of for row in rows.orders} == expected
        flagged = {a.subject: a.detail["duplicate_of"] for a in rows.anomalies if a.kind == "duplicate_order"}
        assert flagged == {filler: other for filler, other in expected.items() if other}


def test_a_duplicate_stays_a_candidate() -> None:
    study = arrival(3600, patient=unissued("P1", "DOE^JOE"), dose=ct_report("e1"))
    rows = rows_of([FIRST, placed(2, "F2"), study], at(3700), RULES)
    assert [s.link_state for s in rows.studies] == ["ambiguous"]


@pytest.mark.parametrize("scheduled", [3600, 16 * 3600 - 1])
def test_groups_of_duplicates_meet_by_a_key(scheduled: float) -> None:
    """Each order alone asks for a key that the other asks for too, at the turn of the day as well."""
    rules = replace(RULES, window_us=0)
    one = rows_of([placed(1, "F1", scheduled)], at(10), rules).window_keys
    other = rows_of([placed(2, "F2", scheduled + 9 * MINUTE)], at(10), rules).window_keys
    assert {key for key in one & other if key.startswith("d:")}
    far = rows_of([placed(2, "F2", scheduled + 3 * 86_400)], at(10), rules).window_keys
    assert not one & far


def test_a_recycled_accession_is_a_row_of_its_own() -> None:
    year = 366 * 86_400
    events = [
        order(1, "NW", "SC", JOE, accession_number="A1", scheduled_at=at(60)),
        order(2, "SC", "CM", None, accession_number="A1"),
        order(year, "NW", "SC", person("P2"), accession_number="A1", scheduled_at=at(year + 60)),
    ]
    for arranged in permutations(events):
        found = rows_of(list(arranged), at(year), RULES).orders
        assert [(row.patient_id, row.status) for row in found] == [("P1", "COMPLETED"), ("P2", "SCHEDULED")]
        assert len({row.row_key for row in found}) == 2


def test_a_message_by_accession_alone_means_the_order_of_its_time() -> None:
    year = 366 * 86_400
    events = [
        order(1, "NW", "SC", JOE, filler_order_number="F1", accession_number="A1", scheduled_at=at(60)),
        order(year, "SC", "CM", None, accession_number="A1"),
    ]
    for arranged in permutations(events):
        found = {r.filler_order_number: r.status for r in rows_of(list(arranged), at(year), RULES).orders}
        assert found == {"F1": "SCHEDULED", None: "COMPLETED"}


def test_equal_numbers_of_two_issuers_are_two_keys() -> None:
    events = [
        order(1, "NW", "", JOE, placer_order_number="PL1", placer_issuer="HIS1"),
        order(2, "NW", "", JOE, placer_order_number="PL1", placer_issuer="HIS2"),
    ]
    assert len({row.row_key for row in rows_of(list(events), at(10), RULES).orders}) == 2
