"""The reconciler's parts against a real broker and a real database."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from reading import held

from dosestream.cli import watch
from dosestream.db.migrate import migrate
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import (
    Alert,
    Decision,
    Demographics,
    Dose,
    DoseReport,
    DoseTotal,
    Identifier,
    Patient,
    Study,
)
from dosestream.events.schemas import Schema, from_text, load
from dosestream.kafka.codec import codec_for
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.reader import PartitionReader, RetentionError
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import KafkaSettings, PostgresSettings, Settings
from services.reconciler.engine import Engine
from services.reconciler.outbox import Outbox

START = 1_772_438_400_000_000


@pytest.fixture
def settings(kafka: KafkaSettings, fresh_database: Callable[[], str]) -> Settings:
    url = fresh_database()
    migrate(url)
    return Settings(kafka=kafka, postgres=PostgresSettings(url=url))


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    found = Engine(settings, codec_for(settings.kafka), Rules())
    found.start()
    yield found
    found.close()


@pytest.fixture
def publisher(kafka: KafkaSettings) -> Iterator[Publisher]:
    found = Publisher(kafka)
    yield found
    found.close()


def envelope(identity: str) -> dict[str, Any]:
    return {
        "event_id": content_hash(identity.encode())[:32],
        "source": "HIS|HOSP",
        "control_id": identity,
        "received_at": START,
        "raw_partition": 0,
        "raw_offset": 0,
        "event_time": START,
        "message_time": START,
    }


def patient(value: str) -> Patient:
    identifiers = (Identifier(authority="HOSP", value=value),)
    demographics = Demographics(identifiers=identifiers, name="DOE^JANE")
    return Patient(**envelope(value), action="update", trigger="A08", patient=demographics)


def names(settings: Settings, prefix: str) -> int:
    with psycopg.connect(settings.postgres.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM dose.patient WHERE patient_id LIKE %s", (prefix + "%",)
        ).fetchone()
    return 0 if row is None else int(row[0])


def publish(publisher: Publisher, key: str, values: list[str]) -> list[Record]:
    """Patients under one key, so on one partition."""
    found = []
    for value in values:
        encoded = Codec().encode(patient(value))
        where = publisher.publish_and_wait(str(Topic.PATIENT), key.encode(), encoded, [])
        found.append(Record(Partition(str(Topic.PATIENT), where.partition), where.offset, encoded))
    return found


def test_an_idle_tail_is_read_although_no_consumer_delivered_it(
    engine: Engine, settings: Settings, publisher: Publisher
) -> None:
    prefix = secrets.token_hex(4)
    sent = publish(publisher, prefix, [f"{prefix}{n}" for n in range(5)])
    engine.catch_up([sent[0].partition])
    assert names(settings, prefix) == 5
    assert engine.positions()[sent[0].partition] == sent[-1].offset + 1


def test_of_a_long_tail_so_many_records_are_read_at_a_time(
    engine: Engine, settings: Settings, publisher: Publisher
) -> None:
    prefix = secrets.token_hex(4)
    # What other tests left on the partition is read at once.
    where = publish(publisher, prefix, [prefix])[0].partition
    engine.catch_up([where])
    sent = publish(publisher, prefix, [f"{prefix}{n}" for n in range(5)])
    before = engine.positions()[where]
    read = []
    while engine.positions()[where] <= sent[-1].offset:
        engine.catch_up([where], most=2)
        read.append(engine.positions()[where] - before)
        before += read[-1]
    assert set(read[:-1]) <= {2} and read[-1] <= 2
    assert names(settings, prefix) == 6


def test_records_missing_before_a_batch_are_read_from_the_broker(
    engine: Engine, settings: Settings, publisher: Publisher
) -> None:
    prefix = secrets.token_hex(4)
    sent = publish(publisher, prefix, [f"{prefix}{n}" for n in range(5)])
    engine.apply([sent[1], sent[4]])
    assert names(settings, prefix) == 5


def test_a_crash_after_the_last_record_of_a_quiet_partition_loses_nothing(
    settings: Settings, publisher: Publisher
) -> None:
    prefix = secrets.token_hex(4)
    first = Engine(settings, Codec(), Rules())
    first.start()
    sent = publish(publisher, prefix, [f"{prefix}{n}" for n in range(3)])
    first.apply(sent[:2])
    first.close()
    second = Engine(settings, Codec(), Rules())
    second.start()
    second.catch_up([sent[0].partition])
    second.catch_up([sent[0].partition])
    second.close()
    assert names(settings, prefix) == 3


def test_an_unknown_schema_stops_its_partition_until_it_is_published(
    settings: Settings, publisher: Publisher
) -> None:
    prefix = secrets.token_hex(4)
    known: dict[bytes, Schema] = {}
    engine = Engine(settings, Codec(find_fingerprint=known.get), Rules())
    engine.start()
    document = json.loads(load("patient").text)
    document["fields"].append({"name": prefix, "type": "string", "default": "", "doc": "New."})
    newer = from_text("newer", json.dumps(document))
    first = publish(publisher, prefix, [f"{prefix}0"])[0]
    body = Codec().encode(patient(f"{prefix}1"))[10:] + b"\x00"
    value = b"\xc3\x01" + newer.fingerprint + body
    where = publisher.publish_and_wait(str(Topic.PATIENT), prefix.encode(), value, [])
    last = publish(publisher, prefix, [f"{prefix}2"])[0]
    engine.apply([last])
    assert names(settings, prefix) == 1
    assert engine.positions()[first.partition] == where.offset
    known[newer.fingerprint] = newer
    engine.catch_up([first.partition])
    engine.close()
    assert names(settings, prefix) == 3


def test_records_lost_to_retention_stop_the_reader_loudly(kafka: KafkaSettings, publisher: Publisher) -> None:
    where = publisher.publish_and_wait(str(Topic.AUDIT), b"k", b"one", [])
    publisher.publish_and_wait(str(Topic.AUDIT), b"k", b"two", [])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    trimmed = admin.delete_records([TopicPartition(str(Topic.AUDIT), where.partition, where.offset + 1)])
    for future in trimmed.values():
        future.result(10)
    reader = PartitionReader(kafka)
    try:
        with pytest.raises(RetentionError, match="restore the topic"):
            list(reader.read(Partition(str(Topic.AUDIT), where.partition), where.offset, where.offset + 2))
    finally:
        reader.close()


def test_a_changed_row_is_published_with_its_revision_and_its_mark_goes(
    engine: Engine, settings: Settings, publisher: Publisher
) -> None:
    uid = f"1.2.826.{int(secrets.token_hex(6), 16)}"
    study = Study(
        **envelope(uid),
        kind="dose_report",
        study_instance_uid=uid,
        sop_instance_uid=f"{uid}.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
        modality="SR",
        study_at=START,
        accession_number=uid[-8:],
        patient=Demographics(),
    )
    encoded = Codec().encode(study)
    where = publisher.publish_and_wait(str(Topic.STUDY), uid.encode(), encoded, [])
    engine.apply([Record(Partition(str(Topic.STUDY), where.partition), where.offset, encoded)])
    outbox = Outbox(settings, Codec())
    outbox.start()
    try:
        assert published(settings, uid) == ("waiting", 1, uid[-8:])
        deadline = time.monotonic() + 90
        while marks(settings):
            assert time.monotonic() < deadline, "the marks were not taken away"
            time.sleep(0.05)
    finally:
        outbox.stop()
        outbox.join(90)


def fluoroscopy(uid: str) -> Study:
    """A dose report of 6 Gy at the reference point."""
    return Study(
        **envelope(uid),
        kind="dose_report",
        study_instance_uid=uid,
        sop_instance_uid=f"{uid}.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
        modality="SR",
        study_at=START,
        patient=Demographics(),
        dose=DoseReport(template="10001", totals=(DoseTotal(quantity="dose_rp", value=6.0, unit="Gy"),)),
    )


def exclusion(uid: str) -> Decision:
    return Decision(
        event_id=content_hash(f"exclude {uid}".encode())[:32],
        received_at=START + 60_000_000,
        kind="exclude",
        by="duty",
        study_instance_uid=uid,
    )


def apply_published(engine: Engine, publisher: Publisher, topic: Topic, event: Study | Decision) -> None:
    encoded = Codec().encode(event)
    where = publisher.publish_and_wait(str(topic), event.study_instance_uid.encode(), encoded, [])
    engine.catch_up([Partition(str(topic), where.partition)])


def test_a_high_dose_is_an_alert_on_its_topic_until_its_study_is_excluded_or_the_threshold_is_another(
    engine: Engine, settings: Settings, publisher: Publisher
) -> None:
    excluded, kept = (f"1.2.826.{int(secrets.token_hex(6), 16)}" for _ in range(2))
    outbox = Outbox(settings, Codec())
    outbox.start()
    try:
        for uid in (excluded, kept):
            apply_published(engine, publisher, Topic.STUDY, fluoroscopy(uid))
        first = alert_records(settings, excluded, 1)[0]
        assert first is not None
        assert (first.kind, first.value, first.threshold, first.unit) == ("dose_rp", 6.0, 5.0, "Gy")
        assert (first.first_triggered_at, first.revision) == (START, 1)
        apply_published(engine, publisher, Topic.DECISION, exclusion(excluded))
        assert alert_records(settings, excluded, 2) == [first, None]
        status = {uid: (value, kind) for uid, kind, value in shown_alerts(settings)}
        assert status == {kept: (6.0, "dose_rp")}
        other = Engine(settings, Codec(), replace(Rules(), alert_thresholds={"dose_rp": 2.0}))
        other.start()
        try:
            while other.owing:
                other.drain()
        finally:
            other.close()
        again = alert_records(settings, kept, 2)[-1]
        assert again is not None
        assert (again.threshold, again.revision) == (2.0, 2)
    finally:
        outbox.stop()
        outbox.join(20)


def shown_alerts(settings: Settings) -> list[tuple[str, str, float]]:
    """Alerts as `dosestream status` shows them."""
    by_kind, newest = watch.alerts(settings.postgres.url)
    assert by_kind == {"dose_rp": len(newest)}
    return [(one.study_instance_uid, one.kind, one.value) for one in newest]


def alert_records(settings: Settings, uid: str, many: int) -> list[Alert | None]:
    """The records of a study on the alert topic, None for a tombstone, once there are so many."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = [
            None if value is None else Codec().decode(value, Alert)
            for key, value in keyed(settings, Topic.ALERT)
            if key == f"{uid}/dose_rp"
        ]
        if len(found) >= many:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no {many} alerts were published")


def keyed(settings: Settings, topic: Topic) -> list[tuple[str, bytes | None]]:
    """Every record of a topic by its key."""
    consumer = Consumer({"bootstrap.servers": settings.kafka.bootstrap, "group.id": secrets.token_hex(8)})
    found = []
    try:
        for number in consumer.list_topics(str(topic), timeout=10).topics[str(topic)].partitions:
            partition = TopicPartition(str(topic), number, 0)
            _, high = consumer.get_watermark_offsets(partition, timeout=10)
            consumer.assign([partition])
            position = 0
            while position < high:
                message = consumer.poll(10)
                assert message is not None, "the topic ended before its end"
                assert message.error() is None, message.error()
                position = message.offset() + 1
                found.append(((message.key() or b"").decode(), message.value()))
    finally:
        consumer.close()
    return found


def marks(settings: Settings) -> int:
    with psycopg.connect(settings.postgres.url) as connection:
        row = connection.execute("SELECT count(*) FROM dosestream_g1.outbox").fetchone()
    assert row is not None
    return int(row[0])


def published(settings: Settings, uid: str) -> tuple[str, int, str | None]:
    """The newest record of a study on the dose topic."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for record in held(settings.kafka, Topic.DOSE):
            if record.value is None:  # A row of another test is gone.
                continue
            found = Codec().decode(record.value, Dose)
            if found.study_instance_uid == uid:
                return found.link_state, found.revision, found.accession_number
        time.sleep(0.1)
    raise AssertionError("the row was not published")
