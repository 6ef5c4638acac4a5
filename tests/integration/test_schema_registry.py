"""With a schema registry: away and back, by user and password, over TLS; and what subscribers then read.

The registry is a stand-in (`registry_stand_in.py`): what is tried is our side of its API, not a registry.
"""

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import sr_builder as sr
from arrivals_running import dose_report, running, settings_for
from certificates import Authority
from own_broker import own_broker
from registry_stand_in import StandIn
from running_stack import wait_until
from test_ingest import Ingest
from test_subscribers import EXAMPLES, subscriber_in_java

from dosestream.client.send import code
from dosestream.db.migrate import migrate
from dosestream.embedded import ports
from dosestream.events.codec import CONFLUENT, Codec
from dosestream.events.records import Audit, RawMessage, Study
from dosestream.kafka.admin import publish_schemas
from dosestream.kafka.codec import codec_for, reading_codec
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.registry import RegistryError
from dosestream.kafka.topics import TOPICS, Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import DicomSettings, KafkaSettings, PostgresSettings, Settings
from services.arrivals.intake import STORE
from services.reconciler.engine import Engine

E = TypeVar("E", RawMessage, Study, Audit)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def message(control: str) -> bytes:
    return (
        f"MSH|^~\\&|HIS|HOSP|DS|CITY|20260301120000||ADT^A08|{control}|P|2.5\rEVN|A08|20260301120000\r"
        "PID|||4711^^^HOSP||DOE^JANE||19800101|F\rPV1||I\r"
    ).encode()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    with own_broker(tmp_path_factory.mktemp("registry-broker")) as kafka:
        yield kafka


def test_ingest_answers_ae_until_the_registry_gave_ids_and_goes_on_when_it_is_away_again(
    broker: KafkaSettings, tmp_path: Path
) -> None:
    port = ports.free(set())
    url = f"http://127.0.0.1:{port}"
    ingest = Ingest(broker, tmp_path, f'[kafka]\nschema_registry = "{url}"\n')
    try:
        sender = ingest.sender()
        assert code(sender.send(message("M1"))) == "AE"
        registry = StandIn(port)
        try:
            wait_until(lambda: code(sender.send(message("M1"))) == "AA", "AA on the same connection", 60.0)
            assert set(registry.subjects) == {f"{spec.name}-value" for spec in TOPICS if spec.schema}
            assert set(registry.levels.values()) == {"FULL_TRANSITIVE"}
        finally:
            registry.stop()
        assert code(sender.send(message("M2"))) == "AA", "ids that are known go on"
        sender.close()
    finally:
        assert ingest.stop() == 0


def test_the_reconciler_waits_for_a_registry_that_is_away_at_the_start(
    broker: KafkaSettings, fresh_database: Callable[[], str]
) -> None:
    port, url = ports.free(set()), fresh_database()
    migrate(url)
    kafka = replace(broker, schema_registry=f"http://127.0.0.1:{port}")
    engine = Engine(
        Settings(kafka=kafka, postgres=PostgresSettings(url=url)), codec_for(kafka, later=True), Rules()
    )
    starting = threading.Thread(target=engine.start)
    starting.start()
    starting.join(1.0)
    assert starting.is_alive(), "it started without ids"
    registry = StandIn(port)
    try:
        starting.join(60)
        assert not starting.is_alive()
        assert engine.positions() != {}
    finally:
        registry.stop()
        engine.close()


def test_arrivals_refuses_for_now_until_the_registry_gave_ids_and_goes_on_when_it_is_away_again(
    broker: KafkaSettings, tmp_path: Path
) -> None:
    port = ports.free(set())
    kafka = replace(broker, schema_registry=f"http://127.0.0.1:{port}")
    dicom = DicomSettings(host="127.0.0.1", port=0)
    reports = [dose_report() for _ in range(3)]
    first, second, third = map(sr.part10, reports)
    with running(settings_for(kafka, tmp_path, dicom)) as arrivals, arrivals.storer() as storer:
        assert storer.store(first) == STORE.out_of_resources == 0xA700
        assert stored(broker, port) == [], "nothing was stored that has no schema yet"
        registry = StandIn(port)
        try:
            wait_until(lambda: storer.store(first) == 0, "success on the same association", 60.0)
            assert storer.store(second) == 0
        finally:
            registry.stop()
        assert storer.store(third) == 0, "ids that are known go on"
    # The sender has heard success of three: each is there raw once, and as a study.
    again = StandIn(port)
    again.ids = registry.ids
    try:
        sent = sorted(str(one.SOPInstanceUID) for one in reports)
        assert stored(broker, port) == sent
        assert sorted(one.control_id for one in read(broker, port, Topic.STUDY, Study)) == sent
        # What was refused meanwhile is on the audit trail, too.
        audits = [one for one in read(broker, port, Topic.AUDIT, Audit) if one.service == "arrivals"]
        # What was held until there was an id may lie behind what came later.
        audits.sort(key=lambda one: one.received_at)
        answers = [one.answer for one in audits if one.kind == "receipt"]
        assert answers[0] == "A700"
        assert answers[-3:] == ["0000"] * 3
    finally:
        again.stop()


def stored(broker: KafkaSettings, port: int) -> list[str]:
    """The SOP instance UIDs that are stored raw."""
    return sorted(one.control_id for one in read(broker, port, Topic.DICOM_RAW, RawMessage))


def read(broker: KafkaSettings, port: int, topic: Topic, kind: type[E]) -> list[E]:
    """The records on a topic, in order, all of them with ids of the registry at this port."""
    codec = reading_codec(replace(broker, schema_registry=f"http://127.0.0.1:{port}"))
    reader = PartitionReader(broker)
    try:
        values = [
            record.value or b""
            for partition in reader.partitions(str(topic))
            for batch in reader.read(partition, *reader.watermarks(partition))
            for record in batch
        ]
    finally:
        reader.close()
    assert {value[:1] for value in values} <= {CONFLUENT}
    return [codec.decode(value, kind) for value in values]


def in_python(bootstrap: str, url: str) -> list[str]:
    page = str(EXAMPLES / "python" / "subscriber.py")
    return [sys.executable, page, "--bootstrap", bootstrap, "--to-end", "--registry", url, str(Topic.HL7_RAW)]


def in_java(bootstrap: str, url: str) -> list[str]:
    java, *words = subscriber_in_java(bootstrap)
    return [java, f"-Dregistry={url}", *words[: words.index(bootstrap) + 1], str(Topic.HL7_RAW)]


@pytest.mark.parametrize("subscriber", [in_python, in_java])
def test_an_example_reads_records_of_both_frames(
    broker: KafkaSettings, subscriber: Callable[[str, str], list[str]]
) -> None:
    registry = StandIn()
    url = f"http://127.0.0.1:{registry.port}"
    publish_schemas(broker)
    publisher = Publisher(broker)
    try:
        with_ids = codec_for(KafkaSettings(bootstrap=broker.bootstrap, schema_registry=url))
        raw = RawMessage(
            source=subscriber.__name__,
            control_id="M",
            message_type="ADT^A08",
            received_at=1,
            transport="mllp",
            content_hash="0",
            body=b"MSH|",
        )
        values = [with_ids.encode(raw), Codec().encode(raw)]
        assert values[0][:1] == CONFLUENT
        # Records of the test above have ids of another registry; the same ones, since schemas are registered in order.
        for value in values:
            publisher.publish_and_wait(str(Topic.HL7_RAW), b"k", value, [])
        command = subscriber(broker.bootstrap, url)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        found = [json.loads(line)["value"] for line in done.stdout.splitlines()]
        assert [one["message_type"] for one in found if one["source"] == raw.source] == ["ADT^A08"] * 2
    finally:
        publisher.close()
        registry.stop()


def test_a_registry_is_asked_with_the_user_and_password_of_the_file(tmp_path: Path) -> None:
    registry = StandIn(user="dosestream:s3cret")
    secret = tmp_path / "secret"
    kafka = KafkaSettings(
        schema_registry=f"http://127.0.0.1:{registry.port}", schema_registry_auth_file=str(secret)
    )
    try:
        secret.write_text("dosestream:wrong\n")
        with pytest.raises(RegistryError, match="401"):
            codec_for(kafka)
        assert registry.refused
        secret.write_text("dosestream:s3cret\n")
        codec_for(kafka)
        assert registry.subjects
    finally:
        registry.stop()


def test_a_registry_over_tls_is_trusted_by_the_authorities_of_the_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("registry")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    registry = StandIn(tls=tls)
    url = f"https://127.0.0.1:{registry.port}"
    try:
        with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"):
            codec_for(KafkaSettings(schema_registry=url))
        codec_for(KafkaSettings(schema_registry=url, schema_registry_ca_file=str(authority.certificate)))
        assert registry.subjects
    finally:
        registry.stop()
