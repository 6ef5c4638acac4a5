"""Identical messages: the same answer, and no second event."""

from dosestream.hl7.acceptance import NO_MSH, UNAVAILABLE, Refusal
from services.ingest.heard import DAY_US, Heard


def test_a_message_that_is_done_keeps_its_answer_for_a_day() -> None:
    heard = Heard()
    heard.begin(b"k", 0)
    heard.end(b"k", NO_MSH)
    entry = heard.find(b"k", DAY_US)
    assert entry is not None
    assert (entry.done, entry.refusal) == (True, NO_MSH)
    assert heard.find(b"k", DAY_US + 1) is None


def test_a_repeat_of_a_message_under_way_hears_its_answer() -> None:
    heard, told = Heard(), list[Refusal | None]()
    heard.begin(b"k", 0)
    entry = heard.find(b"k", 1)
    assert entry is not None
    assert not entry.done
    entry.waiting.append(told.append)
    heard.end(b"k", None)
    assert told == [None]


def test_a_message_that_could_not_be_stored_is_new_again() -> None:
    heard, told = Heard(), list[Refusal | None]()
    heard.begin(b"k", 0)
    entry = heard.find(b"k", 1)
    assert entry is not None
    entry.waiting.append(told.append)
    heard.fail(b"k", UNAVAILABLE)
    assert told == [UNAVAILABLE]
    assert heard.find(b"k", 2) is None


def test_the_oldest_are_forgotten_first() -> None:
    heard = Heard(capacity=2)
    for key in (b"a", b"b", b"c"):
        heard.begin(key, 0)
    assert heard.find(b"a", 1) is None
    assert heard.find(b"b", 1) is not None
