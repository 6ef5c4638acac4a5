"""Repeats on an event loop, over both kinds of store: who stores, who waits, and what each hears."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dosestream.repeats.shared import SharedStore
from dosestream.repeats.store import CLAIM_US, Learned, MemoryStore, Store, Turn
from dosestream.repeats.turns import Repeats
from dosestream.repeats.waiting import WaitingRepeats

K = b"k" * 16
T0 = 1_772_366_400_000_000


@pytest.fixture(params=["shared", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store = SharedStore(tmp_path, 4) if request.param == "shared" else MemoryStore("m")
    yield store
    store.close()


def heard_by(store: Store, then: Callable[[Repeats], None], times: int = 2) -> list[str | None]:
    """What messages with the same bytes hear, one after the other; `then` acts for the one that is new."""
    told: list[str | None] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()
        repeats = Repeats(store, loop)

        def new() -> None:
            told.append("new")
            loop.call_soon(then, repeats)

        for number in range(times):
            repeats.hear(K, T0 + number, new, told.append)
        while len(told) < times:
            await asyncio.sleep(0.001)
        repeats.flush()

    asyncio.run(play())
    return told


def test_the_second_hears_the_answer_of_the_first(store: Store) -> None:
    assert heard_by(store, lambda r: r.end(K, T0, "AR"), 3) == ["new", "AR", "AR"]
    assert heard_by(store, lambda r: None, 1) == ["AR"]


def test_an_end_is_written_with_the_next_claim_or_soon_by_itself(store: Store) -> None:
    async def play() -> list[str | None]:
        told = list[str | None]()
        repeats = Repeats(store, asyncio.get_running_loop())

        def new() -> None:
            told.append("new")
            repeats.end(K, T0, "AA")

        repeats.hear(K, T0, new, told.append)
        while not told:
            await asyncio.sleep(0)
        repeats.hear(K, T0 + 1, new, told.append)
        while len(told) < 2:
            await asyncio.sleep(0)
        repeats.end(b"l" * 16, T0 + 2, "AR")
        while (heard := store.turn(Turn(claims=[b"l" * 16]), T0 + 3)[0]) is None:
            store.turn(Turn(failures=[b"l" * 16]), T0 + 3)
            await asyncio.sleep(0.001)
        return [*told, heard.answer]

    assert asyncio.run(play()) == ["new", "AA", "AR"]


def test_what_waited_for_a_first_that_failed_hears_so_and_the_next_is_new(store: Store) -> None:
    assert heard_by(store, lambda r: r.fail(K), 2) == ["new", None]
    assert heard_by(store, lambda r: r.end(K, T0, "AA"), 1) == ["new"]


def test_what_is_under_way_elsewhere_is_waited_for(store: Store) -> None:
    store.turn(Turn(claims=[K]), T0)

    async def play() -> list[str | None]:
        loop, told = asyncio.get_running_loop(), list[str | None]()
        repeats = Repeats(store, loop)
        for number in range(2):
            repeats.hear(K, T0 + 1 + number, lambda: told.append("new"), told.append)
        loop.call_later(0.05, lambda: store.turn(Turn(ends=[Learned(K, T0, "AE")]), T0))
        while len(told) < 2:
            await asyncio.sleep(0.001)
        return told

    assert asyncio.run(play()) == ["AE", "AE"]


def test_what_nobody_ends_elsewhere_is_taken_over(store: Store) -> None:
    store.turn(Turn(claims=[K]), T0 - CLAIM_US - 1)
    assert heard_by(store, lambda r: r.end(K, T0, "AA"), 1) == ["new"]


def test_on_threads_too_the_second_gets_the_answer_of_the_first(store: Store) -> None:
    repeats = WaitingRepeats(store)
    assert repeats.claim(K, T0, 0.0) is None
    with pytest.raises(TimeoutError):
        repeats.claim(K, T0 + 1, 0.0)
    repeats.end(K, T0, "0000")
    assert repeats.claim(K, T0 + 2, 0.0) == "0000"


def test_on_threads_too_a_message_that_failed_is_new_again(store: Store) -> None:
    repeats = WaitingRepeats(store)
    repeats.claim(K, T0, 0.0)
    repeats.fail(K, T0)
    assert repeats.claim(K, T0 + 1, 0.0) is None
