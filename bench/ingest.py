"""How fast messages are answered: ingest beside its peers, one broker, one load generator, one run.

    python bench/ingest.py [--peers ingest,raw-only,echo] [--connections 1,16,64,256] [--seconds 3] [--rate 1000]

Each server is started alone, warmed up, then driven at each number of connections by `bench/load/Load.java`,
which waits for every acknowledgement before it sends the next message. Printed per row: messages/s, p50 and
p99 in ms, CPU of the server per message (user and system, its children with it), what Kafka holds more per
message, and the rate as a share of the yardstick's (`echo`, which keeps nothing). At the end: ingest at a
steady rate, and 256 senders that connect at once.

Everything shares the machine's cores, so compare rows of one run; do not read them as capacity.
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

from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

HERE = Path(__file__).parent
TEMPLATE = HERE / "load" / "orm.hl7"
RAW_ONLY = "bench.raw"
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m")


@dataclass(frozen=True)
class Peer:
    """One server under test. It gets PORT, TOPIC and DOSESTREAM_KAFKA in its environment.

    Attributes:
        command: starts it; `stop` is SIGTERM.
        topics: what it writes for a message.
        environment: what it needs besides.
        folder: where it runs; None: here.
        warm_up_s: seconds of load before anything is measured.
    """

    command: tuple[str, ...]
    topics: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    warm_up_s: float = 1.0


def _python(name: str) -> tuple[str, ...]:
    return (sys.executable, str(HERE / "peers" / name))


INGEST = (str(Path(sys.executable).with_name("dosestream")), "ingest")

PEERS: dict[str, Peer] = {
    "echo": Peer(_python("echo.py")),
    "raw-only": Peer(_python("raw_only.py"), (RAW_ONLY,)),
    "ingest": Peer(INGEST, (str(Topic.HL7_RAW), str(Topic.ORDER)), warm_up_s=2.0),
}
YARDSTICK = "echo"


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children it has now (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


def load(port: int, **options: object) -> dict[str, Any]:
    """One run of the load generator; what it printed."""
    java = shutil.which("java") or "java"
    command = [
        java,
        *JVM,
        str(HERE / "load" / "Load.java"),
        f"address=127.0.0.1:{port}",
        f"template={TEMPLATE}",
    ]
    command += [f"{name}={value}" for name, value in options.items()]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


class Broker:
    """A broker of the bench's own, with the topics of all peers."""

    def __init__(self, folder: Path) -> None:
        taken: set[int] = set()
        self._server = EmbeddedKafka(folder, KafkaSettings(), ports.free(taken), ports.free(taken))
        self._server.prepare()
        self._server.launch()
        self._server.wait_ready()
        self.settings = self._server.client_settings()
        create_topics(self.settings, site=False)
        publish_schemas(self.settings)
        admin = AdminClient({"bootstrap.servers": self.settings.bootstrap})
        admin.create_topics([NewTopic(RAW_ONLY, 4, 1)])[RAW_ONLY].result()
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
    port = ports.free(set())
    environment = {
        "PORT": str(port),
        "DOSESTREAM_MLLP_PORT": str(port),
        "DOSESTREAM_KAFKA": broker.settings.bootstrap,
        "TOPIC": RAW_ONLY,
        **peer.environment,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            peer.command, cwd=peer.folder, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{peer.command} does not listen: {log.read_text()[-2000:]}") from None
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


HEAD = (
    f"{'server':12}{'conns':>6}{'msg/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>8}{'kept':>6}{'of echo':>9}"
)


def main() -> None:
    """Print one table, then the steady rate and the crowd."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--connections", default="1,16,64,256")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    chosen = parser.parse_args()
    counts = [int(text) for text in chosen.connections.split(",")]
    yardstick: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "kafka")
        try:
            print(HEAD)
            for name in chosen.peers.split(","):
                peer = PEERS[name]
                with serving(peer, broker, Path(folder) / f"{name}.log") as (port, pid):
                    load(port, connections=16, seconds=peer.warm_up_s)
                    for count in counts:
                        row(name, peer, broker, port, pid, count, chosen.seconds, yardstick)
                    if name == "ingest":
                        steady(port, chosen.rate, chosen.seconds)
                        crowd(port)
        finally:
            broker.stop()


def row(
    name: str,
    peer: Peer,
    broker: Broker,
    port: int,
    pid: int,
    count: int,
    seconds: float,
    yardstick: dict[int, float],
) -> None:
    """Measure and print one line."""
    load(port, connections=count, seconds=1.0)
    before, spent = broker.held(peer.topics), cpu_seconds(pid)
    found = load(port, connections=count, seconds=seconds)
    cpu_us = (cpu_seconds(pid) - spent) / max(1, found["n"]) * 1e6
    kept = (broker.held(peer.topics) - before) / max(1, found["n"])
    if name == YARDSTICK:
        yardstick[count] = found["rate"]
    share = f"{found['rate'] / yardstick[count]:9.2f}" if count in yardstick else ""
    wrong = {k: found[k] for k in ("other", "failed", "slow") if found[k]}
    print(
        f"{name:12}{count:6}{found['rate']:9.0f}{found['p50_ms']:9.2f}{found['p99_ms']:9.2f}{cpu_us:8.0f}"
        f"{kept:6.2f}{share}  {wrong or ''}",
        flush=True,
    )


def steady(port: int, rate: float, seconds: float) -> None:
    """At a rate, a message's time begins when it was due: a stall counts for all that were due in it."""
    found = load(port, connections=16, seconds=seconds, rate=rate)
    print(
        f"ingest at {rate:.0f}/s over 16 connections: p50 {found['p50_ms']:.2f}, p99 {found['p99_ms']:.2f} ms"
    )


def crowd(port: int) -> None:
    """Senders that all connect at once."""
    found = load(port, connections=256, seconds=1.0)
    print(f"256 senders at once: the last one had its first answer after {found['first_ms']:.0f} ms")


if __name__ == "__main__":
    main()
