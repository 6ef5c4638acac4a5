"""The engine in a process of its own beside Faust: each has an interpreter to itself, so that the next records
are read while these are written.

Both ends of the pipe are here. A request is `(kind, number, content)`, its answer `(number, outcome, content)`.
Records are handed over without waiting for their commit, as far as `HELD_RECORDS` and `HELD_BYTES` allow: the
ledger says what was applied, so what a crash of either process takes with it is read again.
"""

import ctypes
import gc
import itertools
import logging
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any

from dosestream.kafka.records import Partition, Record
from services.reconciler.engine import Engine, Read, StoppingError

log = logging.getLogger("dosestream.reconciler")

# Handed over and not yet committed: a transaction, and what waits for the next one.
HELD_RECORDS = 4000
HELD_BYTES = 64 * 1024 * 1024
# In one transaction, when so many wait.
TOGETHER_RECORDS = 2000
TOGETHER_BYTES = 32 * 1024 * 1024
CLOSE_S = 10.0
PR_SET_PDEATHSIG = 1
# Forked before anything has started a thread: the arguments stay those of the service, by which it is found.
FORK = get_context("fork")

Request = tuple[str, int, Any]
# Offsets and values by topic and partition.
ByPartition = dict[tuple[str, int], list[tuple[int, bytes | None]]]


class EngineGoneError(Exception):
    """The engine's process ended: the service ends too and is started again; the ledger says where it was."""


class EngineError(Exception):
    """The engine could not do what was asked; its log says why."""


@dataclass(slots=True)
class _Held:
    answer: Future[Any]
    records: int
    size: int


@dataclass(slots=True)
class EngineProcess:
    """The engine as the service sees it.

    Attributes:
        gone: called once, on a thread of its own, when the process ended unasked.
        stopping: set by `close`.
    """

    make: Callable[[], Engine]
    gone: Callable[[], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    _pipe: Connection | None = None
    _process: Any = None
    _numbers: Any = field(default_factory=itertools.count)
    _answers: dict[int, Future[Any]] = field(default_factory=dict)
    _held: deque[_Held] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def launch(self) -> None:
        """Start the process; no thread may have been started before."""
        ours, theirs = FORK.Pipe()
        self._process = FORK.Process(
            target=_serve, args=(self.make, theirs, ours, os.getpid()), name="engine", daemon=True
        )
        self._process.start()
        theirs.close()
        self._pipe = ours
        threading.Thread(target=self._listen, name="engine-answers", daemon=True).start()

    def ask(self, kind: str, content: object = None) -> Future[Any]:
        """Send a request; `start`, `positions` and `housekeep` are answered with the ledger's positions.

        Its result raises StoppingError, EngineGoneError, or EngineError.
        """
        answer: Future[Any] = Future()
        # Sent whole and in the order of the numbers, whoever asks.
        with self._lock:
            number = next(self._numbers)
            self._answers[number] = answer
            try:
                assert self._pipe is not None
                self._pipe.send_bytes(pickle.dumps((kind, number, content), protocol=5))
            except OSError:
                self._answers.pop(number, None)
                answer.set_exception(EngineGoneError())
        return answer

    def positions(self) -> dict[Partition, int]:
        """Next offset by partition, as the ledger says; waits for a database that is away."""
        found: dict[Partition, int] = self.ask("positions").result()
        return found

    def housekeep(self, assigned: Sequence[Partition]) -> dict[Partition, int]:
        """`Engine.housekeep` of what the consumer has assigned."""
        found: dict[Partition, int] = self.ask("housekeep", assigned).result()
        return found

    def hand_over(self, records: Sequence[tuple[str, int, int, bytes | None]]) -> None:
        """Give the engine records to apply: topic, partition, offset, value. Waits while it holds too many already.

        Raises:
            StoppingError, EngineGoneError: not all that was handed over before may have been applied.
        """
        size = 0
        by_partition: ByPartition = {}
        for topic, number, offset, value in records:
            size += len(value or b"")
            by_partition.setdefault((topic, number), []).append((offset, value))
        while self._held and (
            self._held[0].answer.done()
            or sum(held.records for held in self._held) + len(records) > HELD_RECORDS
            or sum(held.size for held in self._held) + size > HELD_BYTES
        ):
            self._held.popleft().answer.result()
        self._held.append(_Held(self.ask("records", by_partition), len(records), size))

    def close(self) -> None:
        """Let it finish the transaction at hand, and end it."""
        self.stopping.set()
        if self._process is None:
            return
        self.ask("close")
        self._process.join(CLOSE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _listen(self) -> None:
        assert self._pipe is not None
        try:
            while True:
                number, outcome, content = pickle.loads(self._pipe.recv_bytes())
                answer = self._answers.pop(number)
                if outcome == "done":
                    answer.set_result(content)
                else:
                    answer.set_exception(StoppingError() if outcome == "stopping" else EngineError(content))
        except (EOFError, OSError):
            with self._lock:
                left = list(self._answers.values())
                self._answers.clear()
            error = StoppingError if self.stopping.is_set() else EngineGoneError
            for answer in left:
                answer.set_exception(error())
            if not self.stopping.is_set():
                log.critical("the engine's process ended: starting again")
                self.gone()


def _serve(make: Callable[[], Engine], pipe: Connection, theirs: Connection, parent: int) -> None:
    """What the engine's process does until it is closed or the service's process is gone."""
    theirs.close()
    die_with(parent)
    # Ctrl-C reaches both processes: the service's closes this one in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting: SimpleQueue[Request] = SimpleQueue()
    engine = make()
    signal.signal(signal.SIGTERM, lambda *_: _end(engine, waiting))
    # A transaction that waits for the server leaves its time to decoding, and gets it back soon.
    sys.setswitchinterval(0.001)
    # Events and rows are trees: there are no circles to look for among the many that live for one batch.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    threading.Thread(target=_receive, args=(engine, pipe, waiting), name="receive", daemon=True).start()
    try:
        _work(engine, pipe, waiting)
    except OSError:
        log.info("the service's process is gone")
    finally:
        engine.close()
        pipe.close()


def die_with(parent: int) -> None:
    """Let the system end this process with the one that made it, also where that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _end(engine: Engine, waiting: SimpleQueue[Request]) -> None:
    engine.stopping.set()
    waiting.put(("close", -1, None))


def _receive(engine: Engine, pipe: Connection, waiting: SimpleQueue[Request]) -> None:
    """Decode what comes while the main thread waits for the server."""
    try:
        while True:
            kind, number, content = pickle.loads(pipe.recv_bytes())
            if kind == "close":
                break
            if kind == "records":
                content = _read(engine, content)
            waiting.put((kind, number, content))
    except (EOFError, OSError):
        log.info("the service's process is gone")
    _end(engine, waiting)


def _read(engine: Engine, by_partition: ByPartition) -> Read:
    try:
        return engine.read(
            Record(where, offset, value)
            for partition, records in by_partition.items()
            for where in (Partition(*partition),)
            for offset, value in records
        )
    except Exception:
        # The next batch meets the hole and reads them again.
        log.exception("records not read; they are read again from the ledger")
        return Read()


def _work(engine: Engine, pipe: Connection, waiting: SimpleQueue[Request]) -> None:
    """Answer requests in order; records that wait together are applied together."""
    ahead: deque[Request] = deque()
    while True:
        request = _next(ahead, waiting)
        if request is None:
            if engine.owing and _do(engine, [("drain", -1, None)])[0] == "done":
                continue
            request = waiting.get()
        if request[0] == "close" or engine.stopping.is_set():
            return
        together = [request]
        if request[0] == "records":
            records, size = len(request[2].batch), request[2].size
            while (following := _next(ahead, waiting)) is not None:
                if (
                    following[0] != "records"
                    or records + len(following[2].batch) > TOGETHER_RECORDS
                    or size + following[2].size > TOGETHER_BYTES
                ):
                    ahead.appendleft(following)
                    break
                records, size = records + len(following[2].batch), size + following[2].size
                together.append(following)
        outcome, content = _do(engine, together)
        for _, number, _ in together:
            pipe.send_bytes(pickle.dumps((number, outcome, content), protocol=5))


def _next(ahead: deque[Request], waiting: SimpleQueue[Request]) -> Request | None:
    if ahead:
        return ahead.popleft()
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def _do(engine: Engine, together: Sequence[Request]) -> tuple[str, object]:
    kind = together[0][0]
    try:
        return "done", DOES[kind](engine, [content for _, _, content in together])
    except StoppingError:
        return "stopping", None
    except Exception as error:
        log.exception("%s: not done%s", kind, "; read again from the ledger" if kind == "records" else "")
        # Nothing of a batch that failed is lost: the ledger stands before it.
        return ("done", None) if kind == "records" else ("failed", repr(error))


def _apply(engine: Engine, contents: Iterable[Read]) -> None:
    engine.apply_read(Read.joined(contents))


def _start(engine: Engine, _: object) -> None:
    engine.start()


def _positions(engine: Engine, _: object) -> dict[Partition, int]:
    return engine.positions()


def _drain(engine: Engine, _: object) -> None:
    engine.drain()


def _housekeep(engine: Engine, contents: Sequence[Sequence[Partition]]) -> dict[Partition, int]:
    return engine.housekeep(contents[0])


DOES: dict[str, Callable[[Engine, Any], object]] = {
    "records": _apply,
    "start": _start,
    "positions": _positions,
    "drain": _drain,
    "housekeep": _housekeep,
}
