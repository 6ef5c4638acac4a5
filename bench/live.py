"""The live path, from a backlog in Kafka to committed rows, as a ratio to Faust's bare reading of it.

    python bench/live.py [--events 20000]

Starts a broker and a PostgreSQL of its own and fills the topics with the live mix. `dosestream reconciler`
reads them as in service; a Faust agent with the same consumer, seek and batches reads them and does nothing
else, before and after it. Events of the first batch are not counted: its end is when the clock starts.

On a machine that does other things the rates tell little. So the processor time of each process is printed
per event, and what the ratio comes to where nothing else runs: between processes that overlap as far as there
are processors for them, and none that wait for each other at all.
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
from broker import broker
from reconcile import databases
from stream import CODEC, Stream

from dosestream import ready, settings
from dosestream.embedded.process import Process, last_words, spawn, stop, wrapped
from dosestream.kafka.client import producer_config
from dosestream.settings import KafkaSettings
from services.reconciler.shell import BATCH, WITHIN_S, subscribe

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 60.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
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
            if len(progress) == 1:
                ready.write(result.with_suffix(".started"), {"seen": seen})
            if seen >= count and not result.exists():
                ready.write(result, {"progress": progress})

    faust.Worker(
        app, loglevel="ERROR", redirect_stdouts=False, override_logging=False, quiet=True
    ).execute_from_commandline()


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


def used(pid: int) -> float:
    """Seconds of processor time that a process has used; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(n) for t in Path(f"/proc/{pid}/task").iterdir() for n in (t / "children").read_text().split()]


def cost(before: Mapping[str, float], after: Mapping[str, float], events: int) -> dict[str, float]:
    """Microseconds of processor time an event, by process."""
    return {name: (after[name] - before[name]) / events * 1e6 for name in after}


def quiet(spent: Mapping[str, float]) -> float:
    """Microseconds an event takes at least on this machine alone: its busiest process, or all of them on its
    processors, whichever is more."""
    return max(max(spent.values()), sum(spent.values()) / (os.cpu_count() or 1))


def measure_bare(
    folder: Path, kafka: KafkaSettings, group: str, count: int, server: int
) -> tuple[float, dict[str, float]]:
    """Events per second of an agent that does nothing, and what they cost."""
    result = folder / f"{group}.json"
    command = [sys.executable, str(Path(__file__).resolve()), "--events", str(count), "--bare", str(result)]
    with child(folder, group, command, {"DOSESTREAM_KAFKA": kafka.bootstrap}) as process:

        def spent() -> dict[str, float]:
            return {"Faust": used(process.pid), "broker": used(server)}

        started = folder / f"{group}.started"
        wait_until(started.exists, process, folder / f"{group}.log")
        seen, before = json.loads(started.read_text())["seen"], spent()
        wait_until(result.exists, process, folder / f"{group}.log")
        progress = json.loads(result.read_text())["progress"]
        return rate(progress), cost(before, spent(), progress[-1][1] - seen)


def measure_live(
    folder: Path, kafka: KafkaSettings, url: str, count: int, server: int
) -> tuple[float, dict[str, float], float]:
    """Events per second of the reconciler, by the commit timestamps of the rows of its message index; what they
    cost; and how many seconds later the last group was derived again that a patient's change had touched."""
    command = [sys.executable, str(Path(sys.executable).with_name("dosestream")), "reconciler"]
    env = {"DOSESTREAM_KAFKA": kafka.bootstrap, "DOSESTREAM_POSTGRES": url}
    with psycopg.connect(url, autocommit=True) as connection, child(folder, "live", command, env) as process:

        def committed() -> int:
            row = connection.execute("SELECT count(*) FROM dosestream_g1.message").fetchone()
            return 0 if row is None else int(str(row[0]))

        def spent() -> dict[str, float]:
            sessions = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
            return {
                "Faust": used(process.pid),
                "engine": sum(map(used, children(process.pid))),
                "PostgreSQL": sum(used(int(str(pid))) for (pid,) in sessions),
                "broker": used(server),
            }

        wait_until(lambda: committed() > 0, process, folder / "live.log")
        seen, before = committed(), spent()
        wait_until(lambda: committed() >= count, process, folder / "live.log")
        costs = cost(before, spent(), committed() - seen)

        def settled() -> bool:
            return not connection.execute("SELECT 1 FROM dosestream_g1.dirty LIMIT 1").fetchall()

        begun = time.monotonic()
        wait_until(settled, process, folder / "live.log")
        later = time.monotonic() - begun
        commits = connection.execute(
            "SELECT extract(epoch FROM at)::float8, (sum(count(*)) OVER (ORDER BY at))::int "
            "FROM dosestream_g1.message, pg_xact_commit_timestamp(xmin) AS at GROUP BY at ORDER BY at"
        ).fetchall()
    return rate([(float(str(at)), int(str(number))) for at, number in commits]), costs, later


def shown(spent: Mapping[str, float]) -> str:
    """Costs in a line."""
    return ", ".join(f"{name} {micros:.0f}" for name, micros in spent.items())


def main() -> None:
    """Measure on servers of its own, or be the agent that does nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="in the backlog (default %(default)s)")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.bare is not None:
        bare(settings.load().kafka, chosen.bare.stem, chosen.events, chosen.bare)
        return
    with (
        tempfile.TemporaryDirectory() as name,
        broker(Path(name) / "kafka") as (kafka, server),
        databases() as make,
    ):
        folder, count = Path(name), chosen.events
        fill(kafka, count)
        before, idle = measure_bare(folder, kafka, "bare-before", count, server)
        live, busy, later = measure_live(folder, kafka, make(), count, server)
        after, again = measure_bare(folder, kafka, "bare-after", count, server)
    alone = {name: mean((idle[name], again[name])) for name in idle}
    print(f"Faust, doing nothing: {before:,.0f} events/s before, {after:,.0f} after")
    print(
        f"reconciler, a backlog of {count:,}: {live:,.0f} events/s to committed rows; "
        f"what patients changed elsewhere followed within {later:.1f} s"
    )
    print(f"ratio {live / mean((before, after)):.2f} (aim: 0.5 or more)")
    print(f"processor time, us an event: doing nothing {shown(alone)}; reconciler {shown(busy)}")
    print(
        f"on a machine of {os.cpu_count()} processors that does nothing else, at most: "
        f"{1e6 / quiet(alone):,.0f} and {1e6 / quiet(busy):,.0f} events/s, ratio {quiet(alone) / quiet(busy):.2f}"
    )


if __name__ == "__main__":
    main()
