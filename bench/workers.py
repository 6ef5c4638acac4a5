"""Two workers against one on the same history: throughput, and how many transactions had to begin again.

    python bench/workers.py [--events 10000]

Workers are processes over one database; each has half of the partitions, as two reconcilers would. One
accession is shared by many orders and reports of all patients, so both reach for its rows all the time.
"""

import argparse
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count as numbers
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).parent))
from reconcile import databases
from stream import CODEC, Said, Stream

from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.ledger import begin
from dosestream.db.records import decode
from dosestream.events.records import Order, Study
from dosestream.kafka.records import Partition, Record
from dosestream.reconcile.rules import Rules

RULES = Rules()
PARTITIONS = 4
# Events in a batch: of a backlog, and of a busy feed.
BATCHES = (500, 50)
# One visit in so many has the shared accession.
SHARED = 50
CONTEXT = get_context("spawn")


@dataclass(frozen=True, slots=True)
class Done:
    """What one worker did; times in seconds of the machine's monotonic clock."""

    begun: float
    ended: float
    events: int
    transactions: int
    restarts: int


def history(count: int) -> Iterator[Said]:
    """The live mix with a shared accession."""
    for topic, event in Stream(seed=6).events(count):
        if isinstance(event, Order | Study) and event.accession_number:
            shared = zlib.crc32(event.accession_number.encode()) % SHARED == 0
            yield topic, replace(event, accession_number="SHARED") if shared else event
        else:
            yield topic, event


def by_patient(index: int, said: Said) -> int:
    """As in service: all a patient's events on partitions of one number."""
    patient = said[1].patient
    assert patient is not None
    return zlib.crc32(patient.identifiers[0].value.encode()) % PARTITIONS


def by_turns(index: int, said: Said) -> int:
    """The worst case: the order and the report of one visit on different workers at the same moment."""
    return index % PARTITIONS


def records(said: Sequence[Said], number_of: Callable[[int, Said], int]) -> list[Record]:
    """Records on the partitions that `number_of` says."""
    offsets: dict[Partition, Iterator[int]] = {}
    found = []
    for index, one in enumerate(said):
        partition = Partition(str(one[0]), number_of(index, one))
        offset = next(offsets.setdefault(partition, numbers()))
        found.append(Record(partition, offset, CODEC.encode(one[1])))
    return found


def work(url: str, mine: Sequence[Record], size: int, together: Any, done: Any) -> None:
    """Apply in batches, as the service does; decoding included."""
    transactions = restarts = events = 0

    def restarted() -> None:
        nonlocal restarts
        restarts += 1

    with psycopg.connect(url, autocommit=True) as connection:
        together.wait(60)
        begun = time.monotonic()
        for start in range(0, len(mine), size):
            decoded, stopped = decode(CODEC, mine[start : start + size])
            assert not stopped
            applied = apply(connection, CODEC, RULES, decoded)
            again = derive_dirty(connection, CODEC, RULES, restarted=restarted)
            events += applied.events
            restarts += applied.restarts
            transactions += 1 + (again > 0)
        while derive_dirty(connection, CODEC, RULES, restarted=restarted):
            transactions += 1
        done.put(Done(begun, time.monotonic(), events, transactions, restarts))


def measure(url: str, history: Sequence[Record], size: int, workers: int) -> tuple[float, float]:
    """Events per second, and restarts as a share of all transactions begun."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        enter_live_generation(cursor)
        begin(cursor, dict.fromkeys((record.partition for record in history), 0))
    together, queue = CONTEXT.Barrier(workers), CONTEXT.Queue()
    halves = [[r for r in history if r.partition.number % workers == worker] for worker in range(workers)]
    processes = [CONTEXT.Process(target=work, args=(url, half, size, together, queue)) for half in halves]
    for process in processes:
        process.start()
    done: list[Done] = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sum(one.events for one in done) == len(history)
    spent = max(one.ended for one in done) - min(one.begun for one in done)
    restarts = sum(one.restarts for one in done)
    return len(history) / spent, restarts / (restarts + sum(one.transactions for one in done))


def main() -> None:
    """Measure both ways of spreading the events over the partitions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000, help="in the history (default %(default)s)")
    chosen = parser.parse_args()
    said = list(history(chosen.events))
    hot = sum(isinstance(e, Order | Study) and e.accession_number == "SHARED" for _, e in said)
    print(f"{chosen.events:,} events, {hot} of them with the one shared accession")
    with databases() as make:
        for (name, number_of), size in product(SPREADS.items(), BATCHES):
            feed = records(said, number_of)
            (one, _), (two, share) = (measure(make(), feed, size, workers) for workers in (1, 2))
            print(
                f"{name}, batches of {size}: one worker {one:,.0f} events/s, two {two:,.0f}, "
                f"ratio {two / one:.2f} (aim: 1 or more); restarts {share:.1%} (aim: under 2 %)"
            )


SPREADS = {"partitions by patient": by_patient, "partitions by turns": by_turns}

if __name__ == "__main__":
    main()
