"""Speed of a rebuild in bulk from the normalised topics: events per second, by stage, and memory.

    python bench/replay.py [--events 100000,1000000] [--workers 2]

Starts a broker and a PostgreSQL of its own, fills the topics with a live-ordered stream, and builds a generation from
them for each number of events. What machines differ in cancels in the ratios: the cost of an event at one size against
that at another, and the CPU time of our processes beside what passed by the clock.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from confluent_kafka import Producer

sys.path.insert(0, str(Path(__file__).parent))
from stream import CODEC, Stream

from dosestream.db.generations import Generation, migrate_tables
from dosestream.db.migrate import migrate
from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.kafka.client import producer_config
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import FACTS
from dosestream.settings import KafkaSettings, PostgresSettings, Settings
from services.reconciler.replay.build import build
from services.reconciler.replay.plan import BuildPlan, Built

# Patients come and go: so many are there at a time, and of each so many messages.
AT_A_TIME, EVENTS_A_PATIENT = 20_000, 25
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def servers(folder: Path) -> Iterator[tuple[KafkaSettings, EmbeddedPostgres]]:
    """A broker with all topics, and a server for databases."""
    taken: set[int] = set()
    broker = EmbeddedKafka(folder / "kafka", KafkaSettings(), ports.free(taken), ports.free(taken))
    postgres = EmbeddedPostgres(folder / "cluster", ports.free(taken), "bench")
    for server in (broker, postgres):
        server.prepare()
        server.launch()
    try:
        broker.wait_ready()
        postgres.wait_ready()
        kafka = broker.client_settings()
        create_topics(kafka, site=False)
        publish_schemas(kafka)
        yield kafka, postgres
    finally:
        postgres.stop()
        broker.stop()


class Years(Stream):
    """A stream of any length whose every stretch is like every other."""

    def _someone(self) -> int:
        return self._number // EVENTS_A_PATIENT + self._rng.randrange(AT_A_TIME)


class Publisher:
    """Fills the topics from one stream, further and further."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._stream = Years(seed=9)
        self._producer = Producer(
            producer_config(kafka, linger_ms=50, delivery_timeout_ms=120_000)
            # The broker ends before its client does.
            | {"queue.buffering.max.messages": 200_000, "log_level": 0}
        )
        self._count = 0

    def fill(self, count: int) -> None:
        """Publish until there are so many events."""
        for topic, event in self._stream.events(count - self._count):
            patient = event.patient
            key = b"" if patient is None else patient.identifiers[0].value.encode()
            while True:
                try:
                    self._producer.produce(str(topic), CODEC.encode(event), key)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.flush()
        self._producer.poll(0)
        self._count = count


class Memory:
    """The most memory this process and its children had together, looked at ten times a second."""

    def __init__(self) -> None:
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            pids = [os.getpid(), *_children()]
            self.most = max(self.most, sum(map(_resident, pids)))


def _children() -> list[int]:
    """Our own worker processes: the servers are children too, and not counted."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "stat").read_text() if entry.name.isdigit() else ""
            ours = bool(status) and int(status.rpartition(")")[2].split()[1]) == os.getpid()
            if ours and b"multiprocessing" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def measure(kafka: KafkaSettings, url: str, work: Path, workers: int) -> tuple[Built, float, int]:
    """Build a generation of everything that is there; what it left, seconds, and the most memory."""
    settings = Settings(kafka=kafka, postgres=PostgresSettings(url=url))
    migrate(url)
    with psycopg.connect(url) as connection:
        migrate_tables(connection, Generation(2))
    reader = PartitionReader(kafka)
    stops: dict[Partition, int] = {p: reader.watermarks(p)[1] for t in FACTS for p in reader.partitions(t)}
    reader.close()
    begun = time.perf_counter()
    with Memory() as memory:
        built = build(settings, BuildPlan(Generation(2), stops, work, workers=workers), lambda _: None)
    return built, time.perf_counter() - begun, memory.most


def tell(built: Built, wall: float, most: int) -> float:
    """Print what a build cost; returns microseconds of CPU time an event."""
    events = built.events
    cpu = sum(cost.cpu_s for cost in built.costs.values())
    print(
        f"{events:,} events ({built.facts:,} facts, {built.groups:,} groups, {built.patients:,} patients): "
        f"{events / wall:,.0f} events/s, {wall:.1f} s; our CPU {cpu / events * 1e6:.1f} us an event; "
        f"most memory {most / 2**20:,.0f} MB"
    )
    for stage, cost in built.costs.items():
        print(
            f"  {stage:9} {cost.wall_s:7.1f} s  {events / cost.wall_s:10,.0f} events/s  "
            f"CPU {cost.cpu_s / events * 1e6:5.1f} us an event"
        )
    return cpu / events * 1e6


def main() -> None:
    """Build for each number of events, the topics growing from one to the next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", default="100000,1000000", help="numbers of events (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.events.split(","))
    costs: dict[int, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as name, servers(Path(name)) as (kafka, postgres):
        publisher = Publisher(kafka)
        for size in sizes:
            publisher.fill(size)
            postgres.make_database(f"bench_{size}")
            url = postgres.url(f"bench_{size}")
            built, wall, most = measure(kafka, url, Path(name) / f"work-{size}", arguments.workers)
            costs[size] = wall / built.events, tell(built, wall, most)
    least = sizes[0]
    for size in sizes[1:]:
        wall, cpu = (costs[size][n] / costs[least][n] for n in (0, 1))
        print(f"an event of {size:,} against one of {least:,}: {wall:.2f} in time, {cpu:.2f} in CPU time")


if __name__ == "__main__":
    main()
