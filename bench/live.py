"""The live path, from a backlog in Kafka to committed rows, as a ratio to Faust's bare reading of it.

    python bench/live.py [--events 20000]

Starts a broker and a PostgreSQL of its own and fills the topics with the live mix. `dosestream reconciler`
reads them as in service; a Faust agent with the same consumer, seek and batches reads them and does nothing
else, before and after it. Events of the first batch are not counted: its end is when the clock starts.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import faust
import psycopg
from confluent_kafka import Producer

sys.path.insert(0, str(Path(__file__).parent))
from reconcile import databases
from stream import CODEC, Stream

from dosestream import ready, settings
from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.embedded.process import Process, last_words, spawn, stop, wrapped
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.kafka.client import producer_config
from dosestream.settings import KafkaSettings
from services.reconciler.shell import BATCH, WITHIN_S, subscribe

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 60.0
# Seconds since 1970 and how many events were through by then, ascending.
Progress = Sequence[tuple[float, int]]


def rate(progress: Progress) -> float:
    """Events per second between the end of the first batch and the end of the last."""
    (begun, first), (ended, last) = progress[0], progress[-1]
    return (last - first) / (ended - begun)


def bare(kafka: KafkaSettings, group: str, count: int, result: Path) -> None:
    """Read at least so many records and write `Progress` to the file; then wait to be ended."""
    progress: list[tuple[float, int]] = []
    app, topic = subscribe(kafka, group, group, dict, lambda: None)

    @app.agent(topic, name="facts", concurrency=1)  # type: ignore[untyped-decorator]
    async def facts(stream: Any) -> None:
        seen = 0
        async for events in stream.noack_take(BATCH, within=WITHIN_S):
            seen += len(events)
            progress.append((time.time(), seen))
            if seen >= count and not result.exists():
                ready.write(result, {"progress": progress})

    faust.Worker(
        app, loglevel="ERROR", redirect_stdouts=False, override_logging=False, quiet=True
    ).execute_from_commandline()


@contextmanager
def broker(folder: Path) -> Iterator[KafkaSettings]:
    """A broker of its own with every topic and schema."""
    taken: set[int] = set()
    server = EmbeddedKafka(folder, KafkaSettings(), ports.free(taken), ports.free(taken))
    server.prepare()
    server.launch()
    try:
        server.wait_ready()
        create_topics(server.client_settings(), site=False)
        publish_schemas(server.client_settings())
        yield server.client_settings()
    finally:
        server.stop()


def fill(kafka: KafkaSettings, count: int) -> None:
    """Events of the live mix, keyed by patient as in service."""
    failed: list[str] = []
    producer = Producer(producer_config(kafka, linger_ms=20.0, delivery_timeout_ms=30_000))
    for topic, event in Stream(seed=5).events(count):
        assert event.patient is not None
        producer.produce(
            str(topic),
            key=event.patient.identifiers[0].value.encode(),
            value=CODEC.encode(event),
            on_delivery=lambda error, _message: failed.append(str(error)) if error else None,
        )
    assert not producer.flush(30) and not failed, failed[:1]


@contextmanager
def child(folder: Path, name: str, command: Sequence[str], env: Mapping[str, str]) -> Iterator[Process]:
    """A process of this checkout, ended afterwards."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    place = {"PYTHONPATH": path, "FAUST_DATADIR": str(folder / f"{name}-faust")}
    process = spawn(wrapped(command), folder / f"{name}.log", {**os.environ, **place, **env})
    try:
        yield process
    finally:
        stop(process)


def wait_until(true: Callable[[], bool], process: Process, log: Path) -> None:
    """Look until it is true, as long as the process lives."""
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert process.poll() is None, f"ended early: {last_words(log)}"
        assert time.monotonic() < deadline, f"not done in {TIMEOUT_S:.0f} s: {last_words(log)}"
        time.sleep(0.1)


def measure_bare(folder: Path, kafka: KafkaSettings, group: str, count: int) -> float:
    """Events per second of an agent that does nothing."""
    result = folder / f"{group}.json"
    command = [sys.executable, str(Path(__file__).resolve()), "--events", str(count), "--bare", str(result)]
    with child(folder, group, command, {"DOSESTREAM_KAFKA": kafka.bootstrap}) as process:
        wait_until(result.exists, process, folder / f"{group}.log")
    return rate(json.loads(result.read_text())["progress"])


def measure_live(folder: Path, kafka: KafkaSettings, url: str, count: int) -> float:
    """Events per second of the reconciler, by the commit timestamps of the rows of its message index."""
    command = [sys.executable, str(Path(sys.executable).with_name("dosestream")), "reconciler"]
    env = {"DOSESTREAM_KAFKA": kafka.bootstrap, "DOSESTREAM_POSTGRES": url}
    with psycopg.connect(url, autocommit=True) as connection, child(folder, "live", command, env) as process:

        def done() -> bool:
            row = connection.execute("SELECT count(*) FROM dosestream_g1.message").fetchone()
            return row is not None and int(str(row[0])) >= count

        wait_until(done, process, folder / "live.log")
        commits = connection.execute(
            "SELECT extract(epoch FROM at)::float8, (sum(count(*)) OVER (ORDER BY at))::int "
            "FROM dosestream_g1.message, pg_xact_commit_timestamp(xmin) AS at GROUP BY at ORDER BY at"
        ).fetchall()
    return rate([(float(str(at)), int(str(number))) for at, number in commits])


def main() -> None:
    """Measure on servers of its own, or be the agent that does nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="in the backlog (default %(default)s)")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.bare is not None:
        bare(settings.load().kafka, chosen.bare.stem, chosen.events, chosen.bare)
        return
    with tempfile.TemporaryDirectory() as name, broker(Path(name) / "kafka") as kafka, databases() as make:
        folder = Path(name)
        fill(kafka, chosen.events)
        bares = [measure_bare(folder, kafka, "bare-before", chosen.events)]
        live = measure_live(folder, kafka, make(), chosen.events)
        bares.append(measure_bare(folder, kafka, "bare-after", chosen.events))
    print(f"Faust, doing nothing: {bares[0]:,.0f} events/s before, {bares[1]:,.0f} after")
    print(f"reconciler, a backlog of {chosen.events:,}: {live:,.0f} events/s to committed rows")
    print(f"ratio {live / mean(bares):.2f} (aim: 0.5 or more)")


if __name__ == "__main__":
    main()
