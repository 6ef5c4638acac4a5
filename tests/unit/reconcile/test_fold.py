"""The fold of what is said: in any order, any grouping, any number of times."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from dosestream.reconcile.fold import Fold, Rank, fold_of, merge, winner
from dosestream.reconcile.version import ABSENT, Precedence

times = st.sampled_from([ABSENT, 1, 2, 3])
folds = st.builds(
    fold_of,
    values=st.dictionaries(st.sampled_from(["name", "sex"]), st.sampled_from(["", '""', "A", "B"])),
    rank=st.sampled_from(Rank),
    precedence=st.builds(Precedence, times, times, st.just(ABSENT), st.just(ABSENT)),
    event_id=st.sampled_from(["e1", "e2", "e3"]),
    received_at=st.integers(1, 4),
    control_id=st.just("M1"),
)


def test_an_empty_field_says_nothing_and_a_cleared_one_does() -> None:
    said = fold_of({"name": "", "sex": '""'}, Rank.ADT, Precedence(1, 1, ABSENT, ABSENT), "e", 1, "M")
    assert said.keys() == {"sex"}
    assert said["sex"].keys() == {'""'}


@given(st.lists(folds, max_size=6), st.randoms())
def test_order_of_folding_does_not_matter(said: list[Fold], random: object) -> None:
    empty: Fold = {}
    forward = reduce(merge, said, empty)
    shuffled = list(said)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert reduce(merge, shuffled, empty) == forward


@given(folds, folds, folds)
def test_folding_is_associative(one: Fold, two: Fold, three: Fold) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(st.lists(folds, max_size=5))
def test_what_is_said_again_changes_nothing(said: list[Fold]) -> None:
    empty: Fold = {}
    once = reduce(merge, said, empty)
    assert reduce(merge, said, once) == once


def test_the_higher_authority_wins_over_the_newer_word() -> None:
    adt = fold_of({"name": "HIS"}, Rank.ADT, Precedence(1, 1, ABSENT, ABSENT), "e1", 1, "M1")
    later_order = fold_of({"name": "RIS"}, Rank.ORDER, Precedence(9, 9, ABSENT, ABSENT), "e2", 9, "M2")
    found = winner(merge(adt, later_order)["name"])
    assert found is not None
    assert found.value == "HIS"


def test_of_equal_authority_the_newer_wins_and_an_absent_time_loses() -> None:
    dated = fold_of({"name": "DATED"}, Rank.ADT, Precedence(1, 1, ABSENT, ABSENT), "e1", 1, "M1")
    undated = fold_of(
        {"name": "UNDATED"}, Rank.ADT, Precedence(ABSENT, ABSENT, ABSENT, ABSENT), "e2", 9, "M2"
    )
    found = winner(merge(dated, undated)["name"])
    assert found is not None
    assert found.value == "DATED"


def test_a_late_repeat_does_not_make_an_old_word_newer() -> None:
    precedence = Precedence(1, 1, ABSENT, ABSENT)
    first = fold_of({"name": "OLD"}, Rank.ADT, precedence, "e1", 1, "M1")
    second = fold_of({"name": "NEW"}, Rank.ADT, precedence, "e2", 2, "M2")
    repeat = fold_of({"name": "OLD"}, Rank.ADT, precedence, "e1", 3, "M1")
    found = winner(reduce(merge, [first, second, repeat])["name"])
    assert found is not None
    assert found.value == "NEW"


def test_first_receipt_of_a_value_is_kept_whoever_said_it() -> None:
    newer = fold_of({"name": "A"}, Rank.ADT, Precedence(9, 9, ABSENT, ABSENT), "e2", 7, "M2")
    older = fold_of({"name": "A"}, Rank.ORDER, Precedence(1, 1, ABSENT, ABSENT), "e1", 3, "M1")
    found = winner(merge(newer, older)["name"])
    assert found is not None
    assert (found.version.received_at, found.first_received_at) == (7, 3)
