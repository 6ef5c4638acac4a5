"""Facts to rows, as a table of cases; each holds for every order of arrival and every repeat."""

from dataclasses import dataclass, replace
from itertools import permutations

import pytest
from rows_of import Event
from rows_of import rows_of as derived
from said import adt, arrival, at, order, person, unissued

from dosestream.events.records import RequestReference
from dosestream.reconcile.rows import GroupRows
from dosestream.reconcile.rules import DAY_US, Rules

RULES = Rules(stop_list=frozenset({"0", "UNKNOWN"}))
NOON = at(4 * 3600)

JOE = person("P1", name="DOE^JOE", birth_date="1970-01-01", sex="M")
ORDER = order(10, patient=JOE, filler_order_number="F1", accession_number="A1", procedure_code="CTHEAD")
STUDY = arrival(60, patient=unissued("P1", "DOE^JOE"), accession_number="A1")


def rows_of(events: list[Event], now: int = NOON, rules: Rules = RULES) -> GroupRows:
    """Everything as one group with its patients, at noon unless said otherwise."""
    return derived(events, now, rules)


@dataclass(frozen=True)
class Case:
    """Events, and columns expected of the one study."""

    events: list[Event]
    expected: dict[str, object]


CASES = {
    "accession with a patient that agrees links": Case(
        [ORDER, STUDY],
        {
            "link_state": "linked",
            "link_method": "accession",
            "patient_authority": "HOSP",
            "filler_order_number": "F1",
            "procedure_code": "CTHEAD",
            "order_status": "SCHEDULED",
        },
    ),
    "a study UID is the strongest evidence": Case(
        [replace(ORDER, study_instance_uid="1.2.3"), STUDY], {"link_method": "study_uid"}
    ),
    "an order number of the Referenced Request links": Case(
        [
            ORDER,
            arrival(60, patient=unissued("P1"), requests=(RequestReference(filler_order_number="F1"),)),
        ],
        {"link_state": "linked", "link_method": "order_number", "accession_number": "A1"},
    ),
    "an accession alone links where the report names no patient": Case(
        [ORDER, arrival(60, accession_number="A1")],
        {"link_method": "accession_only", "patient_id": "P1", "patient_name": "DOE^JOE"},
    ),
    "a study without its order waits": Case(
        [arrival(60, patient=unissued("P1", "DOE^JOE"), accession_number="A7")],
        {"link_state": "waiting", "link_method": None, "accession_number": "A7", "patient_name": "DOE^JOE"},
    ),
    "the order of another patient is a conflict that shows the report's own": Case(
        [
            ORDER,
            adt(1, person("P2", name="ROE^ANN")),
            arrival(60, patient=unissued("P2"), accession_number="A1"),
        ],
        {
            "link_state": "conflict",
            "patient_id": "P2",
            "patient_name": "ROE^ANN",
            "filler_order_number": None,
            "procedure_code": None,
            "accession_number": "A1",
        },
    ),
    "the same identifier with another name and birth date is another patient": Case(
        [ORDER, arrival(60, patient=unissued("P1", "ROE^ANN", "1990-02-02"), accession_number="A1")],
        {"link_state": "conflict"},
    ),
    "header and Referenced Request that name two orders are a conflict": Case(
        [
            ORDER,
            order(11, patient=JOE, filler_order_number="F2", accession_number="A2"),
            arrival(
                60,
                patient=unissued("P1"),
                accession_number="A1",
                requests=(RequestReference(accession_number="A2"),),
            ),
        ],
        {"link_state": "conflict", "filler_order_number": None},
    ),
    "of orders that share an accession the agreeing patient's is taken": Case(
        [
            ORDER,
            order(11, patient=person("P2", name="ROE^ANN"), filler_order_number="F2", accession_number="A1"),
            STUDY,
        ],
        {"link_state": "linked", "filler_order_number": "F1"},
    ),
    "an accession on the stop list connects nothing": Case(
        [replace(ORDER, accession_number="0"), replace(STUDY, accession_number="0")],
        {"link_state": "waiting"},
    ),
    "ADT corrects the name whenever it comes": Case(
        [ORDER, STUDY, adt(5, person("P1", name="DOE^JOSEPH"), received=900)],
        {"patient_name": "DOE^JOSEPH", "patient_birth_date": "1970-01-01"},
    ),
    "of two corrections the one that happened later holds": Case(
        [
            ORDER,
            STUDY,
            adt(30, person("P1", name="NEW^JOE")),
            adt(20, person("P1", name="OLD^JOE"), received=999),
        ],
        {"patient_name": "NEW^JOE"},
    ),
    "a cleared field is NULL, and the report does not fill it": Case(
        [
            ORDER,
            replace(STUDY, patient=unissued("P1", "DOE^JOE", "1970-01-01")),
            adt(40, person("P1", birth_date='""')),
        ],
        {"patient_birth_date": None, "patient_name": "DOE^JOE"},
    ),
    "a report fills what HL7 never said": Case(
        [
            order(10, patient=person("P1", name="DOE^JOE"), filler_order_number="F1", accession_number="A1"),
            replace(STUDY, patient=unissued("P1", "DOE^JOE", "1970-01-01")),
        ],
        {"patient_birth_date": "1970-01-01"},
    ),
    "a merge moves the study to the survivor, whose own values come first": Case(
        [
            ORDER,
            STUDY,
            adt(2, person("P9", name="SURVIVOR^S")),
            adt(50, person("P9"), prior=person("P1")),
        ],
        {
            "patient_id": "P9",
            "patient_name": "SURVIVOR^S",
            "patient_birth_date": "1970-01-01",
            "link_state": "linked",
        },
    ),
    "the report of a merged-away identifier still agrees": Case(
        [
            replace(ORDER, patient=person("P9", name="SURVIVOR^S")),
            STUDY,
            adt(1, JOE),
            adt(5, person("P9"), prior=person("P1")),
        ],
        {"link_state": "linked", "patient_id": "P9"},
    ),
    "a changed identifier is a merge": Case(
        [ORDER, STUDY, adt(50, person("P9"), prior=person("P1"), action="change_id")],
        {"patient_id": "P9", "patient_name": "DOE^JOE"},
    ),
    "a cancelled order's study stays linked": Case(
        [ORDER, STUDY, order(30, "CA", "CA", JOE, filler_order_number="F1")],
        {"link_state": "linked", "order_status": "CANCELED"},
    ),
    "reports that disagree on the patient are a conflict that shows the earliest": Case(
        [STUDY, arrival(90, sop="1.2.3.9", patient=unissued("P2", "ROE^ANN"), accession_number="A1")],
        {"link_state": "conflict", "patient_id": "P1"},
    ),
    "a number without its issuer agrees with any one authority": Case(
        [replace(ORDER, patient=person("P1@NORTH", name="DOE^JOE")), STUDY],
        {"link_state": "linked", "patient_authority": "NORTH"},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_columns_whatever_the_order(case: Case) -> None:
    reference = rows_of(case.events)
    (study,) = reference.studies
    assert {name: getattr(study, name) for name in case.expected} == case.expected
    for arranged in permutations(case.events):
        assert rows_of(list(arranged)) == reference
        assert rows_of([*arranged, *arranged[:2]]) == reference


def test_a_repeat_heard_later_changes_nothing() -> None:
    late = replace(ORDER, received_at=at(99_999))
    assert rows_of([ORDER, STUDY, late]) == rows_of([ORDER, STUDY])


def test_an_order_is_expected_then_performed_and_stays_cancelled_without_a_study() -> None:
    cancel = order(30, "CA", "CA", JOE, filler_order_number="F1")
    assert [o.state for o in rows_of([ORDER]).orders] == ["expected"]
    assert [o.state for o in rows_of([ORDER, STUDY]).orders] == ["performed"]
    assert [o.state for o in rows_of([ORDER, cancel]).orders] == ["cancelled"]


ARRIVALS: dict[str, tuple[list[Event], str]] = {
    "an A10 marks the step scheduled around it": ([adt(20, JOE, trigger="A10")], "ARRIVED"),
    "a step of another day is not meant": ([adt(20 - 3 * 86_400, JOE, trigger="A10")], "SCHEDULED"),
    "a step that was started stays so": (
        [adt(40, JOE, trigger="A10"), order(30, "SC", "IP", None, filler_order_number="F1")],
        "STARTED",
    ),
    "a step completed later is completed": (
        [adt(20, JOE, trigger="A10"), order(30, "SC", "CM", None, filler_order_number="F1")],
        "COMPLETED",
    ),
    "another visit's A10 is not meant": ([adt(20, JOE, visit_number="V2", trigger="A10")], "SCHEDULED"),
    "an A08 marks nothing": ([adt(20, JOE)], "SCHEDULED"),
}


@pytest.mark.parametrize(("more", "expected"), ARRIVALS.values(), ids=ARRIVALS.keys())
def test_a_patient_who_came_marks_scheduled_steps(more: list[Event], expected: str) -> None:
    step = order(
        10,
        patient=JOE,
        filler_order_number="F1",
        accession_number="A1",
        scheduled_at=at(600),
        visit_number="V1",
    )
    for arranged in permutations([step, *more]):
        assert [o.status for o in rows_of(list(arranged)).orders] == [expected]


def test_a_study_may_answer_several_orders_and_the_earliest_schedule_is_primary() -> None:
    events: list[Event] = [
        order(10, patient=JOE, filler_order_number="F2", accession_number="A1", scheduled_at=at(50)),
        order(11, patient=JOE, filler_order_number="F1", accession_number="A1", scheduled_at=at(90)),
        STUDY,
    ]
    rows = rows_of(events)
    assert [(link.filler_order_number, link.is_primary) for link in rows.links] == [
        ("F2", True),
        ("F1", False),
    ]
    assert rows.studies[0].filler_order_number == "F2"


def test_a_study_is_provisional_until_window_and_grace_are_over() -> None:
    (before,) = rows_of([STUDY], now=at(60) + 2 * DAY_US).studies
    (after,) = rows_of([STUDY], now=at(60) + 2 * DAY_US + 1).studies
    assert (before.phase, after.phase) == ("provisional", "final")
    assert before.next_due == at(60) + 2 * DAY_US + 1
    assert after.next_due is None


def test_one_instance_under_two_studies_is_two_reports_and_an_anomaly() -> None:
    rows = rows_of([arrival(60, uid="1.2.3", sop="1.9"), arrival(61, uid="1.2.4", sop="1.9")])
    assert len(rows.studies) == 2
    assert [(a.kind, a.subject) for a in rows.anomalies] == [("sop_instance_under_two_studies", "1.9")]


def test_a_sender_from_the_future_wins_nothing_for_years() -> None:
    future = adt(10 * 365 * 86_400, person("P1", name="FUTURE^F"), received=20)
    corrected = adt(3 * 86_400, person("P1", name="RIGHT^R"))
    (study,) = rows_of([ORDER, STUDY, future, corrected]).studies
    assert study.patient_name == "RIGHT^R"


def test_a_group_past_the_cap_is_an_anomaly_not_a_stall() -> None:
    rows = rows_of([ORDER, STUDY], rules=replace(RULES, group_cap=1))
    assert [a.kind for a in rows.anomalies] == ["group_too_large"]


def test_orders_update_patients_only_where_the_site_wants_it() -> None:
    (study,) = rows_of([ORDER, STUDY], rules=replace(RULES, orders_update_patients=False)).studies
    assert (study.link_state, study.patient_id, study.patient_birth_date) == ("linked", "P1", None)
