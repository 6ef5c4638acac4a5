"""The table of a performed step's states: complete, and final where the standard says so."""

from itertools import product

from services.arrivals.steps import CREATE, NONE, SET, SUCCESS, TABLE, UNCHANGED

STATES = ("IN PROGRESS", "COMPLETED", "DISCONTINUED")


def test_every_message_in_every_state_has_a_ruling() -> None:
    assert set(TABLE) == set(product((NONE, *STATES), (CREATE, SET), (UNCHANGED, *STATES)))


def test_only_a_step_in_progress_changes() -> None:
    moved = {
        (state, ruling.state)
        for (state, _, _), ruling in TABLE.items()
        if ruling.status == SUCCESS and ruling.state != state
    }
    assert moved == {
        ("", "IN PROGRESS"),
        ("IN PROGRESS", "COMPLETED"),
        ("IN PROGRESS", "DISCONTINUED"),
    }


def test_what_is_refused_changes_no_state() -> None:
    assert all(ruling.state == state for (state, _, _), ruling in TABLE.items() if ruling.status)
