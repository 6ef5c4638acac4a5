"""Commands that only read, with a schema registry that is away: they need it for no more than schemas they do not know."""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_broker import own_broker
from registry_stand_in import StandIn
from running_stack import DOSESTREAM

from dosestream.db.migrate import migrate
from dosestream.embedded import ports
from dosestream.events.codec import Codec
from dosestream.events.records import Rejection
from dosestream.kafka.codec import codec_for
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

BODY = b"MSH|^~\\&|RIS|HOSP|DS|X|20260301||ADT^A40|M1|P|2.5\rEVN||2026\rPID|||||\r"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    with own_broker(tmp_path_factory.mktemp("reading-broker")) as kafka:
        publish(kafka, Codec(), "known")
        yield kafka


def publish(kafka: KafkaSettings, codec: Codec, name: str) -> None:
    """A rejection on its topic."""
    rejection = Rejection(
        event_id=name.ljust(32, "0"),
        source="RIS|HOSP",
        control_id=name,
        received_at=1_772_438_400_000_000,
        transport="mllp",
        raw_offset=0,
        raw_partition=0,
        code="no_patient_id",
        reason="PID-3 is empty",
        body=BODY,
    )
    publisher = Publisher(kafka)
    publisher.publish_and_wait(str(Topic.REJECTED), b"k", codec.encode(rejection), [])
    publisher.close()


@pytest.fixture
def run(
    broker: KafkaSettings, fresh_database: Callable[[], str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command with the broker, a database, and a registry at a port of this machine."""
    url = fresh_database()
    migrate(url)

    def run(registry: int, *words: str) -> subprocess.CompletedProcess[str]:
        environ = {
            **os.environ,
            "DOSESTREAM_KAFKA": broker.bootstrap,
            "DOSESTREAM_POSTGRES": url,
            "DOSESTREAM_SCHEMA_REGISTRY": f"http://127.0.0.1:{registry}",
        }
        return subprocess.run(
            [DOSESTREAM, *words],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


# The words, the exit code, and what it says.
READING = [
    (("status", "--json"), 0, '"rejected": 1'),
    (("tail", "hl7.rejected", "--from-beginning", "--count", "1"), 0, "no_patient_id"),
    (("tail", "hl7.rejected", "--from-beginning", "--to-end"), 0, "no_patient_id"),
    (("tail", "hl7.rejected", "--from-beginning", "--to-end", "--grep", "nothing holds this"), 0, ""),
    (("rejected", "list"), 0, "PID-3 is empty"),
    (("rejected", "show", "known"), 0, "ADT^A40"),
    (("rejected", "retry", "--all", "--dry-run"), 1, "stays: no_patient_id"),
    (("show", "1.2.3"), 2, "Nothing on the topics names study 1.2.3."),
    (("missing",), 0, "0 missing"),
    (("check", "--from-raw"), 0, ""),
    (("archive", "archive"), 0, "records in"),
    (("archive", "archive", "--verify"), 0, "are as they were written"),
]


def test_commands_that_only_read_do_not_ask_for_a_registry_that_is_away(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    away = ports.free(set())
    for words, code, said in READING:
        done = run(away, *words)
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), (words, done)
        assert "registry" not in done.stderr, (words, done.stderr)


@pytest.mark.parametrize(
    "words",
    [("rejected", "retry", "--all"), ("exclude", "--study", "1.2.3", "--reason", "test", "--by", "NN")],
    ids=["retry", "decision"],
)
def test_a_command_that_writes_says_that_the_registry_is_away_and_writes_nothing(
    run: Callable[..., subprocess.CompletedProcess[str]], broker: KafkaSettings, words: tuple[str, ...]
) -> None:
    before = held(broker)
    done = run(ports.free(set()), *words)
    assert done.returncode == 2, done
    (said,) = done.stderr.splitlines()
    assert said.startswith("dosestream: The schema registry at http://127.0.0.1:")
    assert said.endswith("then try again.")
    assert held(broker) == before


def held(broker: KafkaSettings) -> dict[Partition, tuple[int, int]]:
    """The ends of the topics to which a person's commands write."""
    reader = PartitionReader(broker)
    try:
        topics = (Topic.REJECTED, Topic.DECISION, Topic.PATIENT)
        return {one: reader.watermarks(one) for topic in topics for one in reader.partitions(str(topic))}
    finally:
        reader.close()


def test_records_with_ids_of_a_registry_are_read_while_it_answers_and_named_while_it_does_not(
    run: Callable[..., subprocess.CompletedProcess[str]], broker: KafkaSettings
) -> None:
    registry = StandIn()
    try:
        url = f"http://127.0.0.1:{registry.port}"
        name = secrets.token_hex(4)
        publish(broker, codec_for(KafkaSettings(bootstrap=broker.bootstrap, schema_registry=url)), name)
        registered = dict(registry.ids)
        listed = run(registry.port, "rejected", "list")
        assert listed.returncode == 0, listed.stderr
        assert name in listed.stdout
        assert registry.ids == registered, "reading registers nothing"
    finally:
        registry.stop()
    away = run(registry.port, "rejected", "list")
    assert away.returncode == 2
    told = away.stderr.splitlines()
    assert told[-1].startswith(
        f"dosestream: {Topic.REJECTED}[0] offset 1 cannot be read: schema with registry id"
    )
    assert "Connection refused" in told[0]
    assert "Traceback" not in away.stderr
