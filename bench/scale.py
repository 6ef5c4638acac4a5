"""What a million messages cost: processor time by service, bytes by topic and by table; and what a region needs.

    python bench/scale.py [--day 50000] [--day 220000] [--messages 12000] [--rate 0] [--bytes 1000] [--out FILE]

Starts a whole stack of its own for each day and plays a drawn history through its ports: visits with orders,
appointments, dose reports, images and results among ADT messages. HL7 messages are filled up to `--bytes` with an
IN1 segment of hexadecimal digits, and senders share the patients among them. Before the first message the
stack's processor time at rest is measured; after the last one the rows are held against the history's truth.

`--rate` messages a second; 0 is as fast as they are answered, and then batches are as large as they get. `--out`
writes what was measured as JSON; `python bench/region.py FILE` reckons with it.

Processor time is that of each service's processes, children included, as the kernel counts it: it holds on a
machine that does other things, unlike a rate.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).parent))
from region import Measured, by_day, reckoned

from dosestream.cli import watch
from dosestream.embedded.process import wrapped
from dosestream.kafka.roster import Roster
from dosestream.kafka.topics import TOPICS
from dosestream.settings import KafkaSettings
from dosestream.simulate.history import OVER_DAYS, History, history
from dosestream.simulate.main import await_truth
from dosestream.simulate.play import Ports, play
from dosestream.simulate.timeline import HL7, Step

ROOT = Path(__file__).parents[1]
DOSESTREAM = str(Path(sys.executable).with_name("dosestream"))
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Messages of a day to the share of ADT: what imaging's neighbours send, and the whole feed of a large HIS.
DAYS: Mapping[int, float] = {50_000: 0.80, 220_000: 0.95}
SENDERS = 16
REST_S = 20.0
PATIENCE_S = 600.0
READY_S = 200.0


def used(pid: int) -> float:
    """Seconds of processor time of a process, of the children it has and of those that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = {int(n) for task in tasks for n in (task / "children").read_text().split()}
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS_A_SECOND + sum(map(used, children))


def alone(pid: int) -> float:
    """Seconds of processor time of a process without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


class Stack:
    """One `dosestream up` over a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.data, self.ready_file = folder / "data", folder / "ready.json"
        command = [DOSESTREAM, "up", "--data-dir", str(self.data), "--ready-file", str(self.ready_file)]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with (folder / "up.out").open("wb") as out:
            self.process = subprocess.Popen(
                wrapped([*command, "--free-ports", "--no-demo"], death_signal=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONPATH": path},
            )
        deadline = time.monotonic() + READY_S
        while not self.ready_file.exists():
            assert self.process.poll() is None, (folder / "up.out").read_text()
            assert time.monotonic() < deadline, "the stack is not ready"
            time.sleep(0.2)
        self.ready: dict[str, Any] = json.loads(self.ready_file.read_text())

    def spent(self) -> dict[str, float]:
        """Seconds of processor time by service since it was started; the reconciler's two processes apart."""
        known = json.loads((self.data / "run" / "services.json").read_text())
        assert not any(one["restarts"] for one in known.values()), (
            "a service was started again: measure again"
        )
        found = {name: used(int(one["pid"])) for name, one in known.items()}
        reads = alone(int(known["reconciler"]["pid"]))
        found["reconciler, applying"] = found.pop("reconciler") - reads
        found["reconciler, reading and publishing"] = reads
        return found

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)

    def at_rest(self) -> bool:
        """Whether all facts are applied, all groups derived and all rows published."""
        if watch.behind(self.ready["kafka"], self.ready["postgres"]):
            return False
        with psycopg.connect(self.ready["postgres"]) as connection:
            left = connection.execute(
                "SELECT EXISTS (SELECT FROM dosestream_g1.dirty) OR EXISTS (SELECT FROM dosestream_g1.outbox)"
            ).fetchone()
        return left == (False,)

    def topics(self) -> dict[str, tuple[int, int]]:
        """Records and bytes on the broker's disk, by topic."""
        found = {}
        kafka = KafkaSettings(bootstrap=self.ready["kafka"])
        for topic in (str(spec.name) for spec in TOPICS):
            records = sum(Roster(kafka, topic, "bench").ends().values())
            logs = self.data.glob(f"kafka/data/{topic}-*/*.log")
            found[topic] = records, sum(log.stat().st_size for log in logs)
        return found

    def tables(self) -> dict[str, int]:
        """Bytes of each table with its indexes."""
        with psycopg.connect(self.ready["postgres"], autocommit=True) as connection:
            rows = connection.execute(
                "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = 'dosestream_g1'::regnamespace"
            ).fetchall()
        return {str(name): int(size) for name, size in rows}

    def people(self) -> int:
        """Patients in the dose database."""
        with psycopg.connect(self.ready["postgres"]) as connection:
            row = connection.execute("SELECT count(*) FROM dosestream_g1.patient").fetchone()
        assert row is not None
        return int(row[0])

    def log_position(self) -> int:
        """Bytes of write-ahead log since the cluster was made."""
        with psycopg.connect(self.ready["postgres"]) as connection:
            row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def stack() -> Iterator[Stack]:
    """A stack of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dosestream-scale-") as folder:
        running = Stack(Path(folder))
        try:
            yield running
        finally:
            running.stop()


def filled(step: Step, size: int, rng: random.Random) -> Step:
    """An HL7 message of at least so many bytes: as its own senders would fill it, with what nobody here reads."""
    missing = size - len(step.body) - len("IN1||\r")
    if step.channel != HL7 or missing <= 0:
        return step
    more = rng.randbytes(missing // 2 + 1).hex().encode()
    return replace(step, body=step.body + b"IN1||" + more + b"\r")


def drawn(messages: int, share: float, size: int) -> tuple[History, list[Step]]:
    """A history of about so many messages, and its steps, filled."""
    base = datetime.now(UTC).date() - timedelta(days=OVER_DAYS)
    days = 2
    # How many messages a visit brings depends on the share of ADT: measured with few visits.
    few = len(history(7, base, days, 1, 10, True, share).timeline)
    studies = max(10.0, 10 * messages / few / 2)
    played = history(7, base, days, 2, studies, True, share)
    rng = random.Random(7)
    # A message that is sent twice has the same bytes twice.
    bodies: dict[bytes, Step] = {}
    return played, [bodies.setdefault(step.body, filled(step, size, rng)) for step in played.timeline]


def told(steps: Sequence[Step], ports: Ports, rate: float) -> None:
    """Play the steps over as many lines as there are senders, the steps of one patient over one line."""
    lines: list[list[Step]] = [[] for _ in range(SENDERS)]
    for step in steps:
        who = (
            step.body.partition(b"\rPID|")[2].split(b"|")[2:3]
            if step.channel == HL7
            else [step.sender.encode()]
        )
        lines[zlib.crc32(b"".join(who)) % SENDERS].append(step)
    surprises: list[str] = []
    begun = time.monotonic()

    def line(mine: Sequence[Step]) -> None:
        def paced(done: int) -> None:
            if rate:
                time.sleep(max(0.0, begun + done / (rate * len(mine) / len(steps)) - time.monotonic()))

        surprises.extend(map(str, play(mine, ports, 30.0, paced).surprises))

    threads = [threading.Thread(target=line, args=(mine,)) for mine in lines if mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not surprises, surprises[:3]


def measure(messages_a_day: int, messages: int, rate: float, size: int) -> Measured:
    """One day's mix on a stack of its own."""
    share = DAYS[messages_a_day]
    played, steps = drawn(messages, share, size)
    with stack() as running:
        deadline = time.monotonic() + PATIENCE_S
        at_first = running.spent()
        time.sleep(REST_S)
        before, log, tables = running.spent(), running.log_position(), running.tables()
        held = running.topics()
        begun = time.monotonic()
        told(steps, Ports.of(running.ready), rate)
        sent_s = time.monotonic() - begun
        while not running.at_rest():
            assert time.monotonic() < deadline, "the reconciler does not come to rest"
            time.sleep(0.5)
        after, took = running.spent(), time.monotonic() - begun
        differing = await_truth(running.ready["postgres"], played.truth(), 60.0)
        assert not differing, differing[:3]
        resting = {name: (before[name] - at_first[name]) / REST_S for name in before}
        hl7 = sum(step.channel == HL7 for step in steps)
        return Measured(
            messages_a_day=messages_a_day,
            adt_share=share,
            hl7=hl7,
            dicom=len(steps) - hl7,
            kinds=dict(Counter(step.kind.partition("^")[0] for step in steps)),
            hl7_bytes=sum(len(step.body) for step in steps if step.channel == HL7),
            dicom_bytes=sum(len(step.body) for step in steps if step.channel != HL7),
            sent_s=sent_s,
            took_s=took,
            resting=resting,
            processor_s={name: after[name] - before[name] for name in after},
            topics={
                name: (records - held[name][0], size - held[name][1])
                for name, (records, size) in running.topics().items()
            },
            tables={name: size - tables.get(name, 0) for name, size in running.tables().items()},
            people=running.people(),
            log_bytes=running.log_position() - log,
            rate=rate,
        )


def main() -> None:
    """Measure the days asked for, print them, and what regions of them need."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--day", type=int, action="append", choices=sorted(DAYS), help="messages of the day")
    parser.add_argument("--messages", type=int, default=12_000, help="to play, about (default %(default)s)")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0: as fast as answered")
    parser.add_argument("--bytes", type=int, default=1000, help="of an HL7 message at least")
    parser.add_argument("--out", type=Path, help="where to write what was measured")
    chosen = parser.parse_args()
    found = [measure(day, chosen.messages, chosen.rate, chosen.bytes) for day in chosen.day or sorted(DAYS)]
    if chosen.out is not None:
        chosen.out.write_text(json.dumps([one.as_json() for one in found], indent=1) + "\n")
    for one in found:
        print(one.shown())
    for runs in by_day(found):
        print(reckoned(runs))


if __name__ == "__main__":
    main()
