"""The pure parts of a bulk build: files of frames, the filter of repeats, what belongs together."""

from pathlib import Path

import pytest

from services.reconciler.replay.connect import connect, gather_again, meet, shuffle
from services.reconciler.replay.repeats import MaybeHeard
from services.reconciler.replay.spill import PAGE, Buckets, Frames, Keys, bucket, frames, key_of, keys


@pytest.mark.parametrize(
    "written",
    [
        [],
        [b""],
        [b"a", b"", b"bc" * 1000],
        [b"x" * (PAGE - 4), b"y", b"z" * (PAGE - 3), b"w"],
        [b"small", b"L" * (3 * PAGE + 17), b"small again"],
        [bytes([n % 256]) * (n % 700) for n in range(5000)],
    ],
    ids=["none", "an empty one", "few", "at the edge of a page", "larger than a page", "many"],
)
def test_frames_are_read_as_they_were_written(tmp_path: Path, written: list[bytes]) -> None:
    out = Frames(tmp_path / "frames")
    for frame in written:
        out.add(frame)
    out.close()
    assert list(frames(tmp_path / "frames")) == written
    assert out.count == len(written)


def test_a_file_that_is_not_there_has_no_frames_and_no_keys(tmp_path: Path) -> None:
    assert list(frames(tmp_path / "none")) == []
    assert list(keys(tmp_path / "none")) == []


def test_frames_of_one_key_are_in_one_bucket_in_the_order_they_came(tmp_path: Path) -> None:
    out = Buckets(tmp_path, 3)
    for n in range(100):
        out.add(n % 7, bytes([n]))
    out.close()
    found = [list(bucket([tmp_path], number)) for number in range(3)]
    assert sorted(frame for one in found for frame in one) == [bytes([n]) for n in range(100)]
    for number, one in enumerate(found):
        assert all(frame[0] % 7 % 3 == number for frame in one)
        assert one == sorted(one)


def test_many_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    out = Keys(tmp_path / "keys")
    written = [key_of(f"k{n}") for n in range(200_000)]
    for key in written:
        out.add(key)
    out.close()
    assert list(keys(tmp_path / "keys")) == written


def test_the_filter_forgets_no_event_and_suspects_few_others() -> None:
    heard = MaybeHeard(20_000)
    ids = [f"{key_of(str(n)):016x}{n:016x}" for n in range(20_000)]
    suspected = sum(heard.again(event_id) for event_id in ids)
    assert suspected < 100
    assert all(heard.again(event_id) for event_id in ids)


def test_an_event_id_that_is_no_hash_is_known_again_too() -> None:
    heard = MaybeHeard(10)
    assert [heard.again(one) for one in ("decision one", "decision two", "decision one")] == [
        False,
        False,
        True,
    ]


def _gathered(folder: Path, facts: dict[bytes, list[int]]) -> Path:
    kept, connecting = Frames(folder / "facts"), Keys(folder / "keys")
    for frame, found in facts.items():
        kept.add(frame)
        connecting.add(len(found), *found)
    kept.close()
    connecting.close()
    return folder


def test_facts_that_share_keys_through_others_get_one_root_whichever_worker_read_them(tmp_path: Path) -> None:
    one = _gathered(tmp_path / "one", {b"a": [1, 2], b"b": [3], b"c": [4]})
    other = _gathered(tmp_path / "other", {b"d": [2, 5], b"e": [5, 3], b"f": [6]})
    groups = connect([one, other], 2, lambda _: None)
    for folder in (one, other):
        shuffle(folder, 2)
    found: dict[bytes, set[bytes]] = {}
    for number in range(2):
        for frame in bucket([one / "grouped", other / "grouped"], number):
            found.setdefault(frame[:8], set()).add(frame[8:])
            assert int.from_bytes(frame[:8], "little") % 2 == number
    assert sorted(map(sorted, found.values())) == [[b"a", b"b", b"d", b"e"], [b"c"], [b"f"]]
    assert sum(groups) == 3


@pytest.mark.parametrize(
    ("pairs", "met"),
    [
        ([], {}),
        ([(1, 10), (2, 20)], {}),
        ([(1, 10), (1, 10)], {}),
        ([(1, 20), (1, 10)], {10: 10, 20: 10}),
        ([(1, 30), (1, 20), (2, 20), (2, 10), (3, 40)], {10: 10, 20: 10, 30: 10}),
    ],
    ids=["none", "apart", "one alone", "two meet", "three by two keys"],
)
def test_groups_with_one_key_stand_for_the_lowest(pairs: list[tuple[int, int]], met: dict[int, int]) -> None:
    assert meet(pairs) == met


def test_facts_of_groups_that_met_come_to_the_bucket_of_the_one_that_stays(tmp_path: Path) -> None:
    out = Buckets(tmp_path / "grouped", 2)
    for root, frame in ((4, b"a"), (5, b"b"), (6, b"c")):
        out.add(root, root.to_bytes(8, "little") + frame)
    out.close()
    gather_again([tmp_path / "grouped"], range(2), {5: 4, 4: 4}, tmp_path / "again", 3)
    found = list(bucket([tmp_path / "again"], 4 % 3))
    assert sorted(frame[8:] for frame in found) == [b"a", b"b"]
    assert {int.from_bytes(frame[:8], "little") for frame in found} == {4}
