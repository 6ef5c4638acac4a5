"""Weak evidence: patient, modality and time, only when exactly one order fits, seen from either side."""

from dataclasses import replace
from itertools import permutations

import pytest
from rows_of import Event, rows_of
from said import adt, arrival, at, ct_report, order, person, unissued

from dosestream.reconcile.rules import DAY_US, Rules

RULES = Rules()
HOUR = 3600
JOE = person("P1", name="DOE^JOE")
ORDER = order(
    0, patient=JOE, filler_order_number="F1", accession_number="A1", modality="CT", scheduled_at=at(HOUR)
)
STUDY = arrival(2 * HOUR, patient=unissued("P1", "DOE^JOE"), dose=ct_report("e1"))
OTHER = order(
    1, patient=JOE, filler_order_number="F2", accession_number="A2", modality="CT", scheduled_at=at(3 * HOUR)
)

CASES: dict[str, tuple[list[Event], tuple[str, str | None, str | None]]] = {
    "the one order that fits is linked": ([ORDER, STUDY], ("linked", "window", "F1")),
    "a second candidate withdraws the link": ([ORDER, STUDY, OTHER], ("ambiguous", None, None)),
    "a procedure code that both name narrows the candidates": (
        [
            replace(ORDER, procedure_code="CTHEAD"),
            replace(OTHER, procedure_code="CTABD"),
            replace(STUDY, procedure_code="CTABD"),
        ],
        ("linked", "window", "F2"),
    ),
    "an order another study has by accession is not free": (
        [ORDER, STUDY, OTHER, arrival(HOUR, uid="1.2.9", patient=unissued("P1"), accession_number="A2")],
        ("linked", "window", "F1"),
    ),
    "another modality does not fit": ([replace(ORDER, modality="MR"), STUDY], ("waiting", None, None)),
    "XA, RF, DX and CR are one modality": (
        [
            replace(ORDER, modality="XA"),
            replace(STUDY, dose=replace(ct_report("e1"), template="10001", fluoroscopy=True)),
        ],
        ("linked", "window", "F1"),
    ),
    "outside the window nothing fits": (
        [replace(ORDER, scheduled_at=at(2 * HOUR) - DAY_US - 1), STUDY],
        ("waiting", None, None),
    ),
    "another accession contradicts": (
        [ORDER, replace(STUDY, accession_number="A9")],
        ("waiting", None, None),
    ),
    "another study UID contradicts": (
        [replace(ORDER, study_instance_uid="1.9"), STUDY],
        ("waiting", None, None),
    ),
    "a cancelled order is nobody's by time": (
        [ORDER, order(9, "CA", "CA", JOE, filler_order_number="F1"), STUDY],
        ("waiting", None, None),
    ),
    "an order stopped half-way has its dose": (
        [
            ORDER,
            order(8, "SC", "IP", JOE, filler_order_number="F1"),
            order(9, "DC", "CA", JOE, filler_order_number="F1"),
            STUDY,
        ],
        ("linked", "window", "F1"),
    ),
    "another patient does not fit": (
        [replace(ORDER, patient=person("P2", name="ROE^ANN")), STUDY],
        ("waiting", None, None),
    ),
    "a merge brings the order of the other identifier": (
        [
            replace(ORDER, patient=person("P2")),
            adt(5, person("P2", name="DOE^JOE"), prior=person("P1")),
            STUDY,
        ],
        ("linked", "window", "F1"),
    ),
    "an identifier known in two authorities is ambiguous": (
        [adt(1, person("P1@NORTH", name="DOE^JOE")), adt(2, person("P1@SOUTH", name="DOE^JOE")), STUDY],
        ("ambiguous", None, None),
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
def test_window_links_whatever_the_order(
    events: list[Event], expected: tuple[str, str | None, str | None]
) -> None:
    for arranged in permutations(events):
        studies = rows_of(list(arranged), at(3 * HOUR), RULES).studies
        (study,) = [s for s in studies if s.study_instance_uid == "1.2.3"]
        assert (study.link_state, study.link_method, study.filler_order_number) == expected


def test_two_studies_that_want_one_order_are_both_ambiguous() -> None:
    rows = rows_of(
        [ORDER, STUDY, replace(STUDY, study_instance_uid="1.2.4", event_id="x")], at(3 * HOUR), RULES
    )
    assert [s.link_state for s in rows.studies] == ["ambiguous", "ambiguous"]
    assert all(s.evidence["reason"] == "several studies fit the order" for s in rows.studies)
    assert all(s.evidence["candidates"] for s in rows.studies)


def test_groups_are_joined_by_patient_modality_and_day() -> None:
    waiting = rows_of([STUDY], at(3 * HOUR), RULES).window_keys
    offered = rows_of([ORDER], at(3 * HOUR), RULES).window_keys
    assert len(offered) == 1
    assert offered <= waiting
    linked = rows_of([ORDER, replace(STUDY, accession_number="A1")], at(3 * HOUR), RULES).window_keys
    assert linked == frozenset()
