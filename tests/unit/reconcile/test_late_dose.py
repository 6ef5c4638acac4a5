"""A study is amended by a dose report first heard after the window, only if it says something new of dose."""

from dataclasses import replace
from itertools import permutations

import pytest
from rows_of import Event
from rows_of import rows_of as derived
from said import arrival, at, ct_report, decision

from dosestream.events.records import DoseReport, DoseTotal, Study
from dosestream.reconcile.derive import Group, derive
from dosestream.reconcile.dose_words import written
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.rules import Rules

RULES = Rules()
DAY = 86_400.0
LATE = 10 * DAY
DLP = DoseTotal(quantity="ct_dlp", value=20.0, unit="mGy.cm")
DAP = DoseTotal(quantity="dap", value=1.0, unit="Gy.m2")


def told(
    dose: DoseReport | None,
    received: float = 60,
    said_at: float = 60,
    sop: str = "1.2.3.1",
    kind: str = "dose_report",
    rejected: tuple[str, ...] = (),
) -> Study:
    """A report of the study; said is its content time."""
    return arrival(
        said_at,
        sop=sop,
        dose=dose,
        received=received,
        study_at=at(60),
        kind=kind,
        rejection_code="113001" if rejected else "",
        rejected_instances=rejected,
    )


FIRST = told(ct_report("e1", "e2", stated=20.0))

# Reports, and whether the row is amended.
CASES: dict[str, tuple[list[Event], bool]] = {
    "the same report again, by another sender, amends nothing": (
        [FIRST, replace(FIRST, event_id="again", source="PACS", received_at=at(LATE))],
        False,
    ),
    "an equal report under another instance amends nothing": (
        [FIRST, told(ct_report("e1", "e2", stated=20.0), LATE, 90, "1.2.3.2")],
        False,
    ),
    "a cumulative report with a further event amends": (
        [FIRST, told(ct_report("e1", "e2", "e3", stated=30.0), LATE, 90, "1.2.3.2")],
        True,
    ),
    "a continued report amends, though it states an equal total": (
        [FIRST, told(ct_report("e3", "e4", stated=20.0), LATE, 90, "1.2.3.2")],
        True,
    ),
    "a report that another one contains amends nothing": (
        [FIRST, told(ct_report("e1", stated=10.0), LATE, 30, "1.2.3.2")],
        False,
    ),
    "another total for the same events amends": (
        [FIRST, told(ct_report("e1", "e2", stated=25.0), LATE, 90, "1.2.3.2")],
        True,
    ),
    "another total for the same events in an older report amends nothing": (
        [FIRST, told(ct_report("e1", "e2", stated=25.0), LATE, 30, "1.2.3.2")],
        False,
    ),
    "another dose of an event amends": (
        [FIRST, told(ct_report("e1", "e2", stated=20.0, each=11.0), LATE, 90, "1.2.3.2")],
        True,
    ),
    "a total of another quantity amends": (
        [FIRST, told(replace(ct_report("e1", "e2"), totals=(DLP, DAP)), LATE, 90, "1.2.3.2")],
        True,
    ),
    "a report without events counts each time, so it amends": (
        [told(ct_report(stated=20.0)), told(ct_report(stated=20.0), LATE, 90, "1.2.3.2")],
        True,
    ),
    "a late report that a note has taken back amends nothing": (
        [
            FIRST,
            told(ct_report("e1", "e2", "e3", stated=30.0), LATE, 90, "1.2.3.2"),
            told(None, 100, 100, "1.2.3.9", "rejection_note", ("1.2.3.2",)),
        ],
        False,
    ),
    "a late image amends nothing": ([FIRST, told(None, LATE, 90, "1.2.3.7", "image")], False),
    "a report heard in time amends nothing": (
        [FIRST, told(ct_report("e1", "e2", "e3", stated=30.0), DAY, 90, "1.2.3.2")],
        False,
    ),
    "nor does a late decision to count it": (
        [FIRST, decision(LATE, "include", "1.2.3")],
        False,
    ),
}


@pytest.mark.parametrize(("events", "amended"), CASES.values(), ids=CASES.keys())
def test_a_late_dose_report_amends_what_it_changes(events: list[Event], amended: bool) -> None:
    for arranged in permutations(events):
        (row,) = derived([*arranged, arranged[0]], at(20 * DAY), RULES).studies
        assert row.phase == ("amended" if amended else "final")


@pytest.mark.parametrize(("events", "amended"), CASES.values(), ids=CASES.keys())
def test_words_stand_for_the_dose_they_were_made_of(events: list[Event], amended: bool) -> None:
    group = stripped([event for event in events if isinstance(event, Study)])
    (row,) = derive(group, Patients({}, (), RULES), RULES, at(20 * DAY)).studies
    assert row.phase == ("amended" if amended else "final")


def stripped(studies: list[Study]) -> Group:
    """The group as it is stored: words in the place of doses."""
    bare = [
        s if s.dose is None else replace(s, dose=replace(s.dose, events=(), totals=(), unread=()))
        for s in studies
    ]
    return Group(studies=tuple(bare), dose_words={s.event_id: written(s) for s in studies})


def test_headers_without_words_still_read() -> None:
    late = told(ct_report("e1", "e2", "e3", stated=30.0), LATE, 90, "1.2.3.2")
    group = replace(stripped([FIRST, late]), dose_words={})
    (row,) = derive(group, Patients({}, (), RULES), RULES, at(20 * DAY)).studies
    assert row.phase == "final"


def test_the_words_of_a_long_report_are_short() -> None:
    words = written(told(ct_report(*(f"1.2.840.113619.2.{n}" for n in range(500)), stated=20.0)))
    assert sum(map(len, words)) < 500 * 24
