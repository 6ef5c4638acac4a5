"""Cleanup at any moment changes no row, and no later result: on the real database, and with the real topic."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from histories import DAY, IN_ORDER, PLANS, RULES, Event, Plan, histories
from hypothesis import HealthCheck, Phase, given, settings
from snapshot_topic import SnapshotTopic
from test_laws_database import CODEC, Rows, empty, public_rows, whole
from test_laws_database import played as played_alone

from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.facts import ForgottenError
from dosestream.db.ledger import begin
from dosestream.db.migrate import migrate
from dosestream.db.retention import PAGES, delete_page, pages
from dosestream.db.snapshots import recall
from dosestream.events.records import EntitySnapshot, SnapshotFact
from dosestream.kafka.records import Pointer
from dosestream.kafka.snapshots import SnapshotReader, SnapshotWriter
from dosestream.reconcile.retention import Limits
from dosestream.settings import KafkaSettings
from services.cleanup.forget import Forgetting, Tally, Writer

Connection = psycopg.Connection[Any]
# Later than any receipt: everything goes, what is still open too.
ALL = 2**60
YEAR_9999 = 253_370_764_800_000_000
FEW: dict[str, Any] = {
    "phases": [Phase.generate],
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture
def connection(fresh_database: Callable[[], str]) -> Iterator[Connection]:
    url = fresh_database()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as opened:
        yield opened


def forget(connection: Connection, topic: Writer) -> Tally:
    """Let go of all that may go, and of the index of what is gone."""
    tally = Tally()
    work = Forgetting(connection, CODEC, RULES, topic, Limits(ALL, ALL), tally)
    after: int | None = -1
    seen: set[int] = set()
    while after is not None:
        after = work.page(after, seen, dry=False)
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        for first in range(0, pages(cursor, "message"), PAGES):
            tally.removed["message_index"] += delete_page(cursor, "message_index", YEAR_9999, first)
    return tally


def remembering(connection: Connection, topic: Any, work: Callable[[], Any]) -> Any:
    while True:
        try:
            return work()
        except ForgottenError as let_go:
            assert recall(connection, CODEC, let_go.entities, topic.fetch)


def played(connection: Connection, history: Sequence[Event], plan: Plan, topic: Any) -> tuple[Rows, Tally]:
    """The rows after a history was told by a plan, with cleanup in between; and what it did in all."""
    empty(connection)
    rng = random.Random(plan.seed + 3)
    batches = [[whole(item) for item in batch] for batch in plan.told(history)]
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        begin(cursor, {item.record.partition: 0 for batch in batches for item in batch})

    def settle() -> None:
        while remembering(connection, topic, lambda: derive_dirty(connection, CODEC, RULES, 2)):
            pass

    total = Tally()
    for batch, pause in zip(batches, plan.pauses(batches), strict=True):
        remembering(connection, topic, lambda batch=batch: apply(connection, CODEC, RULES, batch))  # type: ignore[misc]
        if pause:
            settle()
        if rng.random() < 0.6:
            before = public_rows(connection)
            done = forget(connection, topic)
            total.removed += done.removed
            assert public_rows(connection) == before
    settle()
    return public_rows(connection), total


def cleanup_changes_nothing(connection: Connection, history: Sequence[Event], plan: Plan, topic: Any) -> int:
    found, tally = played(connection, history, plan, topic)
    assert found == played_alone(connection, history, IN_ORDER)
    return tally.removed["facts"]


@given(history=histories(), plan=PLANS)
@settings(max_examples=30, derandomize=True, **FEW)
def test_cleanup_at_any_moment_changes_no_row_and_no_later_result(
    connection: Connection, history: tuple[Event, ...], plan: Plan
) -> None:
    cleanup_changes_nothing(connection, history, plan, SnapshotTopic(CODEC))


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(history=histories(25), plan=PLANS)
@settings(max_examples=600, **{**FEW, "phases": list(Phase)})
def test_cleanup_changes_nothing_of_very_many_histories(
    connection: Connection, history: tuple[Event, ...], plan: Plan
) -> None:
    cleanup_changes_nothing(connection, history, plan, SnapshotTopic(CODEC))


class Kafka:
    """The real topic, written and read."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.writer = SnapshotWriter(kafka, CODEC, b"law")
        self.reader = SnapshotReader(kafka, CODEC)
        self.key, self.encoded, self.fits = self.writer.key, self.writer.encoded, self.writer.fits
        self.write, self.fetch = self.writer.write, self.reader.fetch

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


@pytest.fixture(params=["in memory", "on Kafka"])
def topic(request: pytest.FixtureRequest) -> Iterator[Any]:
    made: Any = SnapshotTopic(CODEC)
    if request.param == "on Kafka":
        made = Kafka(request.getfixturevalue("kafka"))
    yield made
    made.close()


def test_a_snapshot_is_read_back_by_its_place_and_a_newer_one_takes_it_over(topic: Any) -> None:
    def snapshot(entity: str, *ids: str) -> EntitySnapshot:
        facts = tuple(SnapshotFact(event_id=i, kind="order", received_at=1, value=b"v") for i in ids)
        return EntitySnapshot(entity=entity, facts=facts)

    one, other = snapshot("order|a:1", "x"), snapshot("study|1.2", "y")
    first = topic.write(topic.encoded([one, other]), 0)
    found = topic.fetch(list(first.values()))
    assert {s.entity: s for s in found.values()} == {one.entity: one, other.entity: other}
    grown = snapshot("order|a:1", "x", "z")
    again = topic.write(topic.encoded([grown]), 0)
    key = topic.key(one.entity)
    assert again[key] != first[key]
    assert topic.fetch([again[key]]) == {key: grown}
    assert topic.fits(topic.encoded([one])[key])


@given(history=histories(), plan=PLANS)
@settings(max_examples=4, derandomize=True, **FEW)
def test_cleanup_changes_nothing_with_the_snapshots_on_kafka(
    connection: Connection, kafka: KafkaSettings, history: tuple[Event, ...], plan: Plan
) -> None:
    topic = Kafka(kafka)
    try:
        cleanup_changes_nothing(connection, history, plan, topic)
    finally:
        topic.close()


def test_cleanup_lets_go_of_what_these_histories_say(connection: Connection) -> None:
    """The laws above would hold for a cleanup that does nothing."""
    gone: list[int] = []

    @given(history=histories(), plan=PLANS)
    @settings(max_examples=8, derandomize=True, **FEW)
    def tried(history: tuple[Event, ...], plan: Plan) -> None:
        gone.append(cleanup_changes_nothing(connection, history, plan, SnapshotTopic(CODEC)))

    tried()
    assert sum(count > 0 for count in gone) > len(gone) / 3


class FirstReceiptsLost(SnapshotTopic):
    """Broken: facts come back as if they had been heard later."""

    def fetch(self, pointers: Sequence[Pointer]) -> dict[str, EntitySnapshot]:
        found = super().fetch(pointers)
        return {
            entity: replace(
                one, facts=tuple(replace(f, received_at=f.received_at + 10 * DAY) for f in one.facts)
            )
            for entity, one in found.items()
        }


def test_a_topic_that_loses_first_receipts_is_found_out(connection: Connection) -> None:
    @given(history=histories(), plan=PLANS)
    @settings(max_examples=30, derandomize=True, report_multiple_bugs=False, **FEW)
    def tried(history: tuple[Event, ...], plan: Plan) -> None:
        cleanup_changes_nothing(connection, history, plan, FirstReceiptsLost(CODEC))

    with pytest.raises(AssertionError):
        tried()
