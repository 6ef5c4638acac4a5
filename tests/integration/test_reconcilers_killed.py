"""Two reconcilers on a real broker and a real database, killed in the midst of a history: rows equal to its truth."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from heard import CODEC, heard
from own_broker import own_broker
from running_stack import DOSESTREAM, children, wait_until

from dosestream.cli import watch
from dosestream.db.migrate import migrate
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.events.identity import record_key
from dosestream.events.records import Clock, Event, Study
from dosestream.kafka.publisher import Position, Publisher, PublishError
from dosestream.kafka.topics import FACTS, Topic
from dosestream.settings import KafkaSettings, Settings
from dosestream.simulate.compare import compare
from dosestream.simulate.history import History, history
from dosestream.simulate.main import await_truth

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

# Every window of a history has closed by the reconcilers' own clock.
BASE = datetime.now(UTC).date() - timedelta(days=60)
PATIENCE_S = 180.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaSettings]:
    """A broker of the test's own: reconcilers read all that its topics hold."""
    with own_broker(tmp_path / "kafka") as settings:
        yield settings


@dataclass
class Worker:
    """One `dosestream reconciler`, started again under its name whenever it was killed."""

    name: str
    environment: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def ready(self) -> Path:
        """There once it reads, and ends in order when it is told to."""
        return self.folder / f"{self.name}.ready"

    def start(self) -> None:
        self.ready.unlink(missing_ok=True)
        with (self.folder / f"{self.name}.log").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, DOSESTREAM, "reconciler"],
                env={
                    **self.environment,
                    "DOSESTREAM_MEMBER": self.name,
                    "DOSESTREAM_READY": str(self.ready),
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def kill(self, rng: random.Random) -> None:
        """kill -9 it, or one of its own children, and start it again."""
        assert self.process is not None
        victims = [self.process.pid, *children(self.process.pid)]
        os.kill(rng.choice(victims), signal.SIGKILL)
        self.process.wait(60)
        self.start()

    def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        if self.process is None:
            return None
        wait_until(self.ready.exists, f"{self.name} reads", PATIENCE_S)
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Feed:
    """The history's events on their way into the topics, some of them twice."""

    kafka: KafkaSettings
    seed: int
    sent: int = 0
    publisher: Publisher = field(init=False)

    def __post_init__(self) -> None:
        self.publisher = Publisher(self.kafka)

    def publish(self, events: Sequence[tuple[Topic, Event]]) -> None:
        """Publish and wait until the broker has them."""
        answers: list[Position | PublishError] = []
        for topic, event in events:
            self.publisher.publish(str(topic), key_of(event), CODEC.encode(event), [], answers.append)
        wait_until(lambda: len(answers) == len(events), "the broker has the events", PATIENCE_S)
        assert [answer for answer in answers if isinstance(answer, PublishError)] == []
        self.sent += len(events)


def key_of(event: Any) -> bytes:
    """The key that ingest and arrivals give a record."""
    patient = getattr(event, "patient", None)
    fallback = event.study_instance_uid if isinstance(event, Study) else getattr(event, "source", "clock")
    return record_key(b"secret", "HOSP", patient.identifiers if patient else (), fallback)


def applied(postgres: str) -> int:
    """Records of facts the database has; the reconcilers' own ticks left out."""
    ledger = watch.read_ledger(postgres)
    return sum(after for (topic, _), after in ledger.items() if topic in FACTS and topic != Topic.CLOCK)


def _past(postgres: str, count: int) -> bool:
    return applied(postgres) > count


def play(played: History, kafka: KafkaSettings, postgres: str, folder: Path, seed: int, kills: int) -> None:
    """Publish the history in parts; in the midst of each a reconciler is killed and started again."""
    rng = random.Random(seed)
    events = [one for number, step in enumerate(played.timeline) for one in heard(step, number, Settings())]
    events += rng.sample(events, len(events) // 50)
    environment = {
        **os.environ,
        "DOSESTREAM_KAFKA": kafka.bootstrap,
        "DOSESTREAM_POSTGRES": postgres,
        "DOSESTREAM_CLOCK_INTERVAL_S": "1",
    }
    workers = [Worker(name, environment, folder) for name in ("one", "other")]
    feed = Feed(kafka, seed)
    try:
        for worker in workers:
            worker.start()
        size = len(events) // kills + 1
        for start in range(0, len(events), size):
            part = events[start : start + size]
            before = feed.sent
            feed.publish(part)
            into = before + int(rng.uniform(0.05, 0.6) * len(part))
            wait_until(partial(_past, postgres, into), "the reconcilers go on", PATIENCE_S)
            rng.choice(workers).kill(rng)
        feed.publish([(Topic.CLOCK, Clock(at=played.end, ticker="test"))])
        wait_until(lambda: applied(postgres) == feed.sent - 1, "every fact is applied", PATIENCE_S)
        await_truth(postgres, played.truth(), PATIENCE_S)
        assert [worker.stop() for worker in workers] == [0, 0]
    finally:
        feed.publisher.close()
        for worker in workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait(60)
    assert compare(postgres, played.truth()) == []


def database(server: EmbeddedPostgres, name: str) -> str:
    server.make_database(name)
    migrate(server.url(name))
    return server.url(name)


def test_reconcilers_killed_in_the_midst_of_a_history_end_with_its_truth(
    broker: KafkaSettings, embedded_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = database(embedded_postgres, "killed")
    play(history(31, BASE, days=2, sites=2), broker, url, tmp_path, seed=1, kills=4)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_reconcilers_killed_again_and_again_end_with_the_truth(
    broker: KafkaSettings, embedded_postgres: EmbeddedPostgres, tmp_path: Path, seed: int
) -> None:
    url = database(embedded_postgres, f"killed_{seed}")
    play(history(30 + seed, BASE, days=6, sites=3), broker, url, tmp_path, seed=seed, kills=15)
