"""Everything lost but an archive of the raw topics and the decisions: topics and database again, with the same rows."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from heard import events_of
from own_broker import own_broker
from reading import held

from dosestream.archive.restore import restore
from dosestream.archive.take import archive
from dosestream.archive.verify import verify
from dosestream.db.migrate import migrate
from dosestream.events.codec import Codec
from dosestream.events.records import Clock, Decision, Event, RawMessage
from dosestream.kafka.client import producer_config
from dosestream.kafka.publisher import Position
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.topics import FACTS, Topic
from dosestream.reconcile.rules import rules_from
from dosestream.settings import KafkaSettings, PostgresSettings, RetentionSettings, Settings
from dosestream.simulate.history import History, history
from dosestream.simulate.stored import stored
from services.cleanup.service import clean
from services.reconciler.engine import Engine

pytestmark = pytest.mark.stack

CODEC = Codec()
YEAR_US = 365 * 86_400_000_000
# Rows that say when something was read, or where; what stands beside the facts.
NOT_DERIVED = ("message", "quarantine", "source")


def publish(kafka: KafkaSettings, records: Iterable[tuple[str, bytes, bytes]]) -> None:
    """Topic, key and value of each."""
    failed: list[str] = []
    producer: Any = Producer(producer_config(kafka, linger_ms=5, delivery_timeout_ms=30_000))
    for topic, key, value in records:
        producer.produce(
            topic,
            value,
            key,
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
    assert not producer.flush(60) and not failed


def heard(kafka: KafkaSettings, played: History) -> None:
    """The raw topics as ingest and arrivals fill them; a decision; the clock, gone on for three years."""
    raws = (stored(step, Settings()) for step in played.timeline)
    publish(
        kafka,
        ((str(topic), raw.source.encode(), CODEC.encode(raw)) for topic, raw in raws),
    )
    decision = Decision(
        event_id=f"{1:032d}",
        received_at=played.end,
        kind="exclude",
        by="duty",
        study_instance_uid=str(played.truth()[0].get("study_instance_uid") or "1.2.3"),
    )
    publish(kafka, [(str(Topic.DECISION), b"decision", CODEC.encode(decision))])


def normalised(kafka: KafkaSettings, now: int) -> None:
    """The normalised topics made of the raw ones, as ingest and arrivals make them, and a tick."""
    found: list[tuple[Topic, Event]] = [(Topic.CLOCK, Clock(at=now, ticker="test"))]
    for topic in (Topic.HL7_RAW, Topic.DICOM_RAW):
        for record in held(kafka, topic):
            raw = CODEC.decode(record.value or b"", RawMessage)
            found += events_of(raw, Position(record.partition.number, record.offset), Settings())
    publish(kafka, ((str(topic), b"key", CODEC.encode(event)) for topic, event in found))


def rebuilt(kafka: KafkaSettings, url: str) -> Settings:
    """An empty database, filled from the topics by a reconciler that starts on it."""
    migrate(url)
    kept = RetentionSettings(facts_days=400)
    settings = Settings(kafka=kafka, postgres=PostgresSettings(url), retention=kept)
    engine = Engine(settings, CODEC, rules_from(settings))
    engine.start()
    reader = PartitionReader(kafka)
    # The clock last, as it was: it decides nothing but what is over.
    engine.catch_up(where for topic in FACTS for where in reader.partitions(str(topic)))
    while engine.drain():
        pass
    reader.close()
    engine.close()
    return settings


def rows(url: str) -> dict[str, list[str]]:
    found = {}
    with psycopg.connect(url) as connection:
        views = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'dose' ORDER BY 1")
        for (view,) in views.fetchall():
            if view not in NOT_DERIVED:
                query = f"SELECT (to_jsonb(v) - 'updated_at' - 'revision')::text FROM dose.{view} v"
                found[view] = sorted(str(row[0]) for row in connection.execute(query.encode()))
    return found


@pytest.mark.timeout(600)
def test_database_and_topics_come_back_from_topics_alone_and_from_an_archive(
    tmp_path: Path, fresh_database: Callable[[], str]
) -> None:
    played = history(5, date(2026, 3, 14), days=1, sites=1, studies_a_day=8)
    now = played.end + 3 * YEAR_US
    first, second, third = (fresh_database() for _ in range(3))
    with own_broker(tmp_path / "first") as kafka:
        heard(kafka, played)
        normalised(kafka, now)
        settings = rebuilt(kafka, first)
        before = rows(first)
        assert len(before["study"]) > 5
        # Cleanup shortens nothing that is made of topics.
        assert clean(settings, threading.Event(), dry=False).removed["facts"]
        assert rows(first) == before
        # A database lost: an empty one, from the topics alone.
        rebuilt(kafka, second)
        assert rows(second) == before
        written = archive(kafka, tmp_path / "archive")
        assert {Topic(one.topic) for one in written} >= {
            Topic.HL7_RAW,
            Topic.DICOM_RAW,
            Topic.DECISION,
            Topic.SNAPSHOT,
        }
    assert verify(tmp_path / "archive")
    # All topics lost as well.
    with own_broker(tmp_path / "second") as kafka:
        assert restore(kafka, tmp_path / "archive") >= len(played.timeline)
        normalised(kafka, now)
        settings = rebuilt(kafka, third)
        assert rows(third) == before
        # And what was archived is archived still.
        assert archive(kafka, tmp_path / "archive", [str(Topic.HL7_RAW), str(Topic.DECISION)]) == []
        # The pointers of a database that was not lost lead to the restored snapshots.
        kept = replace(settings, postgres=PostgresSettings(first))
        engine = Engine(kept, CODEC, rules_from(kept))
        with psycopg.connect(first) as connection:
            connection.execute(
                "INSERT INTO dosestream_g1.dirty SELECT DISTINCT grp FROM dosestream_g1.snapshot"
            )
        while engine.drain():
            pass
        engine.close()
        with psycopg.connect(first) as connection:
            assert connection.execute("SELECT count(*) FROM dosestream_g1.snapshot").fetchall() == [(0,)]
        assert rows(first) == before
