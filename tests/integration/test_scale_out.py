"""Reconcilers and ingests by ones, twos and fours on one stack: partitions are shared, rows equal the truth, and
who joins or leaves in mid-stream loses and doubles nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from running_stack import DOSESTREAM, RunningStack, descendants, wait_until

from dosestream.cli import watch
from dosestream.client.send import MllpSender, SendError, code
from dosestream.client.store import StoreError, Storer
from dosestream.events.codec import Codec
from dosestream.events.records import Appointment, Dose, Order, Patient, Report, Study
from dosestream.kafka.client import admin_config, consumer_config
from dosestream.kafka.stretch import INSTANCE_HEADER
from dosestream.kafka.topics import FACTS, TOPICS, Topic
from dosestream.settings import KafkaSettings
from dosestream.simulate.compare import compare
from dosestream.simulate.history import OVER_DAYS, History, history
from dosestream.simulate.main import await_truth
from dosestream.simulate.timeline import HL7, Step
from services.reconciler.shell import GROUP

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

BASE = datetime.now(UTC).date() - timedelta(days=OVER_DAYS)
PATIENCE_S = 180.0
# On a starved machine sessions run out, and every return shares the partitions anew.
SHARED_S = 300.0
# Lines that senders hold open: so many that no worker of a shared port is left without one.
LINES = 48
EVENTS: dict[Topic, type[Patient] | type[Order] | type[Appointment] | type[Report] | type[Study]] = {
    Topic.PATIENT: Patient,
    Topic.ORDER: Order,
    Topic.APPOINTMENT: Appointment,
    Topic.REPORT: Report,
    Topic.STUDY: Study,
}
PARTITIONS = sum(spec.partitions for spec in TOPICS if spec.name in FACTS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack for all cases: each plays a history of its own."""
    with RunningStack.start(tmp_path_factory.mktemp("scale")) as running:
        yield running


@dataclass
class Service:
    """One more `dosestream` service beside those of the stack, on another machine for all that it knows."""

    stack: RunningStack
    folder: Path
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ready.unlink(missing_ok=True)
        secrets = json.loads((self.stack.data_dir / "secrets.json").read_text())
        environment = {
            **os.environ,
            "DOSESTREAM_KAFKA": self.stack.ready["kafka"],
            "DOSESTREAM_POSTGRES": self.stack.ready["postgres"],
            "DOSESTREAM_PATIENT_KEY_SECRET": secrets["patient_key_secret"],
            "DOSESTREAM_MEMBER": self.name,
            "DOSESTREAM_MLLP_PORT": "0",
            # So that every worker takes a part.
            "DOSESTREAM_MLLP_GATHER": "0",
            "DOSESTREAM_REPEATS": str(self.folder / "repeats"),
            "DOSESTREAM_READY": str(self.ready),
        }
        with (self.folder / f"{self.name}.log").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, DOSESTREAM, *self.command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def ready(self) -> Path:
        """What it announces."""
        return self.folder / f"{self.name}.ready"

    @property
    def port(self) -> int:
        """Where it listens, once it does."""

        def announced() -> bool:
            assert self.process.poll() is None, (self.folder / f"{self.name}.log").read_text()
            return self.ready.exists()

        wait_until(announced, f"{self.name} is ready", PATIENCE_S)
        return int(json.loads(self.ready.read_text()).get("port", 0))

    def leave(self) -> None:
        """SIGTERM: in order, whatever is under way."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(90) == 0

    def vanish(self) -> None:
        """kill -9 of it and its children: a machine that is gone."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(60)


@pytest.fixture
def start(stack: RunningStack, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts a service beside the stack; the test's end stops it."""
    running: list[Service] = []

    def begin(name: str, *command: str) -> Service:
        running.append(Service(stack, tmp_path / name, f"{tmp_path.name}-{name}", command))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.leave()


def shares(stack: RunningStack) -> dict[str, int]:
    """Member of the reconcilers' group to how many partitions it has."""
    admin = AdminClient(admin_config(KafkaSettings(bootstrap=stack.ready["kafka"])))
    (future,) = admin.describe_consumer_groups([GROUP], request_timeout=20).values()
    return {
        str(member.group_instance_id): len(member.assignment.topic_partitions)
        for member in future.result(20).members
    }


def wait_for_members(stack: RunningStack, count: int) -> None:
    """Until so many reconcilers share all partitions, and none has more than its part, rounded up by topic."""
    most = sum(-(-spec.partitions // count) for spec in TOPICS if spec.name in FACTS)

    def shared() -> bool:
        found = shares(stack)
        return (
            len(found) == count
            and sum(found.values()) == PARTITIONS
            and min(found.values()) > 0
            and max(found.values()) <= most
        )

    wait_until(shared, f"{count} reconcilers share the partitions: {shares(stack)}", SHARED_S)


@dataclass
class Senders:
    """Lines from the hospital's systems: a patient's messages over one line, to the port it is led to.

    A message that gets no answer is sent again, to the next port; as a load balancer does, a line goes to another
    listener when its own is gone.
    """

    stack: RunningStack
    ports: list[int]
    done: int = 0
    surprises: list[str] = field(default_factory=list)

    def play(self, steps: Sequence[Step], befalls: Sequence[tuple[float, Callable[[], None]]] = ()) -> None:
        """Send everything; what befalls happens when so large a share of the steps is done."""
        lines: list[list[Step]] = [[] for _ in range(LINES)]
        for step in steps:
            lines[zlib.crc32(_who(step)) % LINES].append(step)
        threads = [
            threading.Thread(target=self._line, args=(number, mine)) for number, mine in enumerate(lines)
        ]
        before = self.done
        for thread in threads:
            thread.start()
        for fraction, act in befalls:
            enough = partial(self._has_sent, before + fraction * len(steps))
            wait_until(enough, "the senders go on", PATIENCE_S)
            act()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        assert self.surprises == []

    def _has_sent(self, count: float) -> bool:
        return self.done >= count

    def _line(self, number: int, steps: Sequence[Step]) -> None:
        mllp: dict[int, MllpSender] = {}
        dicom: dict[str, Storer] = {}
        try:
            for step in steps:
                answer = ""
                for turn in range(60):
                    answer = self._say(number + turn, step, mllp, dicom)
                    if answer == step.answer:
                        break
                else:
                    self.surprises.append(f"{step.kind} {step.name} was answered {answer}")
                self.done += 1
        finally:
            for sender in mllp.values():
                sender.close()
            for storer in dicom.values():
                storer.close()

    def _say(self, turn: int, step: Step, mllp: dict[int, MllpSender], dicom: dict[str, Storer]) -> str:
        try:
            if step.channel == HL7:
                port = self.ports[turn % len(self.ports)]
                if port not in mllp:
                    mllp[port] = MllpSender("127.0.0.1", port)
                return code(mllp[port].send(step.body))
            if step.sender not in dicom:
                at = self.stack.ready["dicom"]
                dicom[step.sender] = Storer(at["host"], at["port"], at["ae_title"], step.sender)
            return f"{dicom[step.sender].store(step.body):04X}"
        except (SendError, StoreError) as error:
            threading.Event().wait(0.2)
            return str(error)


def _who(step: Step) -> bytes:
    return (
        step.body.partition(b"\rPID|")[2].split(b"|", 3)[2] if step.channel == HL7 else step.sender.encode()
    )


def ends(stack: RunningStack, topic: Topic) -> dict[int, int]:
    """Partition to the offset after its last record."""
    consumer = Consumer(consumer_config(KafkaSettings(bootstrap=stack.ready["kafka"]), group="test-reader"))
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        return {
            p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1] for p in partitions
        }
    finally:
        consumer.close()


def records_since(stack: RunningStack, topic: Topic, before: dict[int, int]) -> Iterator[Any]:
    """The records of a topic that came after these offsets."""
    left = {p: end - before[p] for p, end in ends(stack, topic).items() if end > before[p]}
    consumer = Consumer(consumer_config(KafkaSettings(bootstrap=stack.ready["kafka"]), group="test-reader"))
    try:
        consumer.assign([TopicPartition(topic, p, before[p]) for p in left])
        for _ in range(sum(left.values())):
            message = consumer.poll(20)
            assert message is not None and message.error() is None
            yield message
    finally:
        consumer.close()


def ended_with_its_truth(stack: RunningStack, played: History) -> None:
    """Every fact applied, the rows those of the truth, every row published as it stands and once."""
    url, lines = stack.ready["postgres"], played.truth()

    def at_rest() -> bool:
        return watch.behind(stack.ready["kafka"], url) == 0

    wait_until(at_rest, "the ledger at the end of every topic", PATIENCE_S)
    assert await_truth(url, lines, PATIENCE_S) == []
    wait_until(at_rest, "the ledger at the end of every topic", PATIENCE_S)
    assert compare(url, lines) == []
    # Whoever applied it, every event on the topics was applied.
    with psycopg.connect(url) as connection:
        applied = {str(one) for (one,) in connection.execute("SELECT event_id FROM dosestream_g1.message")}
    codec = Codec()
    heard = {
        codec.decode(message.value(), kind).event_id
        for topic, kind in EVENTS.items()
        for message in records_since(stack, topic, dict.fromkeys(ends(stack, topic), 0))
    }
    assert heard == applied


def published(stack: RunningStack) -> None:
    """The newest record of every study on the dose topic is the row that the database shows."""
    newest: dict[str, int] = {}
    codec = Codec()
    for message in records_since(stack, Topic.DOSE, dict.fromkeys(ends(stack, Topic.DOSE), 0)):
        value = message.value()
        uid = message.key().decode()
        if value is None:
            newest.pop(uid, None)
        else:
            newest[uid] = max(newest.get(uid, 0), codec.decode(value, Dose).revision)
    with psycopg.connect(stack.ready["postgres"]) as connection:
        rows = connection.execute("SELECT study_instance_uid, revision FROM dose.study").fetchall()
    assert newest == {str(uid): int(revision) for uid, revision in rows}


@dataclass(frozen=True)
class Case:
    """How many of each; `workers` share the port of every ingest that is started beside the stack's."""

    name: str
    seed: int
    reconcilers: int
    ingests: int
    workers: int = 1

    @property
    def listeners(self) -> int:
        """Processes that take messages: the stack's own, unless others are started, and theirs."""
        return self.ingests * self.workers


CASES = [
    Case("one reconciler, one ingest", 2101, 1, 1),
    Case("two reconcilers, two ingests on ports of their own", 2102, 2, 2),
    Case("four reconcilers, four ingests on ports of their own", 2103, 4, 4),
    Case("one reconciler, two workers on one port", 2104, 1, 1, 2),
    Case("four reconcilers, four workers on one port", 2105, 4, 1, 4),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_rows_equal_the_truth_with(stack: RunningStack, start: Callable[..., Service], case: Case) -> None:
    reconcilers = [start(f"reconciler{n}", "reconciler") for n in range(1, case.reconcilers)]
    wait_for_members(stack, 1 + len(reconcilers))
    own = case.workers == 1
    ingests = [
        start(f"ingest{n}", "ingest", *(() if own else ("--workers", str(case.workers))))
        for n in range(own, case.ingests)
    ]
    ports = [stack.ready["mllp"]["port"]] * own + [one.port for one in ingests]
    assert len(set(ports)) == case.ingests
    before = ends(stack, Topic.HL7_RAW)
    played = history(case.seed, BASE, days=1, sites=2, studies_a_day=10, compressed=True)
    Senders(stack, ports).play(played.timeline)
    ended_with_its_truth(stack, played)
    stored = list(records_since(stack, Topic.HL7_RAW, before))
    lives = {dict(message.headers())[INSTANCE_HEADER] for message in stored}
    # Every listener took a part.
    assert len(lives) == case.listeners
    published(stack)


def test_who_joins_and_who_leaves_in_mid_stream_loses_and_doubles_nothing(
    stack: RunningStack, start: Callable[..., Service]
) -> None:
    leaving, failing = (start(name, "reconciler") for name in ("leaving", "failing"))
    wait_until(lambda: len(shares(stack)) == 3, "three reconcilers", PATIENCE_S)
    own, other = stack.ready["mllp"]["port"], start("other", "ingest")
    senders = Senders(stack, [own, other.port])

    def joins() -> None:
        """One more of each; a line's next message goes to any of the three listeners."""
        start("joining", "reconciler")
        wait_for_members(stack, 4)
        senders.ports = [start("newcomer", "ingest").port, own, other.port]

    def leaves() -> None:
        """One of each ends in order; who is connected to the listener learns of it by the closed connection."""
        leaving.leave()
        other.leave()

    played = history(2110, BASE, days=2, sites=2, studies_a_day=10, compressed=True)
    senders.play(played.timeline, [(0.25, joins), (0.5, leaves), (0.7, failing.vanish)])
    ended_with_its_truth(stack, played)
    published(stack)
    # The partitions of those that are gone were given to the others.
    wait_for_members(stack, 2)
