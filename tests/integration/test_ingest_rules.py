"""Profiles, limits and the sampled conformance in the running service, against a real broker."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading import records
from running_stack import wait_until
from test_ingest import Ingest, R

from dosestream.client.send import code
from dosestream.events.records import Order, RawMessage, Rejection
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

pytestmark = pytest.mark.stack

PATIENT = "GEHEIM"
CONFIG = """
[[source]]
name = "{source}"
sending_application = "{source}"

[limits]
rejected_in_a_row = 3

[conformance]
sample = "1/2"
per_minute = 1000
"""
PROFILE = """
[[profile]]
name = "visits"
source = "{source}"
types = ["ORM^O01"]
on_violation = "reject"
required = ["PV1-19.1"]
"""


class Strict:
    """An ingest whose one source must say a visit number."""

    def __init__(self, kafka: KafkaSettings, folder: Path) -> None:
        self.source = f"STRICT{secrets.token_hex(6)}"
        self.kafka = kafka
        self.config = folder / "dosestream.toml"
        self.ingest = Ingest(kafka, folder, (CONFIG + PROFILE).format(source=self.source))

    def order(self, control: str, visit: str = "") -> bytes:
        segments = (
            f"MSH|^~\\&|{self.source}|HOSP|DS|CITY|20260301120000||ORM^O01|{control}|P|2.5",
            f"PID|||{PATIENT}^^^HOSP||{PATIENT}^JOHN||19800101|Q",
            f"PV1||I|||||||||||||||||{visit}",
            f"ORC|NW|P{control}",
            "OBR|1||F|CT1",
            "ZZQ|1",
        )
        return "".join(f"{segment}\r" for segment in segments).encode()

    def send(self, message: bytes) -> bytes:
        with self.ingest.sender() as sender:
            return sender.send(message)

    def count(self, topic: Topic, kind: type[R]) -> int:
        return sum(one.source == self.source for _, one in records(self.kafka, topic, kind))

    def report(self) -> str:
        """What the service logs when it is asked."""
        self.ingest.process.send_signal(signal.SIGUSR1)
        return self.ingest.log.read_text()


@pytest.fixture
def strict(kafka: KafkaSettings, tmp_path: Path) -> Iterator[Strict]:
    service = Strict(kafka, tmp_path)
    yield service
    assert service.ingest.stop() == 0, service.ingest.log.read_text()


def test_a_message_that_breaks_its_profile_is_refused_with_the_place(strict: Strict) -> None:
    answer = strict.send(strict.order("1"))
    assert code(answer) == "AE"
    assert b"\rERR||PV1^1^19^1^1|101^Required field missing^HL70357|E|" in answer
    (rejection,) = [
        one for _, one in records(strict.kafka, Topic.REJECTED, Rejection) if one.source == strict.source
    ]
    assert (rejection.code, rejection.location, rejection.answer) == ("profile", "PV1-19.1", "AE")
    assert strict.count(Topic.ORDER, Order) == 0
    assert code(strict.send(strict.order("2", visit="V1"))) == "AA"
    assert strict.count(Topic.ORDER, Order) == 1


def test_a_source_whose_messages_all_fail_is_stopped_until_one_succeeds(strict: Strict) -> None:
    held = strict.order("4")
    for control in ("1", "2", "3"):
        assert b"|101^" in strict.send(strict.order(control))
    for _ in range(2):
        answer = strict.send(held)
        assert code(answer) == "AE"
        assert b"|207^" in answer
    assert strict.count(Topic.REJECTED, Rejection) == 3
    assert strict.count(Topic.HL7_RAW, RawMessage) == 5
    wait_until(lambda: f"{strict.source} ORM^O01 is stopped: 5" in strict.report(), "the stop in the report")
    assert code(strict.send(strict.order("5", visit="V1"))) == "AA"
    # Sent again it is tried again: refused by the profile, and for a person to see.
    assert b"|101^" in strict.send(held)
    assert strict.count(Topic.REJECTED, Rejection) == 4


def test_a_reload_lifts_the_stop_and_what_was_held_is_taken_when_it_comes_again(strict: Strict) -> None:
    held = strict.order("9")
    for control in ("1", "2", "3"):
        strict.send(strict.order(control))
    assert b"|207^" in strict.send(held)
    strict.config.write_text(CONFIG.format(source=strict.source))
    os.kill(strict.ingest.process.pid, signal.SIGHUP)
    wait_until(lambda: "configuration was read again" in strict.ingest.log.read_text(), "the reload")
    assert code(strict.send(held)) == "AA"
    assert strict.count(Topic.ORDER, Order) == 1


def test_what_is_found_is_counted_by_source_and_rule_without_patient_data(strict: Strict) -> None:
    for control in range(4):
        assert code(strict.send(strict.order(str(control), visit="V1"))) == "AA"

    text = ""

    # A report is several lines of the log, which may be read between two of them.
    def told() -> bool:
        nonlocal text
        text = strict.report()
        return "conformance: 2 messages checked, 0 passed over" in text and "table PID-8: 2" in text

    wait_until(told, "two sampled messages checked, and what was found", timeout_s=120)
    assert f"profile: {strict.source}: value PID-8: 4, unknown ZZQ: 4" in text
    assert f"conformance: {strict.source}: " in text
    assert PATIENT not in text
