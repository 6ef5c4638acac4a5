"""Performed procedure steps: N-CREATE and N-SET are one step, in whatever order they come."""

from itertools import permutations
from typing import Any

import pytest
from rows_of import rows_of
from said import arrival, at, order, person

from dosestream.events.records import Demographics
from dosestream.reconcile.rules import Rules

NOBODY = Demographics()
JOE = person("P1", name="DOE^JOE", birth_date="1970-01-01", sex="M")


def step(seconds: float, status: str, patient: Demographics = NOBODY, **fields: Any) -> Any:
    """A message about the step 1.9 of study 1.2.3."""
    said = {"uid": "", "sop": "1.9", "study_at": None, "kind": "performed_step", "modality": ""} | fields
    return arrival(seconds, patient=patient, step_status=status, **said)


CREATED = step(60, "IN PROGRESS", JOE, uid="1.2.3", accession_number="A1", study_at=at(60))
SET = step(90, "", study_description="CT CHEST")
COMPLETED = step(120, "COMPLETED")
ORDER = order(10, patient=JOE, filler_order_number="F1", accession_number="A1", scheduled_at=at(50))


@pytest.mark.parametrize("said", list(permutations([ORDER, CREATED, SET, COMPLETED])))
def test_a_step_is_one_study_whatever_came_first(said: tuple[Any, ...]) -> None:
    rows = rows_of(list(said), at(86_400), Rules())
    (study,) = rows.studies
    assert (study.study_instance_uid, study.link_state, study.accession_number) == ("1.2.3", "linked", "A1")
    assert study.study_description == "CT CHEST"
    evidence: Any = study.evidence
    assert evidence["study_datetime"]["message"] == CREATED.control_id
    assert study.patient_id == "P1"


def test_a_step_that_was_never_created_is_no_study() -> None:
    assert rows_of([SET, COMPLETED], at(86_400), Rules()).studies == ()
