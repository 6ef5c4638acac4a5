"""Where topics no longer hold all that was said, a build takes the facts that cleanup let go of from their snapshots."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from own_broker import own_broker
from test_bulk_build import (
    BULK,
    CODEC,
    LIVE,
    Connection,
    Topics,
    alike,
    begun,
    bulk,
    contents,
    many_histories,
    played,
    publish,
    settings_for,
)

from dosestream.db.generations import Generation, enter
from dosestream.db.snapshots import stored
from dosestream.events.records import EntitySnapshot
from dosestream.kafka.client import producer_config
from dosestream.kafka.snapshots import SnapshotWriter
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import rules_from
from dosestream.reconcile.snapshot import entities
from dosestream.settings import KafkaSettings, Settings

# What these topics held is in snapshots; merges by decision, and what ADT said of patients, is in their topics alone.
CUT = (Topic.ORDER, Topic.REPORT, Topic.STUDY)
# A record that says nothing is gone with its topic.
GONE = {"quarantine"}


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topics]:
    with own_broker(tmp_path_factory.mktemp("kafka")) as kafka:
        yield Topics(kafka, publish(kafka, many_histories(80)))


@pytest.fixture
def site(topics: Topics, fresh_database: Callable[[], str]) -> Settings:
    return settings_for(topics, fresh_database())


def snapshots_of(connection: Connection, site: Settings, generation: Generation) -> list[EntitySnapshot]:
    """The snapshots of all groups, as cleanup writes them."""
    with connection.transaction(), connection.cursor() as cursor:
        enter(cursor, generation)
        cursor.execute("SELECT DISTINCT grp FROM fact")
        groups = [int(row[0]) for row in cursor.fetchall()]
        found = stored(cursor, CODEC, rules_from(site), groups)
    return entities(kept for group in found for kept in group.kept)


def write(kafka: KafkaSettings, snapshots: list[EntitySnapshot]) -> None:
    writer = SnapshotWriter(kafka, CODEC, b"law")
    writer.write(writer.encoded(snapshots), 0)
    writer.close()


def lose(topics: Topics) -> int:
    """Let the first half of each partition expire; returns how many records that are."""
    config = {
        "bootstrap.servers": producer_config(topics.kafka, linger_ms=5, delivery_timeout_ms=60_000)[
            "bootstrap.servers"
        ]
    }
    cut = [
        TopicPartition(*partition, stop // 2)
        for partition, stop in topics.stops.items()
        if partition.topic in CUT
    ]
    # Kept while it works: its futures end with it.
    admin = AdminClient(config)
    for future in admin.delete_records(cut).values():
        future.result()
    return sum(one.offset for one in cut)


def test_facts_whose_records_expired_come_back_from_their_snapshots(
    topics: Topics, site: Settings, tmp_path: Path
) -> None:
    with psycopg.connect(site.postgres.url, autocommit=True) as connection:
        begun(connection, LIVE, topics)
        played(connection, site, LIVE, topics.records, 1)
        whole = contents(connection, LIVE)
        write(topics.kafka, snapshots_of(connection, site, LIVE))
        assert lose(topics) > 100
        built = bulk(site, topics, BULK, tmp_path / "work")
        found = contents(connection, BULK)
        alike(without(whole), without(found))
        assert max(built.begins.values()) > 0


def without(tables: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {table: rows for table, rows in tables.items() if table not in GONE}
