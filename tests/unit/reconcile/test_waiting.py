"""A study that waits says why, and until when."""

import pytest
from rows_of import Event, rows_of
from said import arrival, at, decision, order, person, unissued

from dosestream.events.records import RequestReference
from dosestream.reconcile import waiting
from dosestream.reconcile.rules import Rules

RULES = Rules()
JOE = person("P1", name="DOE^JOE")
ORDER = order(
    0, patient=JOE, filler_order_number="F1", accession_number="A1", modality="CT", scheduled_at=at(60)
)
MINE = unissued("P1")

CASES: dict[str, tuple[list[Event], str, str]] = {
    "nothing named, nothing near": (
        [arrival(60, patient=MINE, modality="CT")],
        waiting.UNNAMED,
        waiting.NONE_NEAR,
    ),
    "an accession that nobody knows": (
        [arrival(60, patient=MINE, modality="CT", accession_number="A9")],
        waiting.UNKNOWN,
        waiting.NONE_NEAR,
    ),
    "a request that nobody knows": (
        [arrival(60, patient=MINE, modality="CT", requests=(RequestReference(filler_order_number="F9"),))],
        waiting.UNKNOWN,
        waiting.NONE_NEAR,
    ),
    "no patient": ([arrival(60, modality="CT")], waiting.UNNAMED, waiting.NO_PATIENT),
    "no modality": ([arrival(60, patient=MINE)], waiting.UNNAMED, waiting.NO_MODALITY),
    "no time": ([arrival(60, patient=MINE, study_at=None)], waiting.UNNAMED, waiting.NO_TIME),
    "an order that a person took away": (
        [
            ORDER,
            arrival(60, patient=MINE, modality="CT", accession_number="A1"),
            decision(70, "unlink", "1.2.3", accession_number="A1"),
        ],
        waiting.UNLINKED,
        waiting.NONE_NEAR,
    ),
}


@pytest.mark.parametrize(("events", "strong", "weak"), CASES.values(), ids=CASES.keys())
def test_a_study_that_waits_says_why(events: list[Event], strong: str, weak: str) -> None:
    for now, state in ((at(100), "waiting"), (at(30 * 86_400), "unmatched")):
        (row,) = rows_of(events, now, RULES).studies
        assert (row.link_state, row.evidence["reason"]) == (state, f"{strong}; {weak}")


def test_it_says_until_when_it_waits() -> None:
    (row,) = rows_of([arrival(60, patient=MINE, modality="CT")], at(100), RULES).studies
    assert row.evidence["window_closes"] == "2026-03-04T08:01:00+00:00"


def test_a_linked_study_waits_for_nothing() -> None:
    (row,) = rows_of([ORDER, arrival(60, patient=MINE, accession_number="A1")], at(100), RULES).studies
    assert row.link_state == "linked" and row.evidence.keys().isdisjoint({"reason", "window_closes"})
