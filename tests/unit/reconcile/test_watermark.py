"""The watermark of a source: one rule a test."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from said import adt, at, person

from dosestream.reconcile.watermark import Mark, is_idle, join, mark, marks, overall, watermark

HOUR_US, SECOND_US = 3600 * 1_000_000, 1_000_000
SAID = adt(10, person("P1"), received=12)
MARKS = st.builds(Mark, st.integers(0, 9), st.integers(0, 9))


def test_it_is_the_newest_time_spoken_of_less_the_usual_lateness() -> None:
    assert watermark(mark(SAID), 3 * SECOND_US) == at(7)


def test_a_late_message_does_not_take_it_back() -> None:
    late = replace(SAID, event_id="late", event_time=at(1), received_at=at(20))
    assert marks([SAID, late]) == {"RIS|HOSP": Mark(at(10), at(20))}


def test_a_time_from_the_future_counts_as_its_receipt() -> None:
    assert mark(replace(SAID, event_time=at(1e9))) == Mark(at(12), at(12))


def test_a_message_without_a_time_speaks_of_its_receipt() -> None:
    assert mark(replace(SAID, event_time=None)) == Mark(at(12), at(12))


def test_each_source_has_its_own() -> None:
    assert marks([SAID, replace(SAID, source="HIS")]).keys() == {"RIS|HOSP", "HIS"}


def test_a_source_is_idle_once_it_was_silent_for_longer_than_it_may() -> None:
    left = mark(SAID)
    assert not is_idle(left, at(12) + HOUR_US, HOUR_US)
    assert is_idle(left, at(12) + HOUR_US + 1, HOUR_US)


def test_the_slowest_source_that_speaks_holds_the_others_back() -> None:
    known = {"fast": Mark(at(100), at(100)), "slow": Mark(at(50), at(99))}
    assert overall(known, at(101), SECOND_US, HOUR_US) == at(49)


def test_an_idle_source_holds_nobody_back() -> None:
    known = {"fast": Mark(at(9000), at(9000)), "silent": Mark(at(50), at(99))}
    assert overall(known, at(9001), SECOND_US, HOUR_US) == at(8999)


def test_where_all_are_idle_there_is_none() -> None:
    assert overall({"silent": Mark(at(50), at(99))}, at(9001), SECOND_US, HOUR_US) is None


@given(MARKS, MARKS, MARKS)
def test_order_and_repeats_do_not_matter(one: Mark, other: Mark, third: Mark) -> None:
    assert join(one, other) == join(other, one)
    assert join(one, join(other, third)) == join(join(one, other), third)
    assert join(one, one) == one
