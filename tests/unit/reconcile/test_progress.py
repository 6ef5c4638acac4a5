"""MPPS moves the status of the orders it names: by its own times, together with the other steps, never against
the table, and whatever came first."""

from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import pytest
from rows_of import rows_of
from said import appointment, arrival, at, decision, order, person, unissued

from dosestream.events.records import RequestReference
from dosestream.reconcile.rules import Rules

RULES = Rules()
JOE, JANE = person("P1", name="DOE^JOE"), person("P2", name="DOE^JANE")
STARTED, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"


def placed(seconds: float = 0, code: str = "NW", status: str = "SC", **fields: Any) -> Any:
    said: dict[str, Any] = {
        "patient": JOE,
        "filler_order_number": "F1",
        "accession_number": "A1",
        "modality": "CT",
    } | fields
    return order(seconds, code, status, **said)


def step(seconds: float, status: str, name: str = "1", scheduled: str = "", **fields: Any) -> Any:
    """A message about a step of study 1.2.3 of order A1."""
    said: dict[str, Any] = {
        "uid": "1.2.3",
        "sop": f"1.9.{name}",
        "kind": "performed_step",
        "patient": JOE,
        "study_at": at(10),
        "requests": (RequestReference(accession_number="A1", scheduled_step_id=scheduled),),
    }
    return arrival(seconds, step_status=status, **said | fields)


@dataclass(frozen=True)
class Case:
    events: tuple[Any, ...]
    status: str
    flagged: tuple[tuple[str, str], ...] = ()
    others: dict[str, str] = field(default_factory=dict)


CASES = {
    "a step that starts makes its order STARTED": Case((placed(), step(20, STARTED)), "STARTED"),
    "one that completes makes it COMPLETED": Case(
        (placed(), step(20, STARTED), step(30, COMPLETED)), "COMPLETED"
    ),
    "one that is stopped makes it DISCONTINUED": Case(
        (placed(), step(20, STARTED), step(30, DISCONTINUED)), "DISCONTINUED"
    ),
    "while another step is in progress it is STARTED": Case(
        (placed(), step(20, STARTED), step(30, COMPLETED), step(25, STARTED, "2")), "STARTED"
    ),
    "one step stopped and the next completed is COMPLETED": Case(
        (
            placed(),
            step(20, STARTED),
            step(30, DISCONTINUED),
            step(40, STARTED, "2"),
            step(50, COMPLETED, "2"),
        ),
        "COMPLETED",
    ),
    "one step completed and the next stopped is COMPLETED": Case(
        (
            placed(),
            step(20, STARTED),
            step(30, COMPLETED),
            step(40, STARTED, "2"),
            step(50, DISCONTINUED, "2"),
        ),
        "COMPLETED",
    ),
    "while a scheduled step is still to be performed it is STARTED": Case(
        (
            placed(0, scheduled_step_id="S1"),
            placed(1, scheduled_step_id="S2"),
            step(20, STARTED, scheduled="S1"),
            step(30, COMPLETED, scheduled="S1"),
        ),
        "STARTED",
    ),
    "once every scheduled step was performed it is COMPLETED": Case(
        (
            placed(0, scheduled_step_id="S1"),
            placed(1, scheduled_step_id="S2"),
            step(30, COMPLETED, "1", "S1"),
            step(40, COMPLETED, "2", "S2"),
        ),
        "COMPLETED",
    ),
    "a scheduled step that was cancelled is not waited for": Case(
        (
            placed(0, scheduled_step_id="S1"),
            placed(1, scheduled_step_id="S2"),
            placed(2, "SC", "CA", scheduled_step_id="S2"),
            placed(3, "XO", "SC", scheduled_step_id="S1"),
            step(30, COMPLETED, scheduled="S1"),
        ),
        "COMPLETED",
        (("CANCELED", "SCHEDULED"),),
    ),
    "a step that has ended is not updated any more": Case(
        (placed(), step(20, STARTED), step(30, COMPLETED), step(40, DISCONTINUED)), "COMPLETED"
    ),
    "a message without time counts from the start of its step": Case(
        (placed(), step(20, STARTED), step(30, COMPLETED, event_time=None)), "COMPLETED"
    ),
    "a cancelled order stays cancelled, and it is flagged": Case(
        (placed(), placed(10, "CA", "CA"), step(20, STARTED)), "CANCELED", (("CANCELED", "STARTED"),)
    ),
    "an order cancelled by its appointment too": Case(
        (placed(), appointment(10, "S15", filler_order_number="F1"), step(20, STARTED)),
        "CANCELED",
        (("CANCELED", "STARTED"),),
    ),
    "an older step does not undo what the RIS reported since": Case(
        (placed(), step(20, STARTED), placed(30, "SC", "CM")), "COMPLETED"
    ),
    "the RIS takes back what was completed, and it is flagged": Case(
        (placed(), step(20, STARTED), step(30, COMPLETED), placed(40, "CA", "CA")),
        "CANCELED",
        (("COMPLETED", "CANCELED"),),
    ),
    "a step of another patient moves nothing": Case((placed(), step(20, STARTED, patient=JANE)), "SCHEDULED"),
    "a step that names no order moves none, though by time it is linked": Case(
        (placed(scheduled_at=at(10)), step(20, STARTED, requests=(), modality="CT")), "SCHEDULED"
    ),
    "a person's decision says whose it is": Case(
        (
            placed(),
            step(20, STARTED, requests=(), patient=JANE),
            decision(30, "link", "1.2.3", accession_number="A1"),
        ),
        "STARTED",
    ),
    "of two orders of one study the one it names is moved": Case(
        (
            placed(study_instance_uid="1.2.3"),
            placed(1, filler_order_number="F2", accession_number="A2", study_instance_uid="1.2.3"),
            step(20, STARTED),
        ),
        "STARTED",
        others={"F2": "SCHEDULED"},
    ),
    "a dose report changes no status": Case(
        (placed(), arrival(20, "1.2.3", accession_number="A1", patient=unissued("P1"))), "SCHEDULED"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_steps_move_their_order_whatever_came_first(case: Case) -> None:
    for arranged in permutations(case.events):
        rows = rows_of(list(arranged), at(3600), RULES)
        found = {row.filler_order_number: row.status for row in rows.orders}
        assert found == {"F1": case.status, **case.others}
        flagged = [
            (a.detail["from"], a.detail["to"]) for a in rows.anomalies if a.kind == "forbidden_transition"
        ]
        assert flagged == list(case.flagged)


def test_the_study_shows_the_status_and_where_it_was_said() -> None:
    begun, ended = step(20, STARTED), step(30, COMPLETED, received=99)
    (study,) = rows_of([placed(), begun, ended], at(3600), RULES).studies
    assert study.order_status == "COMPLETED"
    evidence: Any = study.evidence
    assert evidence["order_status"] == {"message": ended.control_id, "path": "(0040,0252)"}


def test_a_step_in_progress_takes_no_other_from_the_worklist() -> None:
    said = [placed(0, scheduled_step_id="S1"), placed(1, scheduled_step_id="S2")]
    rows = rows_of([*said, step(20, STARTED, scheduled="S1")], at(3600), RULES)
    assert [row.step_key for row in rows.steps] == ["S2"]
