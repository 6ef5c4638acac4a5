"""How fast messages are answered: ingest beside its peers, one broker, one load generator, one run.

    python bench/ingest.py [--peers ingest,raw-only,camel-same] [--connections 1,16,64,256] [--seconds 3] [--rate 1000] [--rounds 1]

Each server is started alone, warmed up, then driven at each number of connections by `bench/load/Load.java`,
which waits for every acknowledgement before it sends the next message. Printed per row: messages/s, p50 and
p99 in ms, CPU of the server per message (user and system, its children with it), CPU of the broker per message,
what Kafka holds more per message, and the rate as a share of the yardstick's (`echo`, which keeps nothing); then how
256 senders fare that connect at once, and ingest at a steady rate and beside 500 senders of a byte a second. At the
end: how many times as fast as each peer ingest is, with one process and with two, interpreted and compiled.

Peers: `raw-only` and `camel-raw` store the raw message and no more, `camel-same` stores raw and an event as ingest
does (HAPI reads the message), `hapi` and `python-hl7` store nothing; `ingest-c` is ingest with its hot path compiled
(`make compiled`). Java peers are built by Maven at first
(`bench/peers/maven.py`); one that cannot be is left out, with the reason.

The broker runs as sites run it, with Java's optimising compiler, and is warmed up for 40 seconds first. Everything
shares the machine's cores, so compare rows of one run; do not read them as capacity. `loop` is how many milliseconds a
fixed loop took just before the row: where it differs between rows, the machine did, and they cannot be compared; with
several rounds the best of each row is.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from peers.maven import BuildError, class_path

from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

HERE = Path(__file__).parent
TEMPLATE = HERE / "load" / "orm.hl7"
RAW_ONLY = "bench.raw"
EVENTS = "bench.events"
QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
# A broker as sites run it, and not as one that is to start fast: with the optimising compiler, which needs a while.
BROKER_JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")
# Seconds that are driven and not counted, while the load generator is interpreted: that is no time of the server's.
COLD_S = 1.0
# Seconds of load at so many connections, before the first server is measured.
BROKER_WARM_UP = {1: 15.0, 16: 15.0, 64: 10.0}
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m")


@dataclass(frozen=True)
class Peer:
    """One server under test. It gets PORT, TOPIC and DOSESTREAM_KAFKA in its environment.

    Attributes:
        command: starts it; `stop` is SIGTERM.
        topics: what it writes for a message.
        environment: what it needs besides.
        folder: where it runs; None: a folder that is gone afterwards.
        warm_up_s: seconds of load before anything is measured.
        java: folder under `bench/peers` and main class, where the command is made by Maven.
        compiled: it is ours, and its hot path is compiled first.
    """

    command: tuple[str, ...]
    topics: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    warm_up_s: float = 1.0
    java: tuple[str, str] | None = None
    compiled: bool = False


def _python(name: str) -> tuple[str, ...]:
    return (sys.executable, str(HERE / "peers" / name))


def _java(folder: str, main_class: str, topics: tuple[str, ...] = (), **environment: str) -> Peer:
    return Peer((), topics, environment, warm_up_s=15.0, java=(folder, main_class))


def _ingest(*arguments: str, warm_up_s: float, compiled: bool = False) -> Peer:
    command = (str(Path(sys.executable).with_name("dosestream")), "ingest", *arguments)
    return Peer(command, (str(Topic.HL7_RAW), str(Topic.ORDER)), warm_up_s=warm_up_s, compiled=compiled)


PEERS: dict[str, Peer] = {
    "echo": Peer(_python("echo.py")),
    "raw-only": Peer(_python("raw_only.py"), (RAW_ONLY,)),
    "ingest": _ingest(warm_up_s=2.0),
    # Two processes on one port.
    "ingest-2": _ingest("--workers", "2", warm_up_s=4.0),
    # The same with the hot path compiled.
    "ingest-c": _ingest(warm_up_s=2.0, compiled=True),
    "ingest-c2": _ingest("--workers", "2", warm_up_s=4.0, compiled=True),
    # Camel's Kafka component lingers for nothing by default; two milliseconds serve it better under load.
    "camel-same": _java("camel", "OrderRoute", (RAW_ONLY, EVENTS), LINGER_MS="2"),
    "camel-same-0": _java("camel", "OrderRoute", (RAW_ONLY, EVENTS), LINGER_MS="0"),
    "camel-raw": _java("camel", "RawRoute", (RAW_ONLY,), LINGER_MS="2"),
    "camel-raw-0": _java("camel", "RawRoute", (RAW_ONLY,), LINGER_MS="0"),
    "hapi": _java("hapi", "Server"),
    "python-hl7": Peer(_python("hl7_server.py")),
}
YARDSTICK = "echo"
# Whose load warms the broker: one that needs no build.
WARMING = "ingest"
OURS = ("ingest", "ingest-2", "ingest-c", "ingest-c2")


def compiled_tree() -> Path:
    """The packages with ingest's hot path compiled, made anew where a source changed.

    Raises:
        BuildError: they cannot be had here.
    """
    folder = HERE.parent / "build" / "compiled"
    line = [sys.executable, str(HERE.parent / "deploy" / "compiled" / "hatch_build.py"), str(folder)]
    made = subprocess.run(line, stderr=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        raise BuildError(made.stderr.strip()[-1000:])
    return folder


def started_by(peer: Peer) -> tuple[str, ...]:
    """The command of a peer; one in Java is built first.

    Raises:
        BuildError: it cannot be had here.
    """
    if peer.java is None:
        return peer.command
    folder, main_class = peer.java
    return ("java", QUIET, "-cp", class_path(HERE / "peers" / folder), main_class)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children it has now (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


def load_command(port: int, **options: object) -> list[str]:
    """The load generator against a port."""
    java = shutil.which("java") or "java"
    fixed = {"address": f"127.0.0.1:{port}", "template": TEMPLATE}
    said = [f"{name}={value}" for name, value in {**fixed, **options}.items()]
    return [java, *JVM, str(HERE / "load" / "Load.java"), *said]


def load(port: int, **options: object) -> dict[str, Any]:
    """One run of the load generator; what it printed."""
    done = subprocess.run(load_command(port, **options), stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Broker:
    """A broker of the bench's own, with the topics of all peers."""

    def __init__(self, folder: Path) -> None:
        taken: set[int] = set()
        self._server = EmbeddedKafka(
            folder, KafkaSettings(), ports.free(taken), ports.free(taken), jvm=BROKER_JVM
        )
        self._server.prepare()
        self._server.launch()
        self._server.wait_ready()
        assert self._server.process is not None
        self.pid = self._server.process.pid
        self.settings = self._server.client_settings()
        create_topics(self.settings, site=False)
        publish_schemas(self.settings)
        admin = AdminClient({"bootstrap.servers": self.settings.bootstrap})
        for made in admin.create_topics([NewTopic(RAW_ONLY, 4, 1), NewTopic(EVENTS, 4, 1)]).values():
            made.result()
        self._consumer = Consumer({"bootstrap.servers": self.settings.bootstrap, "group.id": "bench"})

    def held(self, topics: tuple[str, ...]) -> int:
        """Records in the topics."""
        return sum(
            self._consumer.get_watermark_offsets(TopicPartition(topic, partition))[1]
            for topic in topics
            for partition in range(4)
        )

    def stop(self) -> None:
        self._consumer.close()
        self._server.stop()


@contextmanager
def serving(peer: Peer, broker: Broker, log: Path) -> Iterator[tuple[int, int]]:
    """The peer as a process: its port and its process id."""
    command = started_by(peer)
    port = ports.free(set())
    environment = {
        "PORT": str(port),
        "DOSESTREAM_MLLP_PORT": str(port),
        "DOSESTREAM_KAFKA": broker.settings.bootstrap,
        "TOPIC": RAW_ONLY,
        "EVENTS": EVENTS,
        # Gone with the folder of the logs.
        "DOSESTREAM_REPEATS": str(log.parent / "repeats"),
        **peer.environment,
    }
    if peer.compiled:
        environment["PYTHONPATH"] = str(compiled_tree())
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=peer.folder or log.parent,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command} does not listen: {log.read_text()[-2000:]}") from None
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


HEAD = f"{'server':12}{'conns':>6}{'msg/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>8}{'broker':>8}{'kept':>6}{'loop':>6}{'of echo':>9}"


def main() -> None:
    """Print one table, then the steady rate and the crowd."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--connections", default="1,16,64,256")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args()
    counts = [int(text) for text in chosen.connections.split(",")]
    rates: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "kafka")
        try:
            warm_up(broker, Path(folder))
            print(HEAD)
            for name in chosen.peers.split(",") * chosen.rounds:
                measure(name, broker, Path(folder), counts, chosen.seconds, chosen.rate, rates)
            print(compared(rates, counts))
        finally:
            broker.stop()


def warm_up(broker: Broker, folder: Path) -> None:
    """Until the broker's code is compiled, so that the first server does not pay for it."""
    with serving(PEERS[WARMING], broker, folder / "warming.log") as (port, _):
        for count, seconds in BROKER_WARM_UP.items():
            load(port, connections=count, seconds=seconds)


def measure(
    name: str,
    broker: Broker,
    folder: Path,
    counts: list[int],
    seconds: float,
    rate: float,
    rates: dict[str, dict[int, float]],
) -> None:
    """One server, alone: a line for each number of connections, and what else is asked of it."""
    peer = PEERS[name]
    try:
        with serving(peer, broker, folder / f"{name}.log") as (port, pid):
            load(port, connections=16, seconds=peer.warm_up_s)
            for count in counts:
                row(name, peer, broker, port, pid, count, seconds, rates)
            if peer.topics:
                crowd(name, port)
            if name in OURS:
                steady(name, port, rate, seconds)
                slow_senders(name, port)
    except BuildError as reason:
        print(f"{name:12} is left out: {reason}", flush=True)


def row(
    name: str,
    peer: Peer,
    broker: Broker,
    port: int,
    pid: int,
    count: int,
    seconds: float,
    rates: dict[str, dict[int, float]],
) -> None:
    """Measure and print one line."""
    machine = loop_ms()
    before, spent, stored_for = broker.held(peer.topics), cpu_seconds(pid), cpu_seconds(broker.pid)
    found = load(port, connections=count, seconds=seconds, cold=COLD_S, timeout=10)
    answers = max(1, found["accepted"] + found["other"])
    cpu_us = (cpu_seconds(pid) - spent) / answers * 1e6
    broker_us = (cpu_seconds(broker.pid) - stored_for) / answers * 1e6
    kept = (broker.held(peer.topics) - before) / answers
    best = rates.setdefault(name, {})
    best[count] = max(best.get(count, 0.0), found["rate"])
    yardstick = rates.get(YARDSTICK, {})
    share = f"{found['rate'] / yardstick[count]:9.2f}" if count in yardstick else ""
    wrong = {k: found[k] for k in ("other", "failed", "slow") if found[k]}
    print(
        f"{name:12}{count:6}{found['rate']:9.0f}{found['p50_ms']:9.2f}{found['p99_ms']:9.2f}{cpu_us:8.0f}"
        f"{broker_us:8.0f}{kept:6.2f}{machine:6.1f}{share}  {wrong or ''}",
        flush=True,
    )


def loop_ms() -> float:
    """CPU time of a loop that never changes: the pace of the machine, which others share."""
    texts = {number: str(number) for number in range(1000)}
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(200):
            sum(len(texts[number]) for number in texts)
        best = min(best, time.process_time() - started)
    return best * 1000


def compared(rates: dict[str, dict[int, float]], counts: list[int]) -> str:
    """Rate of ingest over the rate of each other server, a line each."""
    theirs = {name: found for name, found in rates.items() if name not in OURS}
    lines = []
    for ours in OURS:
        if ours not in rates or not theirs:
            continue
        lines += ["", f"{ours + ' / peer':18}" + "".join(f"{count:>8}" for count in counts)]
        lines += [
            f"{name:18}" + "".join(f"{rates[ours][n] / max(1.0, found[n]):8.2f}" for n in counts)
            for name, found in theirs.items()
        ]
    return "\n".join(lines)


def steady(name: str, port: int, rate: float, seconds: float) -> None:
    """At a rate, a message's time begins when it was due: a stall counts for all that were due in it."""
    found = load(port, connections=16, seconds=seconds, cold=COLD_S, rate=rate)
    print(
        f"{name} at {rate:.0f}/s over 16 connections: p50 {found['p50_ms']:.2f}, p99 {found['p99_ms']:.2f} ms"
    )


def crowd(name: str, port: int) -> None:
    """Senders that all connect at once."""
    found = load(port, connections=256, seconds=1.0)
    unheard = f", {found['failed']} had none within 20 s" if found["failed"] else ""
    print(
        f"{name}: 256 senders at once, the last one had its first answer after {found['first_ms']:.0f} ms{unheard}",
        flush=True,
    )


def slow_senders(name: str, port: int, senders: int = 500, seconds: float = 5.0) -> None:
    """A healthy sender beside many that send a byte a second."""
    alone = load(port, connections=1, seconds=seconds, cold=COLD_S, rate=100)
    letters = b"\x0b" + TEMPLATE.read_bytes()
    slow = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(senders)]
    command = load_command(port, connections=1, seconds=seconds, cold=COLD_S, rate=100)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        sent = 0
        while process.poll() is None:
            for connection in slow:
                connection.sendall(letters[sent : sent + 1])
                time.sleep(1 / senders)
            sent += 1
        assert process.stdout is not None
        beside = json.loads(process.stdout.read())
    for connection in slow:
        connection.close()
    print(
        f"{name} at 100/s over one connection: p99 {alone['p99_ms']:.2f} ms; beside {senders} senders of a byte a "
        f"second {beside['p99_ms']:.2f} ms"
    )


if __name__ == "__main__":
    main()
