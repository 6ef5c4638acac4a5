"""Speed of a rebuild in bulk: events per second, by stage, memory, and the CPU time of an event by process.

    python bench/replay.py [--from normalised|raw] [--events 100000,1000000] [--workers 2]

Starts a broker and a PostgreSQL of its own, fills the topics with a live-ordered stream (from raw: with the messages and
dose reports of the simulated hospital), and builds a generation from them for each number of events. What machines
differ in cancels in the ratios: the cost of an event at one size against that at another, and the CPU time of all
processes beside what passed by the clock.
"""

import argparse
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import psycopg
from confluent_kafka import Producer

sys.path.insert(0, str(Path(__file__).parent))
from stream import CODEC, Stream

from dosestream.cli import remap
from dosestream.db.generations import Generation, Origin, migrate_tables
from dosestream.db.migrate import migrate
from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.embedded.process import Process
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.kafka.client import producer_config
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings, PostgresSettings, Settings
from dosestream.simulate.history import history
from dosestream.simulate.stored import stored
from dosestream.simulate.timeline import HL7
from services.reconciler.replay.build import build
from services.reconciler.replay.plan import BuildPlan, Built
from services.reconciler.replay.run import capture

# Patients come and go: so many are there at a time, and of each so many messages.
AT_A_TIME, EVENTS_A_PATIENT = 20_000, 25
PAGE_BYTES, TICK_S = os.sysconf("SC_PAGE_SIZE"), 1 / os.sysconf("SC_CLK_TCK")
# Of the simulated hospital.
STUDIES_A_DAY = 600
PATIENT = re.compile(rb"\rPID\|[^|]*\|[^|]*\|([^|^~\r]*)")
Said = Iterable[tuple[Topic, bytes, bytes]]


@contextmanager
def servers(folder: Path) -> Iterator[tuple[KafkaSettings, EmbeddedPostgres, EmbeddedKafka]]:
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
        yield kafka, postgres, broker
    finally:
        postgres.stop()
        broker.stop()


class Years(Stream):
    """A stream of any length whose every stretch is like every other."""

    def _someone(self) -> int:
        return self._number // EVENTS_A_PATIENT + self._rng.randrange(AT_A_TIME)


def events() -> Said:
    """Normalised events without end: topic, key and value of each."""
    stream = Years(seed=9)
    while True:
        for topic, event in stream.events(1000):
            patient = event.patient
            key = b"" if patient is None else patient.identifiers[0].value.encode()
            yield topic, key, CODEC.encode(event)


def messages() -> Said:
    """Raw messages without end, as ingest and arrivals store them, a hospital's day after the other."""
    settings = Settings()
    for nth in count():
        day = date(2026, 3, 14) + timedelta(days=nth)
        for step in history(nth, day, days=1, sites=1, studies_a_day=STUDIES_A_DAY).timeline:
            found = PATIENT.search(step.body) if step.channel == HL7 else None
            key = step.name.encode() if found is None else found[1]
            topic, raw = stored(step, settings)
            yield topic, key, CODEC.encode(raw)


class Publisher:
    """Fills the topics with what is said, further and further."""

    def __init__(self, kafka: KafkaSettings, said: Said) -> None:
        self._said = iter(said)
        self._producer = Producer(
            producer_config(kafka, linger_ms=50, delivery_timeout_ms=120_000)
            # The broker ends before its client does.
            | {"queue.buffering.max.messages": 200_000, "log_level": 0}
        )
        self._count = 0

    def fill(self, wanted: int) -> None:
        """Publish until there are so many records."""
        for topic, key, value in islice(self._said, wanted - self._count):
            while True:
                try:
                    self._producer.produce(str(topic), value, key)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.flush()
        self._producer.poll(0)
        self._count = wanted


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


def cpu_s(process: Process | None) -> float:
    """CPU seconds of a server and its children, also those that are gone."""
    assert process is not None
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15]))
    for entry in Path("/proc").iterdir():
        try:
            other = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:
            continue
        if other and int(other[1]) == process.pid:
            own += sum(map(int, other[11:13]))
    return own * TICK_S


class Cost(NamedTuple):
    """Seconds by the clock, CPU seconds of the servers, and the most memory of our processes, in bytes."""

    wall_s: float
    postgres_s: float
    kafka_s: float
    memory: int


def measure(
    kafka: KafkaSettings,
    url: str,
    origin: Origin,
    work: Path,
    workers: int,
    postgres: EmbeddedPostgres,
    broker: EmbeddedKafka,
) -> tuple[Built, Cost]:
    """Build a generation of everything that is there; what it left, and what it cost."""
    settings = Settings(kafka=kafka, postgres=PostgresSettings(url=url))
    migrate(url)
    with psycopg.connect(url) as connection:
        migrate_tables(connection, Generation(2))
    captured = capture(settings, origin)
    plan = BuildPlan(
        Generation(2),
        captured.stops,
        work,
        workers=workers,
        ledger=captured.ledger,
        reading=remap.reading if origin is Origin.RAW else None,
    )
    begun, servers_s = time.perf_counter(), (cpu_s(postgres.process), cpu_s(broker.process))
    with Memory() as memory:
        built = build(settings, plan, lambda _: None)
    wall = time.perf_counter() - begun
    return built, Cost(
        wall, cpu_s(postgres.process) - servers_s[0], cpu_s(broker.process) - servers_s[1], memory.most
    )


def tell(built: Built, found: Cost) -> float:
    """Print what a build cost; returns microseconds of CPU time an event of all processes."""
    events, wall = built.events, found.wall_s
    ours = sum(cost.cpu_s for cost in built.costs.values())
    cpu = ours + found.postgres_s + found.kafka_s
    print(
        f"{events:,} events ({built.facts:,} facts, {built.groups:,} groups, {built.patients:,} patients): "
        f"{events / wall:,.0f} events/s, {wall:.1f} s; most memory {found.memory / 2**20:,.0f} MB\n"
        f"  CPU us an event: ours {ours / events * 1e6:.1f}, PostgreSQL {found.postgres_s / events * 1e6:.1f}, "
        f"Kafka {found.kafka_s / events * 1e6:.1f}; {cpu / wall:.2f} processors were busy with it, "
        f"two that do nothing else: {2 * events / cpu:,.0f} events/s"
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
    parser.add_argument("--from", dest="origin", type=Origin, choices=list(Origin), default=Origin.NORMALISED)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.events.split(","))
    costs: dict[int, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as name, servers(Path(name)) as (kafka, postgres, broker):
        publisher = Publisher(kafka, messages() if arguments.origin is Origin.RAW else events())
        for size in sizes:
            publisher.fill(size)
            postgres.make_database(f"bench_{size}")
            url = postgres.url(f"bench_{size}")
            work = Path(name) / f"work-{size}"
            built, found = measure(kafka, url, arguments.origin, work, arguments.workers, postgres, broker)
            costs[size] = found.wall_s / built.events, tell(built, found)
    least = sizes[0]
    for size in sizes[1:]:
        wall, cpu = (costs[size][n] / costs[least][n] for n in (0, 1))
        print(f"an event of {size:,} against one of {least:,}: {wall:.2f} in time, {cpu:.2f} in CPU time")


if __name__ == "__main__":
    main()
