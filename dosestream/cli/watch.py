"""What a running stack says of itself: how much the topics hold, how far the ledger is, what was linked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg import sql

from dosestream.db.generations import live_generation
from dosestream.embedded.errors import StackError
from dosestream.kafka.client import admin_config
from dosestream.kafka.ends import ends
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import FACTS, TOPICS, Topic
from dosestream.settings import KafkaSettings

TIMEOUT_S = 10.0
# So many alerts are shown one by one.
NEWEST = 10


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic.

    Attributes:
        records: offsets between the earliest and the next one, all partitions together.
        behind: records the dose database has not applied, None where it does not read the topic.
    """

    name: str
    records: int
    behind: int | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Arrival to committed row, in milliseconds."""

    median_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class DoseState:
    """What the dose database holds."""

    messages: int
    studies: int
    by_link_state: Mapping[str, int]
    latency: Latency | None


def topics(kafka: str | KafkaSettings, postgres: str) -> list[TopicState]:
    """Every topic, in the order of the table.

    Raises:
        StackError: the broker or the database is away.
    """
    earliest, latest = watermarks(kafka)
    ledger = read_ledger(postgres)
    states = []
    for spec in TOPICS:
        places = [place for place in latest if place[0] == spec.name]
        reads = spec.name in FACTS
        states.append(
            TopicState(
                name=str(spec.name),
                records=sum(latest[place] - earliest[place] for place in places),
                behind=sum(max(0, latest[p] - max(ledger.get(p, 0), earliest[p])) for p in places)
                if reads
                else None,
            )
        )
    return states


def behind(kafka: str | KafkaSettings, postgres: str) -> int:
    """How many records of facts the dose database has yet to apply.

    Raises:
        StackError: the broker or the database is away.
    """
    # The clock always ticks: what it has yet to say is no work left.
    return sum(state.behind or 0 for state in topics(kafka, postgres) if state.name != Topic.CLOCK)


def watermarks(kafka: str | KafkaSettings) -> tuple[dict[Partition, int], dict[Partition, int]]:
    """Earliest and next offset of every partition of our topics.

    Raises:
        StackError: the broker is away.
    """
    settings = kafka if isinstance(kafka, KafkaSettings) else KafkaSettings(bootstrap=kafka)
    admin = AdminClient(admin_config(settings, log_level=0))
    try:
        return ends(admin, TIMEOUT_S)
    except KafkaException as error:
        raise StackError(
            f"Kafka at {settings.bootstrap} does not answer: see that the stack is up, then try again."
        ) from error


def read_ledger(postgres: str) -> dict[Partition, int]:
    """Next offset to apply by partition; empty before the first migration.

    Raises:
        StackError: the database is away.
    """
    with connect(postgres) as connection:
        if (generation := live_generation(connection)) is None:
            return {}
        ledger = sql.Identifier(generation.schema, "ledger")
        rows = connection.execute(sql.SQL("SELECT topic, partition, next FROM {}").format(ledger))
        return {
            Partition(str(topic), int(str(partition))): int(str(after)) for topic, partition, after in rows
        }


def dose(postgres: str) -> DoseState:
    """Counts from the public views.

    Raises:
        StackError: the database is away.
    """
    with connect(postgres) as connection:
        states = connection.execute("SELECT link_state, count(*) FROM dose.study GROUP BY 1 ORDER BY 1")
        by_link_state = {str(state): int(str(count)) for state, count in states}
        row = connection.execute(
            """
            SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)
            FROM (SELECT 1000 * extract(epoch FROM applied_at - received_at)::float8 AS ms FROM dose.message) AS m
            """
        ).fetchone()
    assert row is not None
    messages, median, p99 = row
    return DoseState(
        messages=int(str(messages)),
        studies=sum(by_link_state.values()),
        by_link_state=by_link_state,
        latency=None if median is None else Latency(float(str(median)), float(str(p99))),
    )


@dataclass(frozen=True, slots=True)
class SourceState:
    """How far one source has come; times in ISO 8601."""

    name: str
    last_received_at: str
    watermark: str
    idle: bool


def sources(postgres: str) -> list[SourceState]:
    """Every source that was ever heard.

    Raises:
        StackError: the database is away.
    """
    with connect(postgres) as connection:
        rows = connection.execute(
            "SELECT source, last_received_at, watermark, idle FROM dose.source ORDER BY 1"
        ).fetchall()
    return [
        SourceState(str(name), f"{heard:%Y-%m-%dT%H:%M:%S%z}", f"{told:%Y-%m-%dT%H:%M:%S%z}", bool(idle))
        for name, heard, told, idle in rows
    ]


@dataclass(frozen=True, slots=True)
class AlertState:
    """A total that reached its threshold, both in `unit`; the time in ISO 8601."""

    study_instance_uid: str
    kind: str
    value: float
    threshold: float
    unit: str
    first_triggered_at: str | None


def alerts(postgres: str) -> tuple[Mapping[str, int], list[AlertState]]:
    """How many alerts there are of each kind, and the newest of them.

    Raises:
        StackError: the database is away.
    """
    with connect(postgres) as connection:
        counts = connection.execute("SELECT kind, count(*) FROM dose.alert GROUP BY 1 ORDER BY 1").fetchall()
        rows = connection.execute(
            "SELECT study_instance_uid, kind, value, threshold, unit, to_char(first_triggered_at AT TIME ZONE 'UTC', "
            '\'YYYY-MM-DD"T"HH24:MI:SS"Z"\') FROM dose.alert ORDER BY first_triggered_at DESC NULLS LAST, 1, 2 LIMIT %s',
            (NEWEST,),
        ).fetchall()
    by_kind = {str(kind): int(str(count)) for kind, count in counts}
    return by_kind, [
        AlertState(
            str(uid),
            str(kind),
            float(str(value)),
            float(str(threshold)),
            str(unit),
            None if at is None else str(at),
        )
        for uid, kind, value, threshold, unit, at in rows
    ]


@dataclass(frozen=True, slots=True)
class CleanupState:
    """The last run of cleanup; times in ISO 8601, `ended_at` empty while it runs."""

    started_at: str
    ended_at: str
    outcome: str
    removed: Mapping[str, int]
    kept: Mapping[str, int]


def cleanup(postgres: str) -> CleanupState | None:
    """The last run of cleanup, None before the first.

    Raises:
        StackError: the database is away.
    """
    with connect(postgres) as connection:
        if not connection.execute(
            "SELECT 1 WHERE to_regclass('dosestream.cleanup_run') IS NOT NULL"
        ).fetchall():
            return None
        row = connection.execute(
            "SELECT started_at, ended_at, outcome, removed, kept FROM dosestream.cleanup_run "
            "ORDER BY number DESC LIMIT 1"
        ).fetchone()
    if row is None:
        return None
    started, ended, outcome, removed, kept = row
    return CleanupState(
        f"{started:%Y-%m-%dT%H:%M:%S%z}",
        "" if ended is None else f"{ended:%Y-%m-%dT%H:%M:%S%z}",
        str(outcome),
        cast("Mapping[str, int]", removed),
        cast("Mapping[str, int]", kept),
    )


def connect(postgres: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection to the dose database.

    Raises:
        StackError: it is away.
    """
    try:
        return psycopg.connect(postgres, connect_timeout=int(TIMEOUT_S))
    except psycopg.OperationalError as error:
        raise StackError(
            "PostgreSQL does not answer: see that the stack is up and its address right, then try again."
        ) from error
