"""Processes that do a build's tasks, and tell how far they are and what it cost."""

import gc
import os
import queue
import resource
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import psycopg

from dosestream.db.bulk import work_on
from dosestream.reconcile.rules import Rules, rules_from
from dosestream.settings import Settings
from services.reconciler.apart import die_with
from services.reconciler.replay.plan import BuildError, BuildPlan

Row = tuple[object, ...]
P = ParamSpec("P")
T = TypeVar("T")
TOLD_S = 0.2


class Bench(NamedTuple):
    """What a worker has at hand for its tasks; `told` hears how much of a task is done."""

    settings: Settings
    plan: BuildPlan
    rules: Rules
    connection: psycopg.Connection[Row]
    told: Callable[[int], None]


class Cost(NamedTuple):
    """CPU seconds that tasks took in their processes, and the most memory one of them ever had, in bytes."""

    cpu_s: float = 0.0
    memory: int = 0

    def and_(self, other: "Cost") -> "Cost":
        """Both."""
        return Cost(self.cpu_s + other.cpu_s, max(self.memory, other.memory))


def memory() -> int:
    """The most memory this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def application_name(plan: BuildPlan) -> str:
    """What connections of a build are called on the server."""
    return f"dosestream-build-{plan.generation.number}"


def connect(settings: Settings, plan: BuildPlan) -> psycopg.Connection[Row]:
    """A connection that works on the generation. What it commits may be lost to a crash of the server, as all that the
    build wrote since its last stage is then done again."""
    connection = psycopg.connect(
        settings.postgres.url,
        autocommit=True,
        application_name=application_name(plan),
        options="-c synchronous_commit=off",
    )
    with connection.cursor() as cursor:
        work_on(cursor, plan.generation)
    return connection


# What this process has, where it is a worker.
_bench: list[Bench] = []


def _begin(settings: Settings, plan: BuildPlan, said: Any, parent: int) -> None:
    die_with(parent)
    # What a task holds are trees: there are no circles to look for.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    _bench.append(Bench(settings, plan, rules_from(settings), connect(settings, plan), said.put))


def _do(task: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[T, Cost]:
    begun = time.process_time()
    result = task(_bench[0], *arguments)
    return result, Cost(time.process_time() - begun, memory())


class Workers:
    """Some processes; `all` gives them tasks."""

    def __init__(self, settings: Settings, plan: BuildPlan) -> None:
        context = get_context("spawn")
        self._said: Any = context.Queue()
        self._pool = ProcessPoolExecutor(
            plan.workers, context, _begin, (settings, plan, self._said, os.getpid())
        )
        self.cost = Cost()

    def all(
        self,
        task: Callable[Concatenate[Bench, P], T],
        arguments: Sequence[tuple[Any, ...]],
        told: Callable[[int], None] = lambda _: None,
    ) -> list[T]:
        """The result of a task with each of these arguments, in their order; `told` hears what workers tell.

        Raises:
            BuildError: of a task, or a worker ended.
        """
        found = []
        try:
            futures = [self._pool.submit(_do, task, one) for one in arguments]
            with _heard(self._said, told):
                for future in futures:
                    result, cost = future.result()
                    self.cost = self.cost.and_(cost)
                    found.append(result)
        except BrokenProcessPool as gone:
            raise BuildError("a worker process was ended, for want of memory perhaps: build again") from gone
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return found

    def close(self) -> None:
        """End the processes, when their tasks are done."""
        self._pool.shutdown(cancel_futures=True)
        self._said.close()


@contextmanager
def _heard(said: Any, told: Callable[[int], None]) -> Iterator[None]:
    """What workers tell is passed on, by a thread of its own."""
    over = threading.Event()

    def listen() -> None:
        while True:
            try:
                told(said.get(timeout=TOLD_S))
            except queue.Empty:
                if over.is_set():
                    return

    listener = threading.Thread(target=listen, name="progress", daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()
        listener.join()
