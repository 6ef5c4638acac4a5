"""What every store of repeats does, shared or in memory; then what only the shared one can."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dosestream.repeats.buckets import BUCKETS, SPAN_US, Newest, is_full
from dosestream.repeats.opened import OpenedStore
from dosestream.repeats.shared import SharedStore
from dosestream.repeats.store import CLAIM_US, DAY_US, Heard, Learned, MemoryStore, Store, Turn, repeat_key
from dosestream.settings import RepeatsSettings

K, L = b"k" * 16, b"l" * 16
T0 = 1_772_366_400_000_000


@pytest.fixture(params=["shared", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store = SharedStore(tmp_path, 4) if request.param == "shared" else MemoryStore("m")
    yield store
    store.close()


def claim(store: Store, key: bytes, now: int) -> Heard | None:
    (heard,) = store.turn(Turn(claims=[key]), now)
    return heard


def end(store: Store, key: bytes, at: int, answer: str) -> None:
    store.turn(Turn(ends=[Learned(key, at, answer)]), at)


def test_a_message_is_new_once(store: Store) -> None:
    assert claim(store, K, T0) is None
    assert claim(store, K, T0 + 1) == Heard(T0, None)


@pytest.mark.parametrize("answer", ["AA", "AE", "CR", "0000", ""])
def test_a_repeat_gets_the_answer_of_the_first(store: Store, answer: str) -> None:
    claim(store, K, T0)
    end(store, K, T0, answer)
    assert claim(store, K, T0 + 5) == Heard(T0, answer)


def test_it_is_a_repeat_for_24_hours_and_then_new(store: Store) -> None:
    claim(store, K, T0)
    end(store, K, T0, "AA")
    assert claim(store, K, T0 + DAY_US) == Heard(T0, "AA")
    assert claim(store, K, T0 + DAY_US + 1) is None
    assert claim(store, K, T0 + DAY_US + 2) == Heard(T0 + DAY_US + 1, None)


def test_a_claim_without_an_end_is_taken_over_after_a_while(store: Store) -> None:
    claim(store, K, T0)
    assert claim(store, K, T0 + CLAIM_US) == Heard(T0, None)
    assert claim(store, K, T0 + CLAIM_US + 1) is None


def test_a_message_that_could_not_be_stored_is_new_again(store: Store) -> None:
    claim(store, K, T0)
    store.turn(Turn(failures=[K]), T0)
    assert claim(store, K, T0 + 1) is None


def test_one_turn_ends_before_it_claims(store: Store) -> None:
    claim(store, K, T0)
    assert store.turn(Turn(ends=[Learned(K, T0, "AA")], claims=[K, L]), T0 + 1) == [Heard(T0, "AA"), None]


def test_what_the_topic_says_is_learned_with_how_far_it_was_read(store: Store) -> None:
    store.learn([Learned(K, T0, "AE")], {0: 7, 3: 1}, T0)
    store.learn([], {0: 9}, T0)
    assert claim(store, K, T0 + 1) == Heard(T0, "AE")
    assert dict(store.positions()) == {0: 9, 3: 1}


def test_what_is_under_way_is_not_overwritten_by_what_is_learned(store: Store) -> None:
    claim(store, K, T0)
    store.learn([Learned(K, T0, "AA")], {}, T0)
    assert claim(store, K, T0 + 1) == Heard(T0, None)


def test_a_store_that_is_emptied_knows_nothing(store: Store) -> None:
    store.learn([Learned(K, T0, "AA")], {0: 7}, T0)
    store.forget()
    assert (claim(store, K, T0), dict(store.positions())) == (None, {})


def test_memory_forgets_the_oldest_first() -> None:
    store = MemoryStore("m", capacity=2)
    for number, key in enumerate((b"a", b"b", b"c")):
        claim(store, key, T0 + number)
    assert claim(store, b"c", T0 + 9) is not None
    assert claim(store, b"a", T0 + 9) is None


def test_every_repeat_within_a_day_is_found_however_the_buckets_turn(tmp_path: Path) -> None:
    store = SharedStore(tmp_path, 4)
    hour = DAY_US // 24
    for at in range(0, 72 * hour, hour):
        key = at.to_bytes(16, "big")
        assert claim(store, key, T0 + at) is None
        end(store, key, T0 + at, "AA")
        for age in (23 * hour, 24 * hour):
            if at >= age:
                assert claim(store, (at - age).to_bytes(16, "big"), T0 + at) == Heard(T0 + at - age, "AA")
    store.close()


FULL = [
    ("a young bucket with room", 0, 0, False),
    ("its hours are over", SPAN_US, 0, True),
    ("it holds what it may", 0, 10, True),
]


@pytest.mark.parametrize(("age", "entries", "expected"), [f[1:] for f in FULL], ids=[f[0] for f in FULL])
def test_when_a_bucket_is_full(age: int, entries: int, expected: bool) -> None:
    assert is_full(Newest(1, T0), T0 + age, entries, 10) is expected


def test_the_buckets_kept_cover_a_day() -> None:
    assert (BUCKETS - 1) * SPAN_US >= DAY_US


def test_a_flood_loses_the_oldest_and_keeps_the_newest(tmp_path: Path) -> None:
    store = SharedStore(tmp_path, 4)
    count = 4 * 1024 * 1024 // 96 + 20_000
    keys = [number.to_bytes(16, "little") for number in range(count)]
    for first in range(0, count, 1000):
        ends = [Learned(key, T0 + first, "AA") for key in keys[first : first + 1000]]
        store.turn(Turn(ends=ends), T0 + first)
    assert claim(store, keys[-1], T0 + count) is not None
    assert claim(store, keys[0], T0 + count) is None
    store.close()


def test_what_was_heard_outlives_the_process(tmp_path: Path) -> None:
    first = SharedStore(tmp_path, 4)
    claim(first, K, T0)
    end(first, K, T0, "AR")
    claim(first, L, T0)
    first.close()
    second = SharedStore(tmp_path, 4)
    assert claim(second, K, T0 + 1) == Heard(T0, "AR")
    # What was under way in it is nobody's.
    assert claim(second, L, T0 + 1) is None
    second.close()


def test_what_another_boot_left_is_not_trusted(tmp_path: Path) -> None:
    first = SharedStore(tmp_path, 4)
    end(first, K, T0, "AA")
    first.close()
    (tmp_path / "boot").write_text("another")
    second = SharedStore(tmp_path, 4)
    assert claim(second, K, T0 + 1) is None
    second.close()


OTHER = """
import sys
from pathlib import Path
from dosestream.repeats.shared import SharedStore
from dosestream.repeats.store import Learned, Turn
store = SharedStore(Path(sys.argv[1]), 4)
key, now = sys.argv[2].encode(), int(sys.argv[3])
print(store.turn(Turn(claims=[key]), now), flush=True)
if sys.stdin.readline().strip() == "end":
    store.turn(Turn(ends=[Learned(key, now, "AE")]), now)
    print("ended", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a process that claims K at T0, and ends it when it is told to."""
    running = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", OTHER, str(tmp_path), K.decode(), str(T0)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "[None]\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_what_is_under_way_in_another_process_is_seen_and_then_its_answer(
    tmp_path: Path, other: Callable[[], subprocess.Popen[str]]
) -> None:
    process, store = other(), SharedStore(tmp_path, 4)
    assert claim(store, K, T0 + 1) == Heard(T0, None)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("end\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ended\n"
    assert claim(store, K, T0 + 2) == Heard(T0, "AE")
    store.close()


def test_what_a_killed_process_had_under_way_is_taken_over_at_once(
    tmp_path: Path, other: Callable[[], subprocess.Popen[str]]
) -> None:
    process, store = other(), SharedStore(tmp_path, 4)
    assert claim(store, K, T0 + 1) == Heard(T0, None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert claim(store, K, T0 + 2) is None
    store.close()


def test_without_a_folder_it_is_kept_in_memory_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    store = OpenedStore(RepeatsSettings(folder=str(tmp_path / "file")), "cluster", "topic")
    assert isinstance(store.kept_in, MemoryStore)
    assert "repeats.folder" in caplog.text
    assert claim(store, K, T0) is None
    assert claim(store, K, T0) == Heard(T0, None)


def test_a_store_that_breaks_while_running_goes_on_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = OpenedStore(RepeatsSettings(folder=str(tmp_path), size_mib=4), "cluster", "topic")
    # Larger than the whole file: no room can be made for it.
    store.turn(Turn(ends=[Learned(K, T0, "A" * 8 * 1024 * 1024)]), T0)
    assert isinstance(store.kept_in, MemoryStore)
    assert claim(store, K, T0 + 1) is not None


def test_the_key_tells_sources_and_bytes_apart() -> None:
    whole, head = "a" * 64, "a" * 32
    assert repeat_key("his", whole) == repeat_key("his", head)
    assert len({repeat_key("his", head), repeat_key("ris", head), repeat_key("his", "b" * 32)}) == 3
