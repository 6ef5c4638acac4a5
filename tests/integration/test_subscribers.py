"""Subscribers of others on a running stack: the pages of `examples/`, and `dosestream tail`.

A hospital's day goes through the real ports, a person decides, cleanup's snapshot is written: then every topic has
records, and every example has to read every one of them as our own codec does.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from reading import stored
from running_stack import RunningStack, wait_until

from dosestream.cli import watch
from dosestream.cli.tail import tail
from dosestream.embedded import jars
from dosestream.events.codec import Codec
from dosestream.events.records import CLASSES, Dose, EntitySnapshot, SnapshotFact
from dosestream.events.schemas import folder
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.snapshots import SnapshotWriter
from dosestream.kafka.topics import TOPICS, Topic
from dosestream.settings import KafkaSettings
from dosestream.simulate.day import plan
from dosestream.simulate.play import Ports, play

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DOSESTREAM = str(Path(sys.executable).with_name("dosestream"))
CONFIG = '[alert]\ndose_rp = "1 mGy"\nct_dlp = "1 mGy.cm"\n'
CHANNELS = {
    one["address"]: one
    for one in yaml.safe_load((folder() / "asyncapi.yaml").read_text())["channels"].values()
}
SCHEMA_OF = {str(spec.name): spec.schema for spec in TOPICS if spec.schema is not None}
Place = tuple[str, int, int]
Fields = dict[str, Any]


class Held:
    """What the topics held at one moment, read by our own codec."""

    def __init__(self, bootstrap: str) -> None:
        self.records: dict[Place, tuple[str, Fields | None, dict[str, str]]] = {}
        for message in stored(KafkaSettings(bootstrap=bootstrap), SCHEMA_OF.__contains__):
            topic, value, headers = message.topic(), message.value(), dict(message.headers())
            event = None if value is None else Codec().decode(value, CLASSES[SCHEMA_OF[topic]])
            self.records[topic, message.partition(), message.offset()] = (
                message.key().decode(),
                None if event is None else event.to_datum(),
                {name: text.decode() for name, text in headers.items()},
            )

    def of(self, topic: str) -> list[tuple[str, Fields | None, dict[str, str]]]:
        return [record for (name, _, _), record in self.records.items() if name == topic]


def command(stack: RunningStack, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOSESTREAM, *words, "--ready-file", str(stack.ready_file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **more,
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose every topic has records."""
    folder = tmp_path_factory.mktemp("subscribers")
    config = folder / "dosestream.toml"
    config.write_text(CONFIG)
    with RunningStack.start(folder, "--config", str(config)) as stack:
        played = play(plan(811, datetime.now(UTC).date()).timeline, Ports.of(stack.ready), 90.0)
        assert played.surprises == ()
        wait_until(lambda: rows(stack.ready["postgres"], "SELECT 1 FROM dose.alert") != [], "an alert")
        # A decision, which withdraws the alerts of its study: tombstones.
        ((study,),) = rows(stack.ready["postgres"], "SELECT study_instance_uid FROM dose.alert LIMIT 1")
        done = command(stack, "exclude", "--study", study, "--by", "a physicist", "--reason", "phantom")
        assert done.returncode == 0, done.stderr
        kafka = KafkaSettings(bootstrap=stack.ready["kafka"])
        writer = SnapshotWriter(kafka, Codec(), b"secret")
        fact = SnapshotFact(event_id="e1", kind="order", received_at=1, value=b"\xc3\x01")
        writer.write(writer.encoded([EntitySnapshot(entity="order 1", facts=(fact,))]), 1)
        writer.close()
        wait_until(
            lambda: rows(stack.ready["postgres"], "SELECT 1 FROM dose.study WHERE excluded") != [],
            "the exclusion",
        )
        wait_until(
            lambda: watch.behind(stack.ready["kafka"], stack.ready["postgres"]) == 0, "the ledger at rest"
        )
        wait_until(
            lambda: any(value is None for _, value, _ in Held(stack.ready["kafka"]).of(str(Topic.ALERT))),
            "the tombstone of an alert",
        )
        yield stack


@pytest.fixture(scope="module")
def held(running: RunningStack) -> Held:
    return Held(running.ready["kafka"])


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def python(*words: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / "python" / words[0]), *words[1:]]


def subscriber_in_python(bootstrap: str) -> list[str]:
    return python("subscriber.py", "--bootstrap", bootstrap, "--to-end", *SCHEMA_OF)


def subscriber_in_java(bootstrap: str) -> list[str]:
    build = [sys.executable, str(ROOT / "bench" / "peers" / "maven.py"), str(EXAMPLES / "java")]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the example in Java cannot be built: {done.stderr.strip()}")
    return [jars.java(), "-cp", done.stdout.strip(), "Subscriber", bootstrap, *SCHEMA_OF]


def plain_fields(schema: str) -> dict[str, Any]:
    """The fields of a record that every language prints alike: no times, bytes or nested values."""
    fields = json.loads((folder() / f"{schema}.avsc").read_text())["fields"]
    plain = ("string", "boolean", "int", "long", "double")
    return {
        field["name"]: kind
        for field in fields
        for kind in (field["type"] if isinstance(field["type"], list) else [field["type"]])
        if kind in plain
    }


@pytest.mark.parametrize("subscriber", [subscriber_in_python, subscriber_in_java])
def test_an_example_reads_every_record_of_every_topic(
    running: RunningStack, held: Held, subscriber: Callable[[str], list[str]]
) -> None:
    assert {topic for topic, _, _ in held.records} == set(SCHEMA_OF), "a topic has no record"
    done = subprocess.run(
        subscriber(running.ready["kafka"]), capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    found = {(one["topic"], one["partition"], one["offset"]): one for one in printed}
    assert len(found) == len(printed)
    assert held.records.keys() - found.keys() == set()
    fields = {topic: plain_fields(schema) for topic, schema in SCHEMA_OF.items()}
    for place, (key, datum, _) in held.records.items():
        one = found[place]
        assert one["key"] == key
        if datum is None:
            assert one["value"] is None
            continue
        wanted = {name: datum[name] for name in fields[place[0]]}
        assert {name: one["value"][name] for name in wanted} == wanted


def test_the_reader_of_the_document_reads_rows(running: RunningStack) -> None:
    page = (ROOT / "docs" / "subscribing.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    assert "127.0.0.1:9092" in code
    # It ends when nothing has come for ten seconds.
    words = [sys.executable, "-c", code.replace("127.0.0.1:9092", running.ready["kafka"])]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 10
    assert " linked " in done.stdout


def test_headers_are_those_of_the_contract(held: Held) -> None:
    for topic, channel in CHANNELS.items():
        for _, _, headers in held.of(topic):
            assert headers["ce_type"] in channel["x-ce-type"].split(", ")
            assert headers["ce_specversion"] == "1.0"
            assert headers["content-type"] == "application/avro"
            assert headers["ce_id"]
            assert headers["ce_source"].startswith("urn:dosestream:")
            datetime.fromisoformat(headers["ce_time"])


@pytest.fixture(scope="module")
def other_database(running: RunningStack) -> str:
    """Another database; that it is on the same server is nothing to the sink."""
    url: str = running.ready["postgres"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE of_another_system")
    return re.sub(r"/[^/?]*(\?|$)", r"/of_another_system\1", url)


def sink(running: RunningStack, url: str) -> None:
    bootstrap = running.ready["kafka"]
    words = python("sql_sink.py", "--bootstrap", bootstrap, "--into", url, "--to-end")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


COMPARED = (
    "study_instance_uid, revision, patient_id, accession_number, procedure_code, link_state, ct_dlp_total_mgycm, "
    "dose_rp_total_gy"
)


def same_rows(running: RunningStack, url: str) -> bool:
    theirs = rows(url, f"SELECT {COMPARED} FROM study_dose WHERE NOT gone ORDER BY 1")
    return theirs == rows(running.ready["postgres"], f"SELECT {COMPARED} FROM dose.study ORDER BY 1")


def test_the_sink_has_the_rows_of_the_dose_database(running: RunningStack, other_database: str) -> None:
    def at_rest() -> bool:
        sink(running, other_database)
        return same_rows(running, other_database)

    wait_until(at_rest, "the same rows in the other database")
    assert rows(other_database, "SELECT count(*) FROM study_dose WHERE NOT gone")[0][0] > 10


def test_the_sink_keeps_the_highest_revision_and_lets_go_what_is_gone(
    running: RunningStack, other_database: str
) -> None:
    uid = "1.2.826.0.1.3680043.10.1"
    publisher = Publisher(KafkaSettings(bootstrap=running.ready["kafka"]))

    def told(revision: int | None) -> tuple[Any, ...]:
        row = dose_row(uid, revision) if revision is not None else None
        value = None if row is None else Codec().encode(row)
        publisher.publish_and_wait(str(Topic.DOSE), uid.encode(), value, [])
        sink(running, other_database)
        held = rows(
            other_database,
            f"SELECT revision, gone, accession_number FROM study_dose WHERE study_instance_uid = '{uid}'",
        )
        return held[0]

    try:
        assert told(1) == (1, False, "A1")
        assert told(3) == (3, False, "A3")
        assert told(2) == (3, False, "A3"), "an older one heard late"
        assert told(None) == (3, True, None)
        assert told(3) == (3, True, None), "what is gone, heard again"
        assert told(4) == (4, False, "A4"), "the study came back"
        # Leave nothing behind.
        assert told(None)[1] is True
    finally:
        publisher.close()


def dose_row(uid: str, revision: int) -> Dose:
    return Dose(
        study_instance_uid=uid,
        revision=revision,
        updated_at=1,
        rules_hash="r",
        link_state="linked",
        phase="final",
        excluded=False,
        accession_number=f"A{revision}",
        evidence="{}",
    )


def test_tail_prints_every_topic_for_a_person(
    running: RunningStack, held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec in TOPICS:
        tail(str(spec.name), from_beginning=True, count=1, ready_file=running.ready_file)
        text = capsys.readouterr().out
        head, *body = text.splitlines()
        assert str(spec.name) in head
        assert "offset 0" in head
        assert "cannot be read" not in text
        assert any("ce_type: " in line for line in body) == (spec.name is not Topic.SCHEMAS)


def test_tail_prints_json_with_key_and_headers(running: RunningStack, held: Held) -> None:
    done = command(running, "tail", "dose", "--from-beginning", "--json", "--count", "5")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 5
    for one in found:
        key, datum, headers = held.records[one["topic"], one["partition"], one["offset"]]
        assert (one["key"], one["headers"]) == (key, headers)
        assert (one["value"] is None) == (datum is None)
        if datum is not None:
            assert one["value"]["evidence"] == datum["evidence"]


def test_tail_finds_what_is_asked_for(running: RunningStack, held: Held) -> None:
    wanted = next(d for _, d, _ in held.of(str(Topic.DOSE)) if d is not None and d["accession_number"])
    pattern = f"accession_number: {re.escape(wanted['accession_number'])}$"
    words = ("tail", "radiology.dose.v1", "--from-beginning", "--count", "1", "--grep", f"(?m){pattern}")
    done = command(running, *words)
    assert f"accession_number: {wanted['accession_number']}" in done.stdout


def test_tail_follows_what_comes_until_it_is_told_to_stop(running: RunningStack, tmp_path: Path) -> None:
    words = [DOSESTREAM, "tail", "clock", "--ready-file", str(running.ready_file)]
    out = tmp_path / "out"
    with out.open("w") as into:
        # Tests that run in the background have Ctrl-C ignored, and their children with them.
        process = subprocess.Popen(
            words,
            stdout=into,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        wait_until(lambda: out.read_text().count("radiology.clock.v1[0]") >= 2, "two ticks")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, out.read_text()
    finally:
        process.kill()
        process.wait()


MISTAKES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "a topic that is none of ours": (("tail", "doses"), "give one of hl7.raw, dicom.raw"),
    "no regular expression": (("tail", "dose", "--grep", "("), "no regular expression"),
}


@pytest.mark.parametrize(("words", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_tail_says_what_is_wrong(running: RunningStack, words: tuple[str, ...], said: str) -> None:
    done = command(running, *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_tail_says_that_the_broker_is_away(running: RunningStack, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps(running.ready | {"kafka": "127.0.0.1:1"}))
    words = [DOSESTREAM, "tail", "dose", "--ready-file", str(ready)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 2
    assert "Kafka does not answer" in done.stderr.splitlines()[-1]
