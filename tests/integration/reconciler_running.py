"""`dosestream reconciler` as a process of its own, and patients to tell it of."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from dosestream import ready
from dosestream.embedded.process import Process, last_words, spawn, stop, wrapped
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import Demographics, Identifier, Patient
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

START = 1_772_438_400_000_000


class Service:
    """`dosestream reconciler` on a database of its own, started as often as asked.

    `bootstrap`: where it finds the brokers, if not where they are.
    """

    def __init__(
        self, kafka: KafkaSettings, url: str, folder: Path, member: str = "one", bootstrap: str = ""
    ) -> None:
        self.url, self._folder = url, folder
        self._env = {
            **os.environ,
            "DOSESTREAM_KAFKA": bootstrap or kafka.bootstrap,
            "DOSESTREAM_POSTGRES": url,
            "DOSESTREAM_MEMBER": member,
            "FAUST_DATADIR": str(folder / "faust"),
            ready.VARIABLE: str(folder / "ready.json"),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "reconciler.log"
        self._publisher = Publisher(kafka)
        self.process: Process | None = None

    def launch(self) -> Process:
        """The service's process, as it starts."""
        (self._folder / "ready.json").unlink(missing_ok=True)
        script = Path(sys.executable).with_name("dosestream")
        self.process = spawn(wrapped([sys.executable, str(script), "reconciler"]), self.log, self._env)
        return self.process

    def start(self) -> Process:
        """The service's process, ready."""
        process = self.launch()
        self.wait_ready()
        return process

    @property
    def is_ready(self) -> bool:
        """Whether it announced itself."""
        return (self._folder / "ready.json").exists()

    def wait_ready(self) -> None:
        """Until it announces itself."""

        def ready_or_ended() -> bool:
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            return self.is_ready

        self.wait(ready_or_ended, "ready")

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
