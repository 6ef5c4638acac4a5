"""Decisions outrank evidence until they are withdrawn, whatever order they are heard in."""

from itertools import permutations

import pytest
from rows_of import Event, rows_of
from said import arrival, at, decision, order, person, unissued

from dosestream.reconcile.rules import Rules

RULES = Rules()
UID = "1.2.3"
JOE, ANN = person("P1", name="DOE^JOE"), person("P2", name="ROE^ANN")
RIGHT = order(1, patient=JOE, filler_order_number="F1", accession_number="A1")
WRONG = order(2, patient=ANN, filler_order_number="F2", accession_number="A2")
STUDY = arrival(60, uid=UID, patient=unissued("P1", "DOE^JOE"), accession_number="A1")

CASES: dict[str, tuple[list[Event], tuple[str, str | None, str | None, bool]]] = {
    "a link holds against the evidence": (
        [RIGHT, WRONG, STUDY, decision(90, "link", UID, filler_order_number="F2")],
        ("linked", "decision", "F2", False),
    ),
    "a link withdrawn leaves the evidence": (
        [
            RIGHT,
            STUDY,
            decision(90, "link", UID, accession_number="A2"),
            decision(95, "link", UID, withdrawn=True, accession_number="A2"),
        ],
        ("linked", "accession", "F1", False),
    ),
    "an unlink bars the order": (
        [RIGHT, STUDY, decision(90, "unlink", UID, accession_number="A1")],
        ("waiting", None, None, False),
    ),
    "of link and unlink the later holds": (
        [
            RIGHT,
            STUDY,
            decision(90, "unlink", UID, accession_number="A1"),
            decision(91, "link", UID, accession_number="A1"),
        ],
        ("linked", "decision", "F1", False),
    ),
    "a reassignment takes earlier links back": (
        [
            RIGHT,
            WRONG,
            STUDY,
            decision(90, "link", UID, accession_number="A1"),
            decision(95, "reassign", UID, accession_number="A2"),
        ],
        ("linked", "decision", "F2", False),
    ),
    "an exclusion leaves the link as it is": (
        [RIGHT, STUDY, decision(90, "exclude", UID)],
        ("linked", "accession", "F1", True),
    ),
    "an exclusion taken back counts again": (
        [RIGHT, STUDY, decision(90, "exclude", UID), decision(91, "include", UID)],
        ("linked", "accession", "F1", False),
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
def test_decisions_whatever_the_order(
    events: list[Event], expected: tuple[str, str | None, str | None, bool]
) -> None:
    for arranged in permutations(events):
        (study,) = rows_of(list(arranged), at(100), RULES).studies
        assert (study.link_state, study.link_method, study.filler_order_number, study.excluded) == expected


def test_a_reassigned_study_is_the_orders_patients() -> None:
    events: list[Event] = [RIGHT, WRONG, STUDY, decision(90, "reassign", UID, accession_number="A2")]
    (study,) = rows_of(events, at(100), RULES).studies
    assert (study.patient_id, study.patient_name) == ("P2", "ROE^ANN")
