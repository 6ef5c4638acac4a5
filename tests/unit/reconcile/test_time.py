"""What the clock changes: waiting, expected and provisional end; late words amend."""

from dataclasses import replace
from itertools import permutations

import pytest
from rows_of import Event, rows_of
from said import adt, arrival, at, order, person, unissued

from dosestream.reconcile.rules import Rules

RULES = Rules()
DAY = 86_400
JOE = person("P1", name="DOE^JOE")
ORDER = order(1, patient=JOE, filler_order_number="F1", accession_number="A1", scheduled_at=at(10))
STUDY = arrival(60, patient=unissued("P1"), accession_number="A1")
CLOSES = 60 + 2 * DAY

CASES: dict[str, tuple[list[Event], float, str, str]] = {
    "a study waits while its window is open": ([STUDY], CLOSES, "waiting", "provisional"),
    "then it is unmatched": ([STUDY], CLOSES + 1, "unmatched", "final"),
    "an order that comes late still links, and amends": (
        [STUDY, replace(ORDER, received_at=at(CLOSES + 5))],
        CLOSES + 10,
        "linked",
        "amended",
    ),
    "an order that came in time is final": ([STUDY, ORDER], CLOSES + 10, "linked", "final"),
    "a correction that comes late amends": (
        [STUDY, ORDER, adt(CLOSES + 5, person("P1", name="MARRIED^JANE"))],
        CLOSES + 10,
        "linked",
        "amended",
    ),
    "a daily repeat of the name amends nothing": (
        [STUDY, ORDER, adt(CLOSES + 5, JOE), adt(CLOSES + DAY, JOE)],
        CLOSES + 2 * DAY,
        "linked",
        "final",
    ),
    "a late word that does not win amends nothing": (
        [STUDY, ORDER, adt(30, JOE), adt(20, person("P1", name="OLD^NAME"), received=CLOSES + 5)],
        CLOSES + 10,
        "linked",
        "final",
    ),
    "a merge that comes late amends a study without order, too": (
        [
            STUDY,
            adt(1, JOE),
            adt(2, person("P9", name="DOE^JOE")),
            adt(CLOSES + 5, person("P9", name="DOE^JOE"), prior=JOE),
        ],
        CLOSES + 10,
        "unmatched",
        "amended",
    ),
    "a merge that comes late amends": (
        [STUDY, ORDER, adt(CLOSES + 5, person("P9"), prior=JOE)],
        CLOSES + 10,
        "linked",
        "amended",
    ),
}


@pytest.mark.parametrize(("events", "now", "state", "phase"), CASES.values(), ids=CASES.keys())
def test_states_and_phases_whatever_the_order(
    events: list[Event], now: float, state: str, phase: str
) -> None:
    for arranged in permutations(events):
        (study,) = rows_of(list(arranged), at(now), RULES).studies
        assert (study.link_state, study.phase) == (state, phase)


def test_an_order_without_study_is_overdue_after_window_and_grace() -> None:
    closes = at(10 + 2 * DAY)
    (before,) = rows_of([ORDER], closes, RULES).orders
    (after,) = rows_of([ORDER], closes + 1, RULES).orders
    assert (before.state, before.next_due) == ("expected", closes + 1)
    assert (after.state, after.next_due) == ("overdue", None)
