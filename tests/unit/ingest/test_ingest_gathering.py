"""Which worker a new connection belongs to, and how it gets there."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvloop

from services.ingest.gathering import SEEN_S, Board, Doors, Gathering, chosen

PLACES = [
    ("the first has nothing yet", {0: 0, 1: 0}, 1, 0),
    ("the first has not enough", {0: 3, 1: 9}, 1, 0),
    ("the first has enough", {0: 4, 1: 0}, 0, 1),
    ("the first is away", {1: 0, 2: 0}, 2, 1),
    ("all have enough, and alike", {0: 7, 1: 7}, 1, 1),
    ("all have enough, mine more than others", {0: 9, 1: 8, 2: 7}, 0, 2),
    ("all have enough, mine fewest", {0: 9, 1: 8, 2: 7}, 2, 2),
    ("nobody says that he is there", {}, 1, 1),
    ("I have not said yet that I am there, and the other has enough", {0: 4}, 1, 1),
]


@pytest.mark.parametrize(
    ("connections", "mine", "to"), [place[1:] for place in PLACES], ids=[place[0] for place in PLACES]
)
def test_a_connection_belongs_to(connections: dict[int, int], mine: int, to: int) -> None:
    assert chosen(connections, mine, 4) == to


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    told = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: told[0])
    return told


@pytest.fixture
def board() -> Board:
    file = os.memfd_create("board")
    os.truncate(file, Board.size(3))
    return Board(file, 3)


def test_who_is_not_seen_for_a_while_is_not_there(board: Board, now: list[float]) -> None:
    for number in range(3):
        board.seen(number)
    board.away(1)
    assert board.connections() == {0: 0, 2: 0}
    now[0] += SEEN_S + 1
    board.seen(2)
    assert board.connections() == {2: 0}


def test_what_is_on_its_way_counts_until_it_is_taken(board: Board) -> None:
    for number in range(3):
        board.seen(number)
    board.has(0, 5)
    board.handed(1, 0)
    board.handed(2, 0)
    board.handed(2, 0, -1)
    assert board.connections() == {0: 6, 1: 0, 2: 0}
    board.taken(0)
    board.has(0, 6)
    assert board.connections()[0] == 6


def test_counts_go_round_as_the_cells_do(board: Board) -> None:
    board.seen(0)
    board.handed(1, 0, -1)
    board.taken(0)
    board.handed(1, 0)
    board.handed(1, 0, 2)
    assert board.connections()[0] == 1


Made = Callable[[int], Doors]


@pytest.fixture
def made() -> Iterator[Made]:
    with ExitStack() as stack:

        def make(workers: int) -> Doors:
            doors = Doors.made(workers)
            stack.callback(doors.close)
            return doors

        yield make


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender, and what the listener accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with sender, accepted:
        yield sender, accepted


Taken = list[tuple[bytes, socket.socket]]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.001)


def on_a_loop(work: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())  # type: ignore[arg-type]


def test_a_connection_is_given_with_what_was_sent_over_it(made: Made) -> None:
    async def work() -> None:
        doors = made(2)
        first, second = Gathering(doors, 0), Gathering(doors, 1)
        came: Taken = []
        first.open(lambda kind, given: came.append((kind, given)))
        second.open(lambda *_: pytest.fail("it belongs to the first"))
        with connection() as (sender, accepted):
            sender.sendall(b"hello")
            assert not first.gives(b"p", accepted.fileno(), 4)
            assert second.gives(b"p", accepted.fileno(), 4)
            accepted.close()
            await until(lambda: bool(came))
            ((kind, given),) = came
            with given:
                assert (kind, given.recv(5)) == (b"p", b"hello")
                given.sendall(b"answer")
                assert sender.recv(6) == b"answer"

    on_a_loop(work)


@pytest.mark.parametrize("gather", [0, -1])
def test_nothing_is_given_where_the_system_is_to_spread(made: Made, gather: int) -> None:
    async def work() -> None:
        doors = made(2)
        for number in (0, 1):
            Gathering(doors, number).open(lambda *_: pytest.fail("given"))
        with connection() as (_, accepted):
            assert not Gathering(doors, 1).gives(b"p", accepted.fileno(), gather)

    on_a_loop(work)


def test_who_is_alone_gives_nothing() -> None:
    async def work() -> None:
        alone = Gathering(Doors.inherited({}), 0)
        alone.open(lambda *_: pytest.fail("given"))
        alone.beat()
        alone.has(9)
        with connection() as (_, accepted):
            assert not alone.gives(b"p", accepted.fileno(), 4)
        alone.close()

    on_a_loop(work)


def test_a_burst_is_shared_as_if_one_had_accepted_it(made: Made) -> None:
    async def work() -> None:
        doors = made(3)
        came: dict[int, list[socket.socket]] = {0: [], 1: [], 2: []}
        workers = [Gathering(doors, number) for number in range(3)]

        def take_in(number: int) -> Callable[[bytes, socket.socket], None]:
            def take(_: bytes, given: socket.socket) -> None:
                workers[number].taken()
                hold(number, given)

            return take

        def hold(number: int, given: socket.socket) -> None:
            came[number].append(given)
            workers[number].has(len(came[number]))

        for number, worker in enumerate(workers):
            worker.open(take_in(number))
        with connection() as (_, accepted):
            # The last one accepts all of it before the others have a turn.
            for _ in range(15):
                if not workers[2].gives(b"p", accepted.fileno(), 4):
                    hold(2, accepted.dup())
            await until(lambda: sum(map(len, came.values())) == 15)
        assert {number: len(held) for number, held in came.items()} == {0: 5, 1: 5, 2: 5}
        for held in came.values():
            for one in held:
                one.close()

    on_a_loop(work)


def test_where_too_many_wait_at_a_door_the_connection_stays(made: Made) -> None:
    async def work() -> None:
        doors = made(2)
        first, second = Gathering(doors, 0), Gathering(doors, 1)
        came: Taken = []

        def take(kind: bytes, given: socket.socket) -> None:
            first.taken()
            came.append((kind, given))

        first.open(take)
        second.open(lambda *_: None)
        with connection() as (_, accepted):
            given = 0
            while second.gives(b"p", accepted.fileno(), 10_000):
                given += 1
            assert doors.board.connections() == {0: given, 1: 0}
            await until(lambda: len(came) == given)
            assert doors.board.connections() == {0: 0, 1: 0}
        for _, one in came:
            one.close()

    on_a_loop(work)


def test_what_waits_at_a_door_is_for_the_one_started_in_its_place(made: Made) -> None:
    async def work() -> None:
        doors = made(2)
        first, second = Gathering(doors, 0), Gathering(doors, 1)
        first.open(lambda *_: pytest.fail("it is closed"))
        second.open(lambda *_: pytest.fail("it is the first's"))
        with connection() as (_, accepted):
            assert second.gives(b"p", accepted.fileno(), 4)
            first.close()
            assert not second.gives(b"p", accepted.fileno(), 4)
        came: Taken = []
        again = Gathering(doors, 0)
        again.open(lambda kind, given: came.append((kind, given)))
        await until(lambda: len(came) == 1)
        came[0][1].close()

    on_a_loop(work)


def test_a_connection_that_no_descriptor_is_left_for_is_over(made: Made) -> None:
    async def work() -> None:
        doors = made(2)
        first = Gathering(doors, 0)
        first.open(lambda *_: pytest.fail("there is none"))
        doors.board.handed(1, 0)
        # What the system delivers where it could not open the descriptor: the byte alone.
        doors.doors[0].outside.send(b"p")
        await until(lambda: doors.board.connections() == {0: 0})

    on_a_loop(work)


HEIR = """
import os, sys
from services.ingest.gathering import Doors
doors = Doors.inherited(os.environ)
assert not any(os.get_inheritable(number) for number in doors.descriptors)
doors.board.seen(1)
doors.board.has(1, 7)
sys.stdout.write(doors.doors[1].inside.recv(1).decode())
"""


def test_a_worker_inherits_doors_and_board(made: Made) -> None:
    doors = made(2)
    doors.doors[1].outside.send(b"x")
    found = subprocess.run(
        [sys.executable, "-c", HEIR],
        env={**os.environ, **doors.environment},
        pass_fds=doors.descriptors,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert found.stdout == b"x"
    assert doors.board.connections() == {1: 7}
