"""Generations side by side on a real database: which one batches work on, what is compared, what is handed on."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from numbered import UID, named, order, report

from dosestream.db import generations, revisions
from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.compare import Comparison, Difference, compare
from dosestream.db.generations import Generation, Origin, enter
from dosestream.db.ledger import begin
from dosestream.db.migrate import migrate
from dosestream.db.records import Decoded
from dosestream.events.codec import Codec
from dosestream.events.records import (
    DoseReport,
    DoseTotal,
    Order,
    Patient,
    Study,
)
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import KafkaSettings, PostgresSettings, Settings
from services.reconciler.outbox import Outbox

CODEC, RULES = Codec(), Rules()
LIVE = Generation(1)
TOPICS = {Order: Topic.ORDER, Study: Topic.STUDY, Patient: Topic.PATIENT}
Connection = psycopg.Connection[Any]
Event = Order | Study | Patient


@pytest.fixture
def url(fresh_database: Callable[[], str]) -> str:
    found = fresh_database()
    migrate(found)
    return found


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as opened:
        yield opened


def made(connection: Connection) -> Generation:
    """A new generation, empty."""
    with connection.transaction():
        return generations.create(connection, Origin.NORMALISED, {}, {}, None, "").generation


def with_dlp(number: int, dlp: float, uid: str = UID, accession: str = "A1") -> Study:
    """A dose report with this total, mGy.cm."""
    total = DoseTotal(quantity="ct_dlp", value=dlp, unit="mGy.cm")
    return report(number, uid, accession, dose=DoseReport(template="10011", totals=(total,), events=()))


def tell(
    connection: Connection, generation: Generation, events: Sequence[Event], rules: Rules = RULES
) -> None:
    """Apply events to a generation, each topic's from offset 0 on."""
    ends: dict[Partition, int] = {}
    items = []
    for event in events:
        partition = Partition(str(TOPICS[type(event)]), 0)
        offset = ends.get(partition, 0)
        ends[partition] = offset + 1
        items.append(Decoded(Record(partition, offset, CODEC.encode(event)), event))
    with connection.transaction(), connection.cursor() as cursor:
        enter(cursor, generation)
        begin(cursor, dict.fromkeys(ends, 0))
    apply(connection, CODEC, rules, items, generation=generation)
    while derive_dirty(connection, CODEC, rules, generation=generation):
        pass


def compared(
    connection: Connection, new: Generation, codec: Codec = CODEC
) -> tuple[Comparison, list[Difference]]:
    found = Comparison()
    with connection.transaction():
        differences = list(compare(connection, LIVE, new, codec, found))
    return found, differences


def revision(connection: Connection, generation: Generation, uid: str) -> int | None:
    row = connection.execute(
        f"SELECT revision FROM {generation.schema}.study WHERE study_instance_uid = %s", (uid,)
    ).fetchone()
    return None if row is None else int(row[0])


def marks(connection: Connection, generation: Generation) -> dict[str, int]:
    return dict(connection.execute(f"SELECT * FROM {generation.schema}.outbox").fetchall())


def entered(cursor: psycopg.Cursor[Any]) -> str:
    enter_live_generation(cursor)
    row = cursor.execute("SHOW search_path").fetchone()
    assert row is not None
    return str(row[0])


def test_a_batch_that_waited_for_a_swap_works_on_the_new_generation(url: str, connection: Connection) -> None:
    new = made(connection)
    found: list[str] = []

    def batch() -> None:
        with psycopg.connect(url, autocommit=True) as other, other.transaction(), other.cursor() as cursor:
            # Once before, so that the statement is one the server has seen.
            found.append(entered(cursor))

    waiting = threading.Thread(target=batch)
    with psycopg.connect(url) as swapping:
        swapping.execute("SELECT number FROM dosestream.live_generation FOR UPDATE")
        waiting.start()
        deadline = time.monotonic() + 90
        blocked = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not connection.execute(blocked).fetchall():
            assert time.monotonic() < deadline, "the batch did not wait"
            time.sleep(0.01)
        generations.make_live(swapping, new)
    waiting.join(30)
    assert found == [new.schema]
    assert generations.live_generation(connection) == new


def test_one_connection_goes_on_with_the_new_generation_in_statements_it_prepared(
    connection: Connection,
) -> None:
    new = made(connection)
    history = [order(n, f"A{n}") for n in range(20)]
    for generation in (LIVE, new):
        with connection.transaction(), connection.cursor() as cursor:
            enter(cursor, generation)
            begin(cursor, {Partition(str(Topic.ORDER), 0): 0})

    def one(n: int) -> None:
        record = Record(Partition(str(Topic.ORDER), 0), n, CODEC.encode(history[n]))
        apply(connection, CODEC, RULES, [Decoded(record, history[n])])

    for n in range(10):
        one(n)
    with connection.transaction():
        generations.make_live(connection, new)
    for n in range(10):
        one(n)
    counts = [
        connection.execute(f"SELECT count(*) FROM {g.schema}.message").fetchall()[0][0] for g in (LIVE, new)
    ]
    assert counts == [10, 10]


SAME: list[Event] = [order(1, "A1"), report(2)]


@pytest.mark.parametrize(
    ("live", "next_", "why"),
    [
        pytest.param(
            SAME, [order(1, "A1")], "facts that only the live generation has", id="a report is missing"
        ),
        pytest.param([report(2)], SAME, "facts that only the new generation has", id="an order is new"),
        pytest.param(
            [order(1, "WRONG", placer="PLA1"), report(2)],
            SAME,
            "messages mapped otherwise: accession_number",
            id="the accession was read from the wrong field",
        ),
        pytest.param(
            [*SAME, named(3, "DOE^JANE")],
            [*SAME, named(3, "DOE^JANET")],
            "what is known of the patient",
            id="the patient's name was read otherwise",
        ),
    ],
)
def test_the_comparison_says_why_a_study_differs(
    connection: Connection, live: list[Event], next_: list[Event], why: str
) -> None:
    new = made(connection)
    tell(connection, LIVE, live)
    tell(connection, new, next_)
    found, differences = compared(connection, new)
    assert not found.same
    told = [one for one in differences if one.table == "study"]
    assert [one.why for one in told] == [(why,)]


def test_other_rules_are_told_with_and_without_a_change_of_content(connection: Connection) -> None:
    new = made(connection)
    tell(connection, LIVE, SAME)
    tell(connection, new, SAME, replace(RULES, duplicate_us=1))
    found, _ = compared(connection, new)
    assert (found.same, found.other_rules) == (True, 1)


def test_the_same_facts_in_another_order_are_the_same_generation(connection: Connection) -> None:
    new = made(connection)
    tell(connection, LIVE, [*SAME, named(3, "DOE^JANE")])
    tell(connection, new, [named(3, "DOE^JANE"), *SAME[::-1]])
    assert compared(connection, new)[0].same


def test_revisions_go_on_and_only_changed_rows_are_marked(connection: Connection) -> None:
    new = made(connection)
    kept, changed, gone = report(2), report(3, "1.2.2", "A2"), report(4, "1.2.3", "A3")
    tell(connection, LIVE, [order(1, "A1"), kept, changed, gone])
    connection.execute("UPDATE dosestream_g1.study SET revision = 7, updated_at = '2020-01-01'")
    connection.execute("DELETE FROM dosestream_g1.outbox")
    tell(connection, new, [order(1, "A1"), kept, order(5, "A2"), changed, report(6, "1.2.4", "A4")])
    revisions.carry(connection, LIVE, new)
    assert revisions.mark(connection, LIVE, new) == 3
    assert [revision(connection, new, uid) for uid in ("1.2.1", "1.2.2", "1.2.4")] == [7, 8, 1]
    assert marks(connection, new) == {"1.2.2": 8, "1.2.3": 0, "1.2.4": 1}
    years = connection.execute(
        "SELECT extract(year FROM updated_at)::int FROM dosestream_g2.study ORDER BY study_instance_uid"
    ).fetchall()
    assert years[0] == (2020,)
    assert years[1] > (2020,)


def test_what_was_not_published_before_a_swap_is_published_after_it(connection: Connection) -> None:
    new = made(connection)
    for generation in (LIVE, new):
        tell(connection, generation, SAME)
    revisions.carry(connection, LIVE, new)
    revisions.mark(connection, LIVE, new)
    assert marks(connection, new) == marks(connection, LIVE) == {"1.2.1": 1}


def test_alerts_go_on_and_only_changed_ones_are_marked(connection: Connection) -> None:
    new = made(connection)
    rules = replace(RULES, alert_thresholds={"ct_dlp": 1000.0})
    high = {
        uid: with_dlp(n, 2000.0, uid, f"A{n}") for n, uid in enumerate(("1.1", "1.2", "1.3", "1.4"), start=1)
    }
    more = replace(high["1.2"], dose=with_dlp(2, 3000.0).dose)
    less = replace(high["1.4"], dose=with_dlp(4, 100.0).dose)
    tell(connection, LIVE, list(high.values()), rules)
    connection.execute("UPDATE dosestream_g1.alert SET revision = 7, updated_at = '2020-01-01'")
    connection.execute("DELETE FROM dosestream_g1.alert_outbox")
    tell(connection, new, [high["1.1"], more, less, with_dlp(5, 2000.0, "1.5", "A5")], rules)
    for _ in range(2):
        revisions.carry(connection, LIVE, new)
        revisions.mark(connection, LIVE, new)
        rows = connection.execute(
            "SELECT study_instance_uid, revision, withdrawn, extract(year FROM updated_at) = 2020 "
            "FROM dosestream_g2.alert ORDER BY 1"
        ).fetchall()
        assert rows == [
            ("1.1", 7, False, True),
            ("1.2", 8, False, False),
            ("1.3", 8, True, False),
            ("1.4", 8, True, False),
            ("1.5", 1, False, False),
        ]
        marked = connection.execute(
            "SELECT study_instance_uid, revision FROM dosestream_g2.alert_outbox"
        ).fetchall()
        assert sorted(marked) == [("1.2", 8), ("1.3", 8), ("1.4", 8), ("1.5", 1)]
    found, differences = compared(connection, new)
    assert [one.key["study_instance_uid"] for one in differences if one.table == "alert"] == [
        "1.2",
        "1.3",
        "1.4",
        "1.5",
    ]
    assert not found.same


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("dose_next", True),
        ("dose_2026_03", True),
        ("dose", False),
        ("public", False),
        ("dosestream", False),
        ("dosestream_g4", False),
        ("pg_toast", False),
        ("Dose", False),
        ("2026", False),
        ("dose; drop schema dose", False),
        ("", False),
    ],
)
def test_names_of_schemas_are_checked(name: str, is_good: bool) -> None:
    assert (generations.mistake_in(name) == "") is is_good


def test_a_dropped_generation_takes_its_views_along_and_nothing_of_the_live_one(
    connection: Connection,
) -> None:
    new = made(connection)
    generations.show_beside(connection, new, "dose_look")
    tell(connection, LIVE, SAME)
    generations.drop(connection, next(e for e in generations.entries(connection) if e.generation == new))
    left = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'dose%' ORDER BY 1"
    ).fetchall()
    assert left == [("dose",), ("dosestream",), ("dosestream_g1",)]
    assert connection.execute("SELECT count(*) FROM dose.study").fetchall() == [(1,)]


def test_grants_and_views_of_others_live_on_through_a_swap(connection: Connection) -> None:
    new = made(connection)
    tell(connection, LIVE, [report(2)])
    tell(connection, new, SAME)
    connection.execute("CREATE SCHEMA theirs")
    connection.execute("CREATE VIEW theirs.linked AS SELECT * FROM dose.study WHERE link_state = 'linked'")
    connection.execute("DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    connection.execute("GRANT USAGE ON SCHEMA dose TO reader")
    connection.execute("GRANT SELECT ON dose.study TO reader")
    with connection.transaction():
        generations.make_live(connection, new)
    assert connection.execute("SELECT count(*) FROM theirs.linked").fetchall() == [(1,)]
    with connection.transaction():
        connection.execute("SET LOCAL ROLE reader")
        assert connection.execute("SELECT link_state FROM dose.study").fetchall() == [("linked",)]
    connection.execute("DROP OWNED BY reader")
    connection.execute("DROP ROLE reader")


def published(kafka: KafkaSettings, since: dict[Partition, int]) -> list[tuple[str, bytes | None]]:
    """Keys and values on the dose topic from these offsets on."""
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": "test", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(*partition, offset) for partition, offset in since.items()])
    left, found = len(since), list[tuple[str, bytes | None]]()
    while left:
        for message in consumer.consume(100, timeout=1.0):
            if message.error() is not None:
                left -= 1
                continue
            key = message.key()
            assert key is not None
            found.append((key.decode(), message.value()))
    consumer.close()
    return found


def ends(kafka: KafkaSettings) -> dict[Partition, int]:
    reader = PartitionReader(kafka)
    try:
        return {p: reader.watermarks(p)[1] for p in reader.partitions(str(Topic.DOSE))}
    finally:
        reader.close()


def test_after_a_swap_a_row_that_is_gone_is_a_tombstone_and_one_that_stayed_is_not_published(
    kafka: KafkaSettings, url: str, connection: Connection
) -> None:
    new = made(connection)
    stays, goes = (f"1.2.826.{int(secrets.token_hex(6), 16)}" for _ in range(2))
    tell(connection, LIVE, [report(1, stays), report(2, goes, "A2")])
    tell(connection, new, [report(1, stays)])
    begun = ends(kafka)
    outbox = Outbox(Settings(kafka=kafka, postgres=PostgresSettings(url=url)), CODEC)
    outbox.start()

    def publishes(generation: Generation) -> None:
        deadline = time.monotonic() + 60
        while marks(connection, generation):
            assert time.monotonic() < deadline, "the marks stay"
            time.sleep(0.05)

    try:
        publishes(LIVE)
        before = ends(kafka)
        with connection.transaction():
            connection.execute("SELECT number FROM dosestream.live_generation FOR UPDATE")
            revisions.carry(connection, LIVE, new)
            assert revisions.mark(connection, LIVE, new) == 1
            generations.make_live(connection, new)
        publishes(new)
    finally:
        outbox.stop()
        outbox.join(20)
    first = [key for key, value in published(kafka, begun) if value is not None]
    assert {stays, goes} <= set(first)
    assert [one for one in published(kafka, before) if one[0] in (stays, goes)] == [(goes, None)]
