"""A generation built in bulk is the one that live batches make of the same records."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from confluent_kafka import Producer
from histories import MORNING, RULES, TOPIC_OF, Event, Plan, histories
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from own_broker import own_broker

from dosestream.db import ledger, reference_levels
from dosestream.db.apply import apply, derive_dirty
from dosestream.db.digest import digest
from dosestream.db.facts import CLASS_OF
from dosestream.db.generations import Generation, Origin, create, enter
from dosestream.db.migrate import migrate
from dosestream.db.records import Decoded, decode
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import Clock
from dosestream.kafka.client import producer_config
from dosestream.kafka.records import Partition, Record
from dosestream.knowledge.reference_levels import ReferenceLevelSettings
from dosestream.knowledge.thresholds import AlertSettings
from dosestream.reconcile.rules import rules_from
from dosestream.settings import KafkaSettings, MatchingSettings, PostgresSettings, Settings
from services.reconciler.replay import build as build_module
from services.reconciler.replay.build import build
from services.reconciler.replay.plan import (
    STAGES,
    BuildPlan,
    BuildRunningError,
    Built,
    StoppedPartitionsError,
)

CODEC = Codec()
LIVE, BULK, PREFIX, AGAIN = (Generation(number) for number in (1, 2, 3, 4))
PARTITIONS = 4
# Written beside the content, or of the record that came first of several with one event.
LEFT_OUT = {
    "grp",
    "revision",
    "updated_at",
    "applied_at",
    "quarantined_at",
    "loaded_at",
    "partition",
    "offset",
}
NOT_COMPARED = {"migration", "put_away", "dirty", "outbox", "alert_outbox", "ledger"}
# Room for a lock that belongs to nothing, and alerts that no longer hold, are no rows.
ROWS = {"identifier": "WHERE grp IS NOT NULL", "alert": "WHERE NOT withdrawn"}
LEVELS = (ReferenceLevelSettings(name="CT", quantity="ct_dlp", value=500.0, unit="mGy.cm"),)
# What these histories have none of.
EMPTY = {"administration", "dose_check", "organ_dose", "snapshot", "unread", "xray_source"}
# What names nobody has the same name in every history.
NOBODY = {"", '""', "UNKNOWN", "0"}
NAMES = {
    "value",
    "placer_order_number",
    "filler_order_number",
    "accession_number",
    "requested_procedure_id",
    "study_instance_uid",
    "sop_instance_uid",
    "irradiation_event_uid",
    "filler_appointment_id",
    "control_id",
}
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Topics:
    """A broker whose topics hold a history, and the records of it in the order they were published."""

    kafka: KafkaSettings
    records: Sequence[Record]

    @property
    def stops(self) -> dict[Partition, int]:
        """The end of each partition."""
        found: dict[Partition, int] = {}
        for record in self.records:
            found[record.partition] = record.offset + 1
        return found


def renamed(event: Event, number: int) -> Event:
    """The event as one of another history: of other patients, orders and studies."""

    def other(datum: Any) -> Any:
        if isinstance(datum, dict):
            return {
                name: f"{number}.{value}"
                if name in NAMES and isinstance(value, str) and value not in NOBODY
                else other(value)
                for name, value in datum.items()
            }
        return [other(one) for one in datum] if isinstance(datum, list | tuple) else datum

    if isinstance(event, Clock):
        return event
    datum = other(orjson.loads(orjson.dumps(event.to_datum())))
    datum["event_id"] = content_hash(f"{number}:{event.event_id}".encode())[:32]
    return type(event).from_datum(datum)


def many_histories(count: int) -> list[Event]:
    """Histories of patients of their own, told one into the other, with repeats."""
    found: list[Event] = []
    numbers = iter(range(count))

    @given(histories())
    @hypothesis_settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def collect(history: tuple[Event, ...]) -> None:
        if (number := next(numbers, None)) is not None:
            found.extend(renamed(event, number) for event in history)

    collect()
    told = Plan(7, repeated=False, crashing=False, largest=1000, ahead_again=False).told(found)
    rng = random.Random(7)
    events: list[Event] = [item.event for batch in told for item in batch if item.event is not None]  # type: ignore[misc]
    for event in rng.sample(events, len(events) // 10):
        if not isinstance(event, Clock):
            later = replace(event, received_at=event.received_at + rng.choice((0, 1, 10_000_000)))
            events.insert(rng.randint(0, len(events)), later)
    ordered = Plan(7, shuffled=False, repeated=False, crashing=False, largest=10**6).told(events)
    return [item.event for batch in ordered for item in batch if item.event is not None]  # type: ignore[misc]


def partition_of(event: Event) -> Partition:
    """Where an event goes: all copies of it to one partition."""
    number = 0 if isinstance(event, Clock) else int(event.event_id[:8], 16) % PARTITIONS
    return Partition(str(TOPIC_OF[type(event)]), number)


def publish(kafka: KafkaSettings, events: Sequence[Event]) -> list[Record]:
    """Publish events in this order, and a record that says nothing; the records as the topics hold them."""
    producer = Producer(producer_config(kafka, linger_ms=5, delivery_timeout_ms=60_000))
    ends: dict[Partition, int] = {}
    records = []
    values = [(partition_of(event), CODEC.encode(event)) for event in events]
    values.insert(len(values) // 2, (Partition("radiology.order.v1", 1), b"no record"))
    for partition, value in values:
        producer.produce(partition.topic, value, b"key", partition.number)
        offset = ends.get(partition, 0)
        ends[partition] = offset + 1
        records.append(Record(partition, offset, value))
    producer.flush()
    return records


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topics]:
    with own_broker(tmp_path_factory.mktemp("kafka")) as kafka:
        yield Topics(kafka, publish(kafka, many_histories(80)))


@pytest.fixture
def site(topics: Topics, fresh_database: Callable[[], str]) -> Settings:
    """A site whose database has room for four generations."""
    url = fresh_database()
    migrate(url)
    with psycopg.connect(url) as connection:
        for generation in (BULK, PREFIX, AGAIN):
            made = create(connection, Origin.NORMALISED, topics.stops, topics.stops, None, "")
            assert made.generation == generation
    return Settings(
        kafka=topics.kafka,
        postgres=PostgresSettings(url=url),
        matching=MatchingSettings(stop_list=tuple(RULES.stop_list)),
        alert=AlertSettings(ct_dlp="20 mGy.cm"),
        reference_level=LEVELS,
    )


@pytest.fixture
def connection(site: Settings) -> Iterator[Connection]:
    with psycopg.connect(site.postgres.url, autocommit=True) as opened:
        yield opened


def played(
    connection: Connection, site: Settings, generation: Generation, records: Sequence[Record], seed: int
) -> None:
    """Apply records as the live reconciler does, in batches of any size."""
    rules = rules_from(site)
    rng = random.Random(seed)
    at = 0
    while at < len(records):
        size = rng.choice((1, 5, 20, 60))
        batch, stopped = decode(CODEC, records[at : at + size])
        assert not stopped
        apply(connection, CODEC, rules, batch, generation=generation)
        if rng.random() < 0.3:
            derive_dirty(connection, CODEC, rules, 5, generation=generation)
        at += size
    while derive_dirty(connection, CODEC, rules, 100, generation=generation):
        pass


def begun(connection: Connection, generation: Generation, topics: Topics) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        enter(cursor, generation)
        ledger.begin(cursor, dict.fromkeys(topics.stops, 0))
        reference_levels.load(cursor, LEVELS)


def contents(connection: Connection, generation: Generation) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table, group numbers left out."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s", (generation.schema,)
    ).fetchall()
    for (table,) in tables:
        if table in NOT_COMPARED:
            continue
        cursor = connection.execute(
            f"SELECT * FROM {generation.schema}.{table} {ROWS.get(table, '')}".encode()
        )
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        found[table] = sorted(
            (tuple((n, said(table, n, v, row)) for n, v in row.items() if n not in LEFT_OUT) for row in rows),
            key=repr,
        )
    return found


def said(table: str, name: str, value: Any, row: Mapping[str, Any]) -> Any:
    """A value as it is compared: which copy of a repeated record is kept is nobody's matter."""
    if table == "patient" and name == "fold":
        return orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS)
    if table == "fact" and name == "value":
        return repr(replace(CODEC.decode(value, CLASS_OF[row["kind"]]), received_at=0))
    if table == "fact" and name == "header" and value is not None:
        return orjson.dumps({**value, "received_at": 0}, option=orjson.OPT_SORT_KEYS)
    return repr(value)


def groups(connection: Connection, generation: Generation) -> dict[str, int]:
    """The group of each fact."""
    found = connection.execute(f"SELECT event_id, grp FROM {generation.schema}.fact".encode()).fetchall()
    return dict(found)


def bulk(site: Settings, topics: Topics, generation: Generation, work: Path, **more: Any) -> Built:
    plan = BuildPlan(generation, more.pop("stops", topics.stops), work, **more)
    return build(site, plan, lambda _: None)


def alike(one: Mapping[str, Sequence[Any]], other: Mapping[str, Sequence[Any]]) -> None:
    """The tables hold the same rows; else what each holds alone."""
    assert one.keys() == other.keys()
    differ = {
        table: (
            [row for row in one[table] if row not in other[table]],
            [row for row in other[table] if row not in one[table]],
        )
        for table in one
        if one[table] != other[table]
    }
    assert not differ


def refines(fine: Mapping[str, int], coarse: Mapping[str, int]) -> None:
    """Facts of one group of the first are of one group of the other. Groups that once met stay one in batches, also
    where a later word parts them; built at once they never met."""
    assert fine.keys() == coarse.keys()
    into: dict[int, set[int]] = {}
    for event_id, group in fine.items():
        into.setdefault(group, set()).add(coarse[event_id])
    assert all(len(those) == 1 for those in into.values())


def test_a_bulk_build_leaves_what_live_batches_leave(
    topics: Topics, site: Settings, connection: Connection, tmp_path: Path
) -> None:
    begun(connection, LIVE, topics)
    played(connection, site, LIVE, topics.records, 1)
    built = bulk(site, topics, BULK, tmp_path / "work")
    found = contents(connection, LIVE)
    assert {table for table, rows in found.items() if not rows} == EMPTY
    alike(found, contents(connection, BULK))
    refines(groups(connection, BULK), groups(connection, LIVE))
    assert built.events == len(topics.records) - 1
    assert built.quarantined == 1
    assert min(built.repeats, built.facts, built.groups, built.patients) > 20
    assert built.ledger == topics.stops
    with connection.cursor() as cursor:
        enter_schema(cursor, BULK)
        assert ledger.read(cursor) == topics.stops


def enter_schema(cursor: Any, generation: Generation) -> None:
    cursor.execute("SELECT set_config('search_path', %s, false)", (generation.schema,))


def test_live_batches_go_on_from_a_bulk_build_of_any_prefix(
    topics: Topics, site: Settings, connection: Connection, tmp_path: Path
) -> None:
    begun(connection, LIVE, topics)
    played(connection, site, LIVE, topics.records, 2)
    cut = random.Random(5).randint(len(topics.records) // 4, 3 * len(topics.records) // 4)
    before = Topics(topics.kafka, topics.records[:cut])
    bulk(site, topics, PREFIX, tmp_path / "work", stops=before.stops)
    begun(connection, PREFIX, topics)
    played(connection, site, PREFIX, topics.records[cut:], 3)
    alike(contents(connection, LIVE), contents(connection, PREFIX))


def test_two_builds_are_the_same_to_the_byte_and_have_the_indexes_of_live_tables(
    topics: Topics, site: Settings, connection: Connection, tmp_path: Path
) -> None:
    bulk(site, topics, BULK, tmp_path / "one")
    bulk(site, topics, AGAIN, tmp_path / "other", workers=1)
    assert digest(connection, BULK) == digest(connection, AGAIN)
    found = {}
    for generation in (LIVE, BULK):
        rows = connection.execute(
            "SELECT replace(indexdef, %s, '') FROM pg_indexes WHERE schemaname = %s AND tablename <> 'put_away'",
            (f"{generation.schema}.", generation.schema),
        ).fetchall()
        found[generation] = sorted(rows)
    assert found[LIVE] == found[BULK]


def test_what_was_received_later_is_left_out_as_if_it_had_not_come(
    topics: Topics, site: Settings, connection: Connection, tmp_path: Path
) -> None:
    until = MORNING + 3600 * 1_000_000
    kept = []
    for record in topics.records:
        (item,) = decode(CODEC, [record])[0]
        at = _received_at(item)
        if at is None or at <= until:
            kept.append(record)
    begun(connection, LIVE, topics)
    played(connection, site, LIVE, _renumbered(kept), 4)
    bulk(site, topics, BULK, tmp_path / "work", until=until)
    alike(contents(connection, LIVE), contents(connection, BULK))


def _renumbered(records: Sequence[Record]) -> list[Record]:
    ends: dict[Partition, int] = {}
    out = []
    for record in records:
        offset = ends.get(record.partition, 0)
        ends[record.partition] = offset + 1
        out.append(record._replace(offset=offset))
    return out


def _received_at(item: Decoded) -> int | None:
    event = item.event
    if event is None:
        return None
    if isinstance(event, Clock):
        return event.at
    assert isinstance(event, Event)
    return event.received_at


class KilledError(Exception):
    """In place of a power cut."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_build_that_was_ended_in_any_stage_goes_on_to_the_same_end(
    topics: Topics,
    site: Settings,
    connection: Connection,
    tmp_path: Path,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bulk(site, topics, BULK, tmp_path / "whole")
    done: list[str] = []
    steps = dict(build_module.STEPS)

    def ended(job: Any) -> Any:
        steps[stage](job)
        raise KilledError

    def counted(name: str) -> Callable[[Any], Any]:
        def do(job: Any) -> Any:
            done.append(name)
            return steps[name](job)

        return do

    # Everything of the stage is done, and nobody remembers it: the most that can have been done in vain.
    monkeypatch.setitem(build_module.STEPS, stage, ended)
    with pytest.raises(KilledError):
        bulk(site, topics, AGAIN, tmp_path / "work")
    for name in STAGES:
        monkeypatch.setitem(build_module.STEPS, name, counted(name))
    bulk(site, topics, AGAIN, tmp_path / "work")
    assert done == list(STAGES)[list(STAGES).index(stage) :]
    assert digest(connection, AGAIN) == digest(connection, BULK)


def test_a_second_build_of_a_generation_under_way_is_refused(
    topics: Topics, site: Settings, connection: Connection, tmp_path: Path
) -> None:
    connection.execute("SELECT pg_advisory_lock(%s, %s)", (build_module.LOCK, BULK.number))
    with pytest.raises(BuildRunningError, match="wait until it has finished"):
        bulk(site, topics, BULK, tmp_path / "work")


def test_a_schema_that_nobody_knows_stops_the_build(
    tmp_path: Path, connection: Connection, site: Settings, topics: Topics
) -> None:
    # Beyond what the other tests build from.
    partition = Partition("radiology.report.v1", 3)
    producer = Producer(producer_config(site.kafka, linger_ms=5, delivery_timeout_ms=60_000))
    producer.produce(partition.topic, b"\xc3\x01unknown!....", b"key", partition.number)
    producer.flush()
    stops = {**topics.stops, partition: topics.stops.get(partition, 0) + 1}
    with pytest.raises(StoppedPartitionsError, match="publish it on radiology"):
        bulk(site, topics, BULK, tmp_path / "work", stops=stops)
