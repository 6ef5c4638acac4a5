"""The limit of refused messages: when a source stops, what lifts it, whom it concerns."""

import pytest

from dosestream.settings import LimitSettings
from services.ingest.limits import Change, Limits

SOURCE, KIND = "ris", "ORM^O01"
SMALL = LimitSettings(rejected_in_a_row=3, rejected_share=0.8, rejected_among=10)


def changes(limits: Limits, outcomes: str, source: str = SOURCE, kind: str = KIND) -> list[Change]:
    """What each message did: `x` one that is refused, `.` one that is taken."""
    return [limits.hear(source, kind, refused=outcome == "x") for outcome in outcomes]


CASES = {
    "as many in a row as the limit stop": ("xxx", True),
    "one fewer does not": ("xx", False),
    "a good one between begins the row anew": ("xx.xx", False),
    "the first good one lifts it": ("xxxx.", False),
    "it stops again": ("xxxx.xxx", True),
    "too few of the last ones for a share": ("xx.xx.xx.xx.", False),
    "good ones alone never stop": ("." * 30, False),
}


@pytest.mark.parametrize(("outcomes", "stopped"), CASES.values(), ids=CASES.keys())
def test_a_source_stands_by_its_last_messages(outcomes: str, stopped: bool) -> None:
    limits = Limits(SMALL)
    changes(limits, outcomes)
    assert limits.stopped(SOURCE, KIND) is stopped


def test_a_share_of_the_last_messages_stops_where_no_row_does() -> None:
    limits = Limits(LimitSettings(rejected_in_a_row=100, rejected_share=0.8, rejected_among=10))
    assert changes(limits, "xxxx.xxxx.")[-2:] == [Change.NONE, Change.STOPPED]
    # The refused ones leave the window as others come: eight of ten, then seven.
    assert changes(limits, "x.") == [Change.NONE, Change.RESUMED]


def test_a_change_is_told_once() -> None:
    limits = Limits(SMALL)
    assert [str(one) for one in changes(limits, "xxxx..") if one is not Change.NONE] == ["stopped", "resumed"]


def test_a_stop_concerns_one_source_and_one_type() -> None:
    limits = Limits(SMALL)
    changes(limits, "xxx")
    assert not limits.stopped("his", KIND)
    assert not limits.stopped(SOURCE, "ADT^A08")
    assert changes(limits, ".", kind="ADT^A08") == [Change.NONE]
    assert limits.stopped(SOURCE, KIND)


def test_no_limit_never_stops() -> None:
    limits = Limits(LimitSettings(rejected_in_a_row=0, rejected_among=10))
    assert set(changes(limits, "x" * 500)) == {Change.NONE}


def test_who_is_stopped_is_listed_with_what_is_held_back() -> None:
    limits = Limits(SMALL)
    changes(limits, "xxxxx")
    assert limits.lines() == [
        "ris ORM^O01 is stopped: 5 messages in a row refused, 2 of them held back since"
    ]


def test_the_sender_is_told_to_keep_the_message() -> None:
    told = Limits(SMALL).refusal()
    assert (told.code, told.error, told.severity) == ("source_stopped", 207, "E")
    assert told.reason.isascii()
