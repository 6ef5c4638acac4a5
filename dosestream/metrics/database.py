"""What the dose database says of itself, one statement a metric, as a table.

The tables of the live generation are read, not the views: a count may take long, and a swap of generations must
not wait for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from dosestream.db.generations import live_generation
from dosestream.db.retention import BY_AGE
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic
from dosestream.knowledge.thresholds import AlertSettings
from dosestream.metrics import names
from dosestream.metrics.exposition import Sample
from dosestream.metrics.labels import LONGEST, plain
from dosestream.metrics.names import Metric

Row = tuple[object, ...]
# One statement.
TIMEOUT: Final = "60s"
MOST_SOURCES: Final = 500


@dataclass(frozen=True, slots=True)
class Counted:
    """A metric and the statement whose rows are its samples: the labels, then the value.

    Attributes:
        always: labels that are told as 0 where no row has them, so that a rule sees the first one come.
    """

    metric: Metric
    query: str
    always: tuple[tuple[str, ...], ...] = ()


SOURCES = f"(SELECT * FROM source ORDER BY last_received_at DESC LIMIT {MOST_SOURCES}) AS s"
TABLE: Final = (
    Counted(
        names.STUDIES,
        "SELECT link_state, phase, count(*) FROM study WHERE NOT excluded GROUP BY 1, 2",
        tuple(
            (state, phase)
            for state in ("linked", "waiting", "unmatched", "ambiguous", "conflict")
            for phase in ("provisional", "final", "amended")
        ),
    ),
    Counted(names.EXCLUDED, "SELECT count(*) FROM study WHERE excluded"),
    Counted(
        names.ORDERS,
        "SELECT state, count(*) FROM imaging_order GROUP BY 1",
        (("expected",), ("overdue",), ("cancelled",), ("performed",)),
    ),
    Counted(names.ANOMALIES, "SELECT kind, count(*) FROM anomaly GROUP BY 1"),
    Counted(
        names.HIGH_DOSE,
        "SELECT kind, count(*) FROM alert WHERE NOT withdrawn GROUP BY 1",
        tuple((kind,) for kind in AlertSettings.__dataclass_fields__),
    ),
    Counted(
        names.OUTBOX,
        f"SELECT '{Topic.DOSE}', count(*) FROM outbox UNION ALL SELECT '{Topic.ALERT}', count(*) FROM alert_outbox",
    ),
    Counted(names.DIRTY, "SELECT count(*) FROM dirty"),
    Counted(names.QUARANTINED, "SELECT count(*) FROM quarantine"),
    Counted(names.CLOCK_AGE, "SELECT extract(epoch FROM clock_timestamp() - at) FROM clock"),
    Counted(
        names.SILENT,
        f"SELECT source, greatest(0, extract(epoch FROM clock_timestamp() - last_received_at)) FROM {SOURCES}",
    ),
    Counted(names.SILENCE, f"SELECT source, extract(epoch FROM silence) FROM {SOURCES}"),
    Counted(names.DATABASE, "SELECT pg_database_size(current_database())"),
)
# Of the service itself, whichever generation is live.
CLEANUP: Final = (
    Counted(
        names.CLEANED,
        "SELECT key, sum(value::bigint) FROM dosestream.cleanup_run, jsonb_each_text(removed) GROUP BY 1",
        tuple((kind,) for kind in ("facts", "groups", "snapshots", *BY_AGE)),
    ),
    Counted(
        names.CLEANUP_RUNS,
        "SELECT outcome, count(*) FROM dosestream.cleanup_run WHERE outcome <> 'running' GROUP BY 1",
        (("done",), ("interrupted",)),
    ),
    Counted(
        names.CLEANUP_DONE,
        "SELECT extract(epoch FROM ended_at) FROM dosestream.cleanup_run WHERE outcome = 'done' "
        "ORDER BY number DESC LIMIT 1",
    ),
)


def rows(connection: psycopg.Connection[Row], table: tuple[Counted, ...]) -> list[Sample]:
    """The samples of a table.

    Raises:
        psycopg.Error: the database is away, or a statement took too long.
    """
    with connection.transaction():
        _enter(connection)
        return [sample for one in table for sample in _samples(connection, one)]


def positions(connection: psycopg.Connection[Row]) -> dict[Partition, int]:
    """The ledger; raises psycopg.Error."""
    with connection.transaction():
        _enter(connection)
        found = connection.execute("SELECT topic, partition, next FROM ledger").fetchall()
    return {Partition(str(topic), int(str(number))): int(str(after)) for topic, number, after in found}


def _enter(connection: psycopg.Connection[Row]) -> None:
    """Read the live generation to the end of the transaction, without holding it."""
    generation = live_generation(connection)
    schema = sql.Identifier(generation.schema if generation is not None else "dosestream")
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(schema))
    connection.execute(f"SET LOCAL statement_timeout = '{TIMEOUT}'".encode())


def _samples(connection: psycopg.Connection[Row], one: Counted) -> Iterator[Sample]:
    found: dict[tuple[str, ...], float] = dict.fromkeys(one.always, 0.0)
    for *labels, value in connection.execute(one.query.encode()).fetchall():
        key = tuple(plain(str(label)[:LONGEST]) for label in labels)
        found[key] = float(str(value)) if key not in found else max(found[key], float(str(value)))
    yield from (Sample(one.metric, value, labels) for labels, value in found.items())
