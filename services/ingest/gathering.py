"""Which of several workers a new connection goes to, and how it gets there.

The system spreads connections over the workers that share a port. Few senders are served best by one process, whose
records share requests to the broker, and many by as many processes as there are cores. So a worker that accepts a
connection hands it, before a byte is read, to the worker it belongs to (SCM_RIGHTS over a socket that both have from
their parent).
"""

import asyncio
import mmap
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# What a worker inherits: its parent's descriptors, of the board and of each worker's door, both ends.
VARIABLE: Final = "DOSESTREAM_WORKER_DOORS"
# A worker that has not been seen for so long is given nothing: it hangs.
SEEN_S: Final = 3
# Connections that are taken in before others have their turn.
AT_ONCE: Final = 64
_CELL: Final = 4
_WORD: Final = 1 << 32


def chosen(connections: Mapping[int, int], mine: int, gather: int) -> int:
    """The worker that a connection belongs to which worker `mine` accepted: the first that has fewer than `gather`,
    else the one that has fewest. `connections` are those of the workers that are there, by their numbers.
    """
    for number, count in connections.items():
        if count < gather:
            return number
    fewest = min(connections.values(), default=0)
    if connections.get(mine, 0) <= fewest:
        return mine
    return next(number for number, count in connections.items() if count == fewest)


class Board:
    """How many connections each worker has, in memory that all share. Each cell has one writer, so none is locked."""

    def __init__(self, file: int, workers: int) -> None:
        """Over a file of `size` bytes, zeros at first."""
        self._workers = workers
        cells = memoryview(mmap.mmap(file, self.size(workers))).cast("I")
        self._seen, self._open, self._taken = (cells[n * workers : (n + 1) * workers] for n in range(3))
        # A row for each worker that hands over.
        self._handed = cells[3 * workers :]

    @staticmethod
    def size(workers: int) -> int:
        """Bytes."""
        return workers * (workers + 3) * _CELL

    def connections(self) -> dict[int, int]:
        """Of each worker that is there, with those on their way to it."""
        now, workers = int(time.monotonic()), self._workers
        return {
            number: self._open[number] + (sum(self._handed[number::workers]) - self._taken[number]) % _WORD
            for number in range(workers)
            if now - self._seen[number] <= SEEN_S
        }

    def seen(self, number: int) -> None:
        """The worker is there."""
        self._seen[number] = int(time.monotonic())

    def away(self, number: int) -> None:
        """The worker is not there."""
        self._seen[number] = 0

    def has(self, number: int, connections: int) -> None:
        """The worker has so many."""
        self._open[number] = connections

    def handed(self, by: int, to: int, count: int = 1) -> None:
        """A connection is on its way; -1: it is not."""
        at = by * self._workers + to
        self._handed[at] = (self._handed[at] + count) % _WORD

    def taken(self, number: int) -> None:
        """One of those on their way is the worker's now."""
        self._taken[number] = (self._taken[number] + 1) % _WORD


@dataclass(frozen=True, slots=True)
class Door:
    """Where a worker takes connections in: the end it reads, and the one to which others write."""

    inside: socket.socket
    outside: socket.socket


class Doors:
    """All workers' doors and the board, made by the parent. What waits at the door of a worker that died is taken in
    by the one that is started in its place.
    """

    def __init__(self, file: int, doors: Sequence[Door]) -> None:
        self._file = file
        self.doors = tuple(doors)
        self.board = Board(file, len(self.doors))

    @classmethod
    def made(cls, workers: int) -> "Doors":
        """New ones.

        Raises:
            OSError: the system has none left.
        """
        with tempfile.TemporaryFile() as shared:
            shared.truncate(Board.size(workers))
            file = os.dup(shared.fileno())
        doors = [Door(*socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(workers)]
        for door in doors:
            door.inside.setblocking(False)
            door.outside.setblocking(False)
        return cls(file, doors)

    @classmethod
    def inherited(cls, environ: Mapping[str, str]) -> "Doors | None":
        """The parent's; None in a process that has none."""
        if not (said := environ.get(VARIABLE, "")):
            return None
        file, *rest = numbers = [int(number) for number in said.split(",")]
        for number in numbers:
            os.set_inheritable(number, False)
        ends = [socket.socket(fileno=number) for number in rest]
        return cls(file, [Door(*pair) for pair in zip(ends[::2], ends[1::2], strict=True)])

    def close(self) -> None:
        """Of this process; those of others stay open."""
        for door in self.doors:
            door.inside.close()
            door.outside.close()
        os.close(self._file)

    @property
    def descriptors(self) -> list[int]:
        """What a worker inherits."""
        return [self._file, *(end.fileno() for door in self.doors for end in (door.inside, door.outside))]

    @property
    def environment(self) -> dict[str, str]:
        """What a worker is told of them; see `inherited`."""
        return {VARIABLE: ",".join(map(str, self.descriptors))}


# What came in: how it speaks, as `Gathering.gives` was told, and the socket.
TakeIn = Callable[[bytes, socket.socket], None]


class Gathering:
    """The doors as one worker uses them, from its event loop; without doors, of a process that is alone."""

    def __init__(self, doors: Doors | None, number: int) -> None:
        self._doors = doors
        self._number = number
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, take_in: TakeIn) -> None:
        """From now on connections come. Whoever takes one in calls `taken`."""
        if self._doors is None:
            return
        self._take_in = take_in
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._doors.doors[self._number].inside, self._come)
        self._doors.board.has(self._number, 0)
        self.beat()

    def close(self) -> None:
        """Nothing more comes. What is at the door stays there, for the worker that is started in this one's place."""
        if self._doors is not None and self._loop is not None:
            self._doors.board.away(self._number)
            self._loop.remove_reader(self._doors.doors[self._number].inside)
            self._loop = None

    def beat(self) -> None:
        """This worker is there; to be called more often than every SEEN_S seconds."""
        if self._doors is not None and self._loop is not None:
            self._doors.board.seen(self._number)

    def has(self, connections: int) -> None:
        """This worker has so many."""
        if self._doors is not None:
            self._doors.board.has(self._number, connections)

    def taken(self) -> None:
        """What came in is counted by `has` from now on, or is over."""
        if self._doors is not None:
            self._doors.board.taken(self._number)

    def gives(self, kind: bytes, connection: int, gather: int) -> bool:
        """Whether the connection, a descriptor, was given to another worker: close it then. `kind` is one byte."""
        if self._doors is None or gather <= 0:
            return False
        board, mine = self._doors.board, self._number
        if (to := chosen(board.connections(), mine, gather)) == mine:
            return False
        board.handed(mine, to)
        try:
            socket.send_fds(self._doors.doors[to].outside, [kind], [connection])
        except OSError:
            # Too many wait at its door.
            board.handed(mine, to, -1)
            return False
        return True

    def _come(self) -> None:
        assert self._doors is not None
        inside = self._doors.doors[self._number].inside
        for _ in range(AT_ONCE):
            try:
                kind, descriptors, _, _ = socket.recv_fds(inside, 1, 1)
            except OSError:
                return
            if descriptors:
                self._take_in(kind, socket.socket(fileno=descriptors[0]))
            else:
                # The system closed it: too many files are open here.
                self.taken()
