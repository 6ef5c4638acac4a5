"""The marks of one process: a model of a topic that others write too, step by step and at random."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosestream.kafka.generations import Generations
from dosestream.kafka.roster import Member, Watch
from dosestream.life import Life

# b begins a message, fN finishes the N-th begun, xN fails it, tN looks at the end, which is N.
STEPS: list[tuple[str, str, int]] = [
    ("nothing yet: the end at the start", "", 10),
    ("others wrote: the mark follows the end", "t15", 15),
    ("a message under way holds the mark where its generation began", "b t15 t20", 10),
    ("once it is finished the mark is the newest end seen", "b t15 t20 f0 t25", 25),
    ("a younger message holds it at the end seen before it", "b t15 b f0 t20", 15),
    ("the elder of two holds it", "b t15 b f1 t20", 10),
    ("a message that failed holds it", "b x0 t15 t20", 10),
]


def play(steps: str) -> Generations:
    marks, begun = Generations({0: 10}), list[int]()
    for step in steps.split():
        if step == "b":
            begun.append(marks.begin())
        elif step[0] == "t":
            marks.turn({0: int(step[1:])})
        elif step[0] == "f":
            marks.finished(begun[int(step[1:])])
        else:
            marks.failed(begun[int(step[1:])], f"content {step[1:]}")
    return marks


@pytest.mark.parametrize(("steps", "mark"), [s[1:] for s in STEPS], ids=[s[0] for s in STEPS])
def test_the_mark(steps: str, mark: int) -> None:
    assert play(steps).marks() == {0: mark}


def test_a_partition_that_is_new_is_looked_at_from_its_start() -> None:
    marks = play("b")
    marks.turn({0: 12, 1: 5})
    assert marks.marks() == {0: 10, 1: 0}


def test_what_failed_is_named_with_where_it_may_lie_until_it_is_mended() -> None:
    marks = play("t15 b t20 b x1 x0 t30")
    starts, failed = marks.doubtful()
    assert starts == {0: 15}
    assert sorted(map(sorted, failed.values())) == [["content 0"], ["content 1"]]
    marks.mended(failed)
    marks.turn({0: 31})
    assert (marks.marks(), marks.doubtful()[1]) == ({0: 31}, {})


def test_what_fails_while_others_are_mended_stays() -> None:
    marks = play("b b x0")
    _, failed = marks.doubtful()
    marks.failed(0, "content 1")
    marks.mended(failed)
    assert marks.doubtful()[1] == {0: frozenset({"content 1"})}


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from("bsftxo"), st.integers(0, 30)), max_size=80))
def test_no_record_of_mine_below_the_mark_is_unfinished(steps: list[tuple[str, int]]) -> None:
    """Records land in any order and others write between them; a failed message may land later too."""
    end, marks = 0, Generations({0: 0})
    begun: dict[int, int] = {}
    landed: dict[int, int] = {}
    unfinished: set[int] = set()
    for what, number in steps:
        if what == "b":
            begun[len(begun)] = marks.begin()
            unfinished.add(len(begun) - 1)
        elif what == "o":
            end += number
        elif what == "t":
            marks.turn({0: end})
        elif what == "s" and number in begun and number not in landed:
            landed[number], end = end, end + 1
        elif what == "f" and number in landed and number in begun and begun[number] >= 0:
            marks.finished(begun[number])
            begun[number] = -1
            unfinished.discard(number)
        elif what == "x" and begun.get(number, -1) >= 0:
            marks.failed(begun[number], str(number))
            begun[number] = -1
        mark = marks.marks()[0]
        assert all(landed[number] >= mark for number in unfinished if number in landed)


HERE = Life.mine()
ELSEWHERE = Life("there-1", "another machine", 1, 1)


def over(life: Life, beats: list[tuple[float, str]]) -> list[bool]:
    times = iter([at for at, _ in beats])
    watch = Watch(30.0, lambda: next(times))
    return [bool(watch.over([Member(life, "", beat, {0: 1})])) for _, beat in beats]


WATCHED = [
    ("a process of this machine is seen to live however still it is", HERE, [(0, "1"), (99, "1")], [0, 0]),
    ("one that is gone is over at once", Life("x", HERE.machine, HERE.pid, 1), [(0, "1")], [1]),
    ("one that closed its group is nobody's care", Life("x", HERE.machine, 1, 1), [(0, "closed")], [0]),
    ("elsewhere a beat that goes on is life", ELSEWHERE, [(0, "1"), (29, "2"), (58, "3")], [0, 0, 0]),
    ("elsewhere silence is the end, once it lasted", ELSEWHERE, [(0, "1"), (29, "1"), (30, "1")], [0, 0, 1]),
    ("a beat after silence is life again", ELSEWHERE, [(0, "1"), (40, "1"), (41, "2")], [0, 1, 0]),
]


@pytest.mark.parametrize(("life", "beats", "expected"), [w[1:] for w in WATCHED], ids=[w[0] for w in WATCHED])
def test_which_lives_are_over(life: Life, beats: list[tuple[float, str]], expected: list[int]) -> None:
    assert over(life, beats) == [bool(one) for one in expected]


@pytest.mark.parametrize(
    "life", [HERE, Life("host-1", "", 0, 0)], ids=["here", "a system that tells nothing"]
)
def test_a_member_is_read_as_it_was_written(life: Life) -> None:
    member = Member(life, "store", "7", {0: 3})
    assert Member.read(life.name, member.text(), member.marks) == member


def test_what_another_release_wrote_is_a_life_known_by_its_beat() -> None:
    member = Member.read("x", "2 something else", {0: 3})
    assert (member.beat, member.life.is_over()) == ("2 something else", None)
