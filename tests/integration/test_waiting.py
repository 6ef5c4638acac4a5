"""Workers wait in one order: no transaction that has its locks waits for another, so none waits in a circle."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.ledger import begin
from dosestream.db.locking import Locks, RestartError
from dosestream.db.migrate import migrate
from dosestream.db.records import Decoded
from dosestream.events.codec import Codec
from dosestream.events.records import Demographics, Identifier, Order, RequestReference, Study
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules
from services.reconciler.outbox import STREAMS

CODEC, RULES = Codec(), Rules()
START = 1_772_438_400_000_000
Connection = psycopg.Connection[Any]


@pytest.fixture
def url(fresh_database: Callable[[], str]) -> str:
    made = fresh_database()
    migrate(made)
    return made


@pytest.fixture
def mine(url: str) -> Iterator[Connection]:
    """A worker's connection, on which to wait is an error."""
    with psycopg.connect(url, autocommit=True) as opened:
        opened.execute("SET lock_timeout = '3s'")
        yield opened


@pytest.fixture
def other(url: str) -> Iterator[Connection]:
    """Another worker's connection, in the middle of a transaction."""
    with psycopg.connect(url, autocommit=True) as opened, opened.transaction(force_rollback=True):
        with opened.cursor() as cursor:
            enter_live_generation(cursor)
        yield opened


def said(number: int, cls: type[Order] | type[Study], **fields: Any) -> Decoded:
    event = cls(
        event_id=f"{cls.__name__}{number:026d}",
        source="RIS|HOSP",
        control_id=f"M{number}",
        received_at=START + number,
        raw_partition=0,
        raw_offset=number,
        event_time=START + number,
        message_time=START + number,
        **fields,
    )
    partition = Partition(str(Topic.ORDER if cls is Order else Topic.STUDY), 0)
    return Decoded(Record(partition, number, CODEC.encode(event)), event)


def two_orders(mine: Connection) -> list[int]:
    """Two orders of one patient that nothing connects; returns their groups."""
    with mine.transaction(), mine.cursor() as cursor:
        enter_live_generation(cursor)
        begin(cursor, {Partition(str(topic), 0): 0 for topic in (Topic.ORDER, Topic.STUDY)})
    who = Demographics(identifiers=(Identifier(authority="HOSP", value="P0"),))
    numbered = [
        {"control_code": "NW", "patient": who, "placer_order_number": f"PL{n}", "accession_number": f"A{n}"}
        for n in range(2)
    ]
    apply(mine, CODEC, RULES, [said(n, Order, **fields) for n, fields in enumerate(numbered)])
    return [grp for (grp,) in mine.execute("SELECT DISTINCT grp FROM dosestream_g1.fact").fetchall()]


def test_joining_marked_groups_waits_for_nobody_who_works_on_the_marks(
    mine: Connection, other: Connection
) -> None:
    groups = two_orders(mine)
    assert len(groups) == 2
    mine.execute("INSERT INTO dosestream_g1.dirty SELECT unnest(%s::bigint[])", (groups,))
    assert len(other.execute("SELECT grp FROM dirty FOR UPDATE SKIP LOCKED").fetchall()) == 2
    joining = said(
        0,
        Study,
        kind="image",
        study_instance_uid="1.2.3",
        sop_instance_uid="1.2.3.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        patient=Demographics(),
        accession_number="A0",
        requests=(RequestReference(accession_number="A1"),),
    )
    assert apply(mine, CODEC, RULES, [joining]).groups == 1
    assert [grp for (grp,) in mine.execute("SELECT DISTINCT grp FROM dosestream_g1.fact")] == [min(groups)]


def test_a_mark_of_a_group_that_is_gone_is_worked_off_and_changes_no_row(mine: Connection) -> None:
    groups = two_orders(mine)
    before = mine.execute("SELECT * FROM dose.imaging_order ORDER BY accession_number").fetchall()
    mine.execute("INSERT INTO dosestream_g1.dirty SELECT unnest(%s::bigint[])", ([*groups, 4711],))
    while derive_dirty(mine, CODEC, RULES):
        pass
    assert mine.execute("SELECT count(*) FROM dosestream_g1.dirty").fetchone() == (0,)
    assert mine.execute("SELECT * FROM dose.imaging_order ORDER BY accession_number").fetchall() == before


@pytest.mark.parametrize("wanted", ["b:P9", "a:A9"])
def test_a_key_that_another_transaction_is_adding_makes_one_begin_again(
    mine: Connection, other: Connection, wanted: str
) -> None:
    other.execute("INSERT INTO identifier (key) VALUES (%s)", (wanted,))
    with mine.transaction(force_rollback=True), mine.cursor() as cursor:
        enter_live_generation(cursor)
        locks = Locks(cursor)
        locks.take({"b:P0"})
        with pytest.raises(RestartError) as again:
            locks.extend({wanted})
    assert again.value.keys == {"b:P0", wanted}


def test_a_key_by_which_groups_meet_is_added_only_once_its_patient_is_held(mine: Connection) -> None:
    with mine.transaction(force_rollback=True), mine.cursor() as cursor:
        enter_live_generation(cursor)
        locks = Locks(cursor)
        locks.take({"b:P0", "w:P0|CT|1"})
        assert locks.groups.keys() == {"b:P0"}
        locks.extend({"w:P0|CT|1"})
        assert locks.groups.keys() == {"b:P0", "w:P0|CT|1"}


def test_who_publishes_leaves_the_marks_that_a_worker_is_writing(mine: Connection, other: Connection) -> None:
    mine.execute("INSERT INTO dosestream_g1.outbox VALUES ('1.2.1', 1), ('1.2.2', 1), ('1.2.3', 2)")
    other.execute("UPDATE outbox SET revision = 2 WHERE study_instance_uid = '1.2.1'")
    with mine.transaction(), mine.cursor() as cursor:
        enter_live_generation(cursor)
        cursor.execute(STREAMS[0].settle.encode(), (["1.2.1", "1.2.2", "1.2.3"], [1, 1, 1]))
    left = mine.execute("SELECT study_instance_uid FROM dosestream_g1.outbox ORDER BY 1").fetchall()
    assert left == [("1.2.1",), ("1.2.3",)]


def test_who_publishes_leaves_the_alerts_that_a_worker_is_writing(
    mine: Connection, other: Connection
) -> None:
    mine.execute(
        "INSERT INTO dosestream_g1.alert_outbox VALUES ('1.2.1', 'ct_dlp', 1), ('1.2.2', 'ct_dlp', 1)"
    )
    other.execute("UPDATE alert_outbox SET revision = 2 WHERE study_instance_uid = '1.2.1'")
    with mine.transaction(), mine.cursor() as cursor:
        enter_live_generation(cursor)
        cursor.execute(STREAMS[1].settle.encode(), (["1.2.1/ct_dlp", "1.2.2/ct_dlp"], [1, 1]))
    left = mine.execute("SELECT study_instance_uid FROM dosestream_g1.alert_outbox").fetchall()
    assert left == [("1.2.1",)]
