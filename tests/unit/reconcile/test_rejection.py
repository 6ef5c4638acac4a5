"""Rejection notes take back what they name, whichever came first; a decision to include outranks them."""

from itertools import permutations

import pytest
from rows_of import Event, rows_of
from said import arrival, at, ct_report, decision, unissued

from dosestream.events.records import Study
from dosestream.reconcile.facts import study_fact, study_keys
from dosestream.reconcile.rejection import rejected
from dosestream.reconcile.rules import Rules

RULES = Rules()
DAY = 86_400
REPORT = arrival(60, sop="1.2.3.1", patient=unissued("P1"), dose=ct_report("e1"))
OTHER = arrival(70, sop="1.2.3.2", patient=unissued("P1"), dose=ct_report("e2"))
IMAGE = arrival(50, sop="1.2.3.9", patient=unissued("P1"), kind="image", modality="CT")


def note(second: float, *instances: str, uid: str = "1.2.3", received: float | None = None) -> Study:
    """A rejection note for quality that names these instances."""
    return arrival(
        second,
        uid=uid,
        sop=f"{uid}.88{second}",
        received=received,
        kind="rejection_note",
        modality="KO",
        rejection_code="113001",
        rejected_instances=instances,
    )


CASES: dict[str, tuple[list[Event], bool, set[str]]] = {
    "a note that names the only report excludes the study": (
        [REPORT, note(90, "1.2.3.1")],
        True,
        {"1.2.3.1"},
    ),
    "one that names one of two excludes only that": (
        [REPORT, OTHER, note(90, "1.2.3.1")],
        False,
        {"1.2.3.1"},
    ),
    "two notes that name one each exclude the study": (
        [REPORT, OTHER, note(90, "1.2.3.1"), note(91, "1.2.3.2")],
        True,
        {"1.2.3.1", "1.2.3.2"},
    ),
    "one that names only images leaves the dose": ([REPORT, IMAGE, note(90, "1.2.3.9")], False, {"1.2.3.9"}),
    "images of a study without a report": ([IMAGE, note(90, "1.2.3.9")], True, {"1.2.3.9"}),
    "one that names nothing of the study": ([REPORT, note(90, "1.2.7.1")], False, set()),
    "a note filed under another study": ([REPORT, note(90, "1.2.3.1", uid="1.2.4")], True, {"1.2.3.1"}),
    "a decision to include outranks it": (
        [REPORT, note(90, "1.2.3.1"), decision(95, "include", "1.2.3")],
        False,
        set(),
    ),
}


@pytest.mark.parametrize(("events", "excluded", "named"), CASES.values(), ids=CASES.keys())
def test_exclusion_whatever_the_order(events: list[Event], excluded: bool, named: set[str]) -> None:
    reference = rows_of(events, at(100), RULES)
    for arranged in permutations(events):
        rows = rows_of([*arranged, arranged[0]], at(100), RULES)
        assert rows == reference
        (study,) = [s for s in rows.studies if s.study_instance_uid == "1.2.3"]
        assert study.excluded == excluded
        said = study.evidence.get("rejected", {"instances": []})
        assert isinstance(said, dict)
        assert set(said["instances"]) == named


def test_a_note_shares_a_key_with_the_report_it_names() -> None:
    assert set(study_keys(REPORT, RULES)) & set(study_keys(note(1, "1.2.3.1", uid="1.2.4"), RULES)) == {
        "s:1.2.3.1"
    }


def test_the_first_of_two_notes_is_cited() -> None:
    first, repeat = note(90, "1.2.3.1"), note(99, "1.2.3.1")
    facts = [study_fact(e, RULES) for e in (repeat, REPORT, first)]
    assert rejected({"1.2.3": facts}, [])["1.2.3"].note == first


def test_a_note_heard_after_the_window_amends() -> None:
    closes = 60 + 2 * DAY
    late = note(90, "1.2.3.1", received=closes + 5)
    (without,) = rows_of([REPORT], at(closes + 10), RULES).studies
    (rejected_late,) = rows_of([REPORT, late], at(closes + 10), RULES).studies
    assert (without.phase, rejected_late.phase) == ("final", "amended")


def test_a_scanner_whose_clock_is_ahead_keeps_no_row_open_for_years() -> None:
    ahead = arrival(400 * DAY, patient=unissued("P1"), received=60)
    rows = rows_of([ahead], at(60 + 3 * DAY + 1), RULES)
    assert [s.phase for s in rows.studies] == ["final"]
    assert "clock_ahead" in {a.kind for a in rows.anomalies}
