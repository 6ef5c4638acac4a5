"""The order state machine: what ORC-1 and ORC-5 say, what may follow what, and what is flagged."""

from dataclasses import replace
from itertools import permutations

import pytest
from rows_of import rows_of
from said import arrival, at, order, person, unissued

from dosestream.events.records import Order
from dosestream.reconcile.rules import Rules, rules_from
from dosestream.reconcile.status import STATUS_TABLE, status_of
from dosestream.settings import parse

RULES = Rules()
JOE = person("P1", name="DOE^JOE")

# ORC-1, ORC-5 (table 0038 and empty) and the status they ask for.
SAID = [
    ("NW", "", "SCHEDULED"),
    ("NW", "SC", "SCHEDULED"),
    ("NW", "IP", "SCHEDULED"),
    ("NW", "CM", "COMPLETED"),
    ("SN", "", "SCHEDULED"),
    ("NA", "", None),
    ("NA", "SC", "SCHEDULED"),
    ("OK", "", None),
    ("OK", "SC", "SCHEDULED"),
    ("RE", "CM", "COMPLETED"),
    ("RE", "", None),
    ("XO", "", None),
    ("XO", "SC", "SCHEDULED"),
    ("XO", "IP", "STARTED"),
    ("XO", "CM", "COMPLETED"),
    ("SC", "IP", "STARTED"),
    ("SC", "A", "COMPLETED"),
    ("SC", "CM", "COMPLETED"),
    ("SC", "CA", "CANCELED"),
    ("SC", "DC", "DISCONTINUED"),
    ("SC", "HD", "ON_HOLD"),
    ("SC", "RP", "CANCELED"),
    ("SC", "ER", None),
    ("SC", "", None),
    ("CA", "", "CANCELED"),
    ("CA", "CA", "CANCELED"),
    ("CA", "ER", "CANCELED"),
    ("OC", "CA", "CANCELED"),
    ("CR", "CA", "CANCELED"),
    ("DC", "CA", "DISCONTINUED"),
    ("DC", "", "DISCONTINUED"),
    ("OD", "DC", "DISCONTINUED"),
    ("DR", "DC", "DISCONTINUED"),
    ("HD", "", "ON_HOLD"),
    ("RL", "", "SCHEDULED"),
    ("RP", "", "CANCELED"),
    ("RU", "RP", "CANCELED"),
    ("RO", "", "SCHEDULED"),
    ("RO", "IP", "SCHEDULED"),
    ("UC", "", None),
    ("UC", "IP", "STARTED"),
    ("PA", "", None),
    ("PA", "IP", "STARTED"),
    ("CH", "", "SCHEDULED"),
    ("CH", "IP", "SCHEDULED"),
    ("ZZ", "CM", None),
]


@pytest.mark.parametrize(("code", "word", "status"), SAID)
def test_control_code_and_order_status_ask_for(code: str, word: str, status: str | None) -> None:
    assert status_of(STATUS_TABLE, code, word) == status


def step(second: float, code: str, word: str = "", received: float | None = None) -> Order:
    return order(second, code, word, JOE, received, filler_order_number="F1", accession_number="A1")


# Messages of one order, its status, and the forbidden transitions.
LIVES: dict[str, tuple[list[Order], str | None, list[tuple[str, str]]]] = {
    "an order is scheduled, started and completed": (
        [step(1, "NW"), step(2, "SC", "IP"), step(3, "SC", "CM")],
        "COMPLETED",
        [],
    ),
    "completed without a word of its start": ([step(1, "NW"), step(2, "SC", "CM")], "COMPLETED", []),
    "a cancel that comes late does not undo a newer completion but is flagged": (
        [step(1, "NW"), step(2, "CA", received=9), step(3, "SC", "CM")],
        "COMPLETED",
        [("CANCELED", "COMPLETED")],
    ),
    "a completed order that is cancelled is cancelled and flagged": (
        [step(1, "NW"), step(2, "SC", "CM"), step(3, "CA")],
        "CANCELED",
        [("COMPLETED", "CANCELED")],
    ),
    "a started exam may only be completed, held or discontinued": (
        [step(1, "NW"), step(2, "SC", "IP"), step(3, "XO", "SC")],
        "SCHEDULED",
        [("STARTED", "SCHEDULED")],
    ),
    "a repeated status is no transition": ([step(1, "SC", "CM"), step(2, "SC", "CM")], "COMPLETED", []),
    "the first word may be any": ([step(5, "SC", "CM")], "COMPLETED", []),
    "held and released is scheduled": (
        [step(1, "NW"), step(2, "HD"), step(3, "RL")],
        "SCHEDULED",
        [],
    ),
    "a cancel that was refused never was": (
        [step(1, "NW"), step(2, "SC", "IP"), step(3, "CA"), step(4, "UC")],
        "STARTED",
        [],
    ),
    "a refusal takes back no later cancel": (
        [step(1, "NW"), step(2, "CA"), step(3, "UC"), step(4, "CA")],
        "CANCELED",
        [],
    ),
    "a replaced order is cancelled": ([step(1, "NW"), step(2, "RU", "RP")], "CANCELED", []),
    "numbers assigned move nothing": ([step(1, "SC", "IP"), step(2, "NA")], "STARTED", []),
}


@pytest.mark.parametrize(("events", "status", "flagged"), LIVES.values(), ids=LIVES.keys())
def test_an_order_lives_whatever_the_order_of_arrival(
    events: list[Order], status: str | None, flagged: list[tuple[str, str]]
) -> None:
    reference = rows_of(list(events), at(10), RULES)
    for arranged in permutations(events):
        rows = rows_of([*arranged, arranged[0]], at(10), RULES)
        assert rows == reference
        assert [row.status for row in rows.orders] == [status]
        found = [a for a in rows.anomalies if a.kind == "forbidden_transition"]
        assert [(a.detail["from"], a.detail["to"]) for a in found] == flagged
        assert all(a.subject == "F1" for a in found)


def test_a_forbidden_transition_is_first_seen_when_both_messages_were_known() -> None:
    rows = rows_of([step(2, "SC", "CM", received=8), step(3, "CA", received=5)], at(10), RULES)
    assert [(a.kind, a.first_seen_at) for a in rows.anomalies] == [("forbidden_transition", at(8))]


def test_a_site_sets_its_own_status_and_transition_tables() -> None:
    settings = parse(
        '[order_status]\nNW_CM = "SCHEDULED"\n[order_transitions]\nCOMPLETED = "CANCELED STARTED"'
    )
    rules = rules_from(settings)
    rows = rows_of([step(1, "NW", "CM"), step(2, "SC", "CM"), step(3, "CA")], at(10), rules)
    assert [row.status for row in rows.orders] == ["CANCELED"]
    assert rows.anomalies == ()
    assert rules.hash != RULES.hash


def test_children_are_expected_and_their_parent_is_never_overdue() -> None:
    events = [
        order(1, "NW", "", JOE, filler_order_number="F1", scheduled_at=at(5)),
        order(2, "PA", "", JOE, filler_order_number="F1"),
        order(2, "CH", "", JOE, filler_order_number="F2", scheduled_at=at(5)),
    ]
    later = at(5) + RULES.window_us + RULES.grace_us + 1
    states = {row.filler_order_number: row.state for row in rows_of(list(events), later, RULES).orders}
    assert states == {"F1": "expected", "F2": "overdue"}


KEPT: dict[str, tuple[list[Order], list[str | None]]] = {
    "an order below the status has no row": ([step(1, "NW")], []),
    "it gets one when it reaches it": ([step(1, "NW"), step(2, "SC", "IP")], ["STARTED"]),
    "and keeps it whatever comes": (
        [step(1, "NW"), step(2, "SC", "IP"), step(3, "DC")],
        ["DISCONTINUED"],
    ),
    "an order cancelled before has none": ([step(1, "NW"), step(2, "CA")], []),
}


@pytest.mark.parametrize(("events", "statuses"), KEPT.values(), ids=KEPT.keys())
def test_orders_may_be_kept_only_from_a_status_on(events: list[Order], statuses: list[str | None]) -> None:
    rules = replace(RULES, keep_from_status="STARTED")
    for arranged in permutations(events):
        assert [row.status for row in rows_of(list(arranged), at(10), rules).orders] == statuses
    assert len(rows_of(list(events), at(10), RULES).orders) == 1


def test_an_order_that_a_study_answers_is_kept_whatever_was_said_of_it() -> None:
    rules = replace(RULES, keep_from_status="STARTED")
    scanned = arrival(60, patient=unissued("P1"), accession_number="A1")
    placed = order(1, patient=JOE, filler_order_number="F1", accession_number="A1")
    rows = rows_of([placed, scanned], at(100), rules)
    assert [(row.accession_number, row.state) for row in rows.orders] == [("A1", "performed")]
    assert [link.row_key for link in rows.links] == [row.row_key for row in rows.orders]


def test_a_message_from_the_future_is_flagged_once() -> None:
    day = 86_400
    ahead = [
        replace(step(3 * day, "NW", received=1), control_id="M1"),
        replace(order(3 * day, "NW", "", JOE, 1, filler_order_number="F1"), control_id="M1"),
        step(2, "SC", "IP"),
    ]
    rows = rows_of(list(ahead), at(10), RULES)
    assert [(a.kind, a.subject, a.first_seen_at) for a in rows.anomalies if a.kind == "clock_ahead"] == [
        ("clock_ahead", "M1", at(1))
    ]
    assert rows_of([step(day - 1, "NW", received=1)], at(10), RULES).anomalies == ()
