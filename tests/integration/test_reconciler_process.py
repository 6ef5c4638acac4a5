"""The reconciler as two processes, the service's and its engine's: whichever ends, nothing is left over or lost."""

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from own_broker import own_broker
from running_stack import arguments, children, is_alive

from dosestream import ready
from dosestream.db.migrate import migrate
from dosestream.embedded.process import Process, last_words, spawn, stop, wrapped
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import Demographics, Identifier, Patient
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

START = 1_772_438_400_000_000


class Service:
    """`dosestream reconciler` on a database of its own, started as often as asked."""

    def __init__(self, kafka: KafkaSettings, url: str, folder: Path) -> None:
        self.url, self._folder = url, folder
        self._env = {
            **os.environ,
            "DOSESTREAM_KAFKA": kafka.bootstrap,
            "DOSESTREAM_POSTGRES": url,
            "DOSESTREAM_MEMBER": "one",
            "FAUST_DATADIR": str(folder / "faust"),
            ready.VARIABLE: str(folder / "ready.json"),
        }
        self.log = folder / "reconciler.log"
        self._publisher = Publisher(kafka)
        self.process: Process | None = None

    def start(self) -> tuple[Process, int]:
        """The service's process, ready, and the process id of its engine."""
        (self._folder / "ready.json").unlink(missing_ok=True)
        script = Path(sys.executable).with_name("dosestream")
        self.process = process = spawn(
            wrapped([sys.executable, str(script), "reconciler"]), self.log, self._env
        )
        self.wait((self._folder / "ready.json").exists, "ready")
        (engine,) = children(process.pid)
        return process, engine

    def say(self, prefix: str, count: int) -> None:
        """Patients on the topic, stored."""
        for n in range(count):
            event = patient(f"{prefix}{n}")
            self._publisher.publish_and_wait(str(Topic.PATIENT), prefix.encode(), Codec().encode(event), [])

    def rows(self, prefix: str) -> int:
        """How many of them have a row."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM dose.patient WHERE patient_id LIKE %s", (prefix + "%",)
            ).fetchone()
        assert row is not None
        return int(row[0])

    def wait(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not true():
            assert time.monotonic() < deadline, f"waited in vain: {what}: {last_words(self.log)}"
            time.sleep(0.05)

    def close(self) -> None:
        if self.process is not None:
            stop(self.process)
        self._publisher.close()


def patient(value: str) -> Patient:
    return Patient(
        event_id=content_hash(value.encode())[:32],
        source="HIS|HOSP",
        control_id=value,
        received_at=START,
        raw_partition=0,
        raw_offset=0,
        event_time=START,
        message_time=START,
        action="update",
        trigger="A08",
        patient=Demographics(identifiers=(Identifier(authority="HOSP", value=value),), name="DOE^JANE"),
    )


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    """A broker of these tests' own: a reconciler stops at what other tests leave in the topics."""
    with own_broker(tmp_path_factory.mktemp("kafka")) as settings:
        yield settings


@pytest.fixture
def service(kafka: KafkaSettings, fresh_database: Callable[[], str], tmp_path: Path) -> Iterator[Service]:
    url = fresh_database()
    migrate(url)
    found = Service(kafka, url, tmp_path)
    yield found
    found.close()


def told_by_the_next(service: Service, prefix: str) -> None:
    """What is said while nobody listens is applied by the next process."""
    service.say(prefix, 5)
    service.start()
    service.wait(lambda: service.rows(prefix) == 5, "the rows of what was said meanwhile")


def test_the_service_ends_with_an_error_when_its_engine_is_killed(service: Service) -> None:
    process, engine = service.start()
    assert "reconciler" in arguments(engine)
    os.kill(engine, signal.SIGKILL)
    assert process.wait(90) == 1
    told_by_the_next(service, secrets.token_hex(4))


def test_the_engine_ends_when_the_service_is_killed(service: Service) -> None:
    process, engine = service.start()
    process.kill()
    process.wait(90)
    service.wait(lambda: not is_alive(engine), "the engine gone")
    told_by_the_next(service, secrets.token_hex(4))


def test_a_service_asked_to_end_takes_its_engine_with_it(service: Service) -> None:
    prefix = secrets.token_hex(4)
    process, engine = service.start()
    service.say(prefix, 20)
    service.wait(lambda: service.rows(prefix) > 0, "the first rows")
    process.terminate()
    assert process.wait(90) == 0
    assert not is_alive(engine)
    told_by_the_next(service, secrets.token_hex(4))
    service.wait(lambda: service.rows(prefix) == 20, "every row")


def test_an_engine_asked_to_end_finishes_and_the_service_ends_to_be_started_again(service: Service) -> None:
    process, engine = service.start()
    os.kill(engine, signal.SIGTERM)
    assert process.wait(90) == 1
    assert not is_alive(engine)
    told_by_the_next(service, secrets.token_hex(4))
