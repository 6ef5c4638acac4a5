"""The same laws on the real database: `dosestream.db.apply` in place of the reconciler in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from histories import IN_ORDER, PLANS, RULES, Event, Plan, histories
from hypothesis import HealthCheck, Phase, given, settings

from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.ledger import begin
from dosestream.db.migrate import migrate
from dosestream.db.records import Decoded
from dosestream.events.codec import Codec

CODEC = Codec()
TABLES = (
    "study",
    "study_order",
    "dose_total",
    "irradiation_event",
    "imaging_order",
    "patient",
    "anomaly",
    "report",
    "turnaround",
    "scheduled_step",
    "missing_report",
    "alert",
    "cumulative",
)
NOT_CONTENT = {"revision", "updated_at"}
# Without shrinking, which takes minutes on a database; `make test-long` finds the smallest example.
FEW: dict[str, Any] = {
    "phases": [Phase.generate],
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
Connection = psycopg.Connection[Any]
Rows = dict[str, list[tuple[tuple[str, str], ...]]]


@pytest.fixture
def connection(fresh_database: Callable[[], str]) -> Iterator[Connection]:
    url = fresh_database()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as opened:
        yield opened


def empty(connection: Connection) -> None:
    """Take every row out of the live generation."""
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'dosestream_g1' AND tablename <> 'migration'"
    ).fetchall()
    for (table,) in tables:
        connection.execute(f"DELETE FROM dosestream_g1.{table}")


def played(connection: Connection, history: Sequence[Event], plan: Plan) -> Rows:
    """The public rows after a history was told by a plan."""
    empty(connection)
    batches = [[whole(item) for item in batch] for batch in plan.told(history)]
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        begin(cursor, {item.record.partition: 0 for batch in batches for item in batch})
    for batch, pause in zip(batches, plan.pauses(batches), strict=True):
        apply(connection, CODEC, RULES, batch)
        if pause:
            derive_dirty(connection, CODEC, RULES, 2)
    while derive_dirty(connection, CODEC, RULES, 2):
        pass
    return public_rows(connection)


def public_rows(connection: Connection) -> Rows:
    """What the views show."""
    found: Rows = {}
    for table in TABLES:
        cursor = connection.execute(f"SELECT * FROM dose.{table}")
        names = [column.name for column in cursor.description or ()]
        found[table] = sorted(
            tuple((n, str(v)) for n, v in zip(names, row, strict=True) if n not in NOT_CONTENT)
            for row in cursor.fetchall()
        )
    return found


def whole(item: Decoded) -> Decoded:
    assert item.event is not None
    return Decoded(item.record._replace(value=CODEC.encode(item.event)), item.event)


def telling_does_not_matter(connection: Connection, history: Sequence[Event], plan: Plan) -> None:
    assert played(connection, history, plan) == played(connection, history, IN_ORDER)


@given(history=histories(), plan=PLANS)
@settings(max_examples=40, derandomize=True, **FEW)
def test_the_database_holds_the_same_rows_however_it_is_told(
    connection: Connection, history: tuple[Event, ...], plan: Plan
) -> None:
    telling_does_not_matter(connection, history, plan)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(history=histories(25), plan=PLANS)
@settings(max_examples=1000, **{**FEW, "phases": list(Phase)})
def test_the_database_holds_the_same_rows_for_very_many_histories(
    connection: Connection, history: tuple[Event, ...], plan: Plan
) -> None:
    telling_does_not_matter(connection, history, plan)
