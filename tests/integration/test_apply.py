"""Batches into a real dose database: each effect once, whatever the split, the order or the crash."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from numbered import START, envelope

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty, enter_live_generation, mark_other_rules
from dosestream.db.ledger import Hole, HoleError
from dosestream.db.migrate import migrate
from dosestream.db.records import decode
from dosestream.events.codec import Codec
from dosestream.events.records import (
    Clock,
    Demographics,
    DoseReport,
    DoseTotal,
    Identifier,
    IrradiationEvent,
    Order,
    Patient,
    Study,
)
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules

CODEC, RULES = Codec(), Rules()
TABLES = ("study", "study_order", "dose_total", "irradiation_event", "imaging_order", "patient", "anomaly")
NOT_CONTENT = {"revision", "updated_at"}
Event = Patient | Order | Study | Clock
Connection = psycopg.Connection[Any]


def person(value: str, name: str) -> Demographics:
    return Demographics(identifiers=(Identifier(authority="HOSP", value=value),), name=name, sex="F")


def history() -> list[tuple[Topic, Event]]:
    """Twelve patients: registered, ordered, scanned (twice reported), corrected, some merged, some cancelled."""
    said: list[tuple[Topic, Event]] = []
    number = 0

    def say(topic: Topic, cls: Any, **fields: Any) -> None:
        nonlocal number
        number += 1
        said.append((topic, cls(**envelope(number) | fields)))

    for k in range(12):
        who = person(f"P{k}", f"DOE^JANE{k}")
        say(Topic.PATIENT, Patient, action="update", trigger="A04", patient=who)
        say(
            Topic.ORDER,
            Order,
            control_code="NW",
            order_status="",
            patient=who,
            placer_order_number=f"PL{k}",
        )
        say(
            Topic.ORDER,
            Order,
            control_code="NW",
            order_status="SC",
            patient=who,
            placer_order_number=f"PL{k}",
            filler_order_number=f"F{k}",
            accession_number=f"A{k}",
            procedure_code="CT1",
        )
        for part, events in enumerate((("e1",), ("e1", "e2"))):
            dose = DoseReport(
                template="10011",
                totals=(DoseTotal(quantity="ct_dlp", value=10.0 * len(events), unit="mGy.cm"),),
                events=tuple(
                    IrradiationEvent(irradiation_event_uid=f"{k}.{e}", dlp_mgycm=10.0) for e in events
                ),
            )
            say(
                Topic.STUDY,
                Study,
                kind="dose_report",
                study_instance_uid=f"1.2.{k}",
                sop_instance_uid=f"1.2.{k}.{part}",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
                study_at=START,
                accession_number=f"A{k}",
                patient=Demographics(identifiers=(Identifier(authority="", value=f"P{k}"),)),
                dose=dose,
            )
        say(Topic.PATIENT, Patient, action="update", trigger="A08", patient=person(f"P{k}", f"ROE^JANE{k}"))
        if k % 3 == 0:
            say(
                Topic.PATIENT,
                Patient,
                action="merge",
                trigger="A40",
                patient=person(f"S{k}", ""),
                prior_identifiers=(Identifier(authority="HOSP", value=f"P{k}"),),
            )
        if k % 4 == 0:
            say(
                Topic.ORDER,
                Order,
                control_code="CA",
                order_status="CA",
                patient=who,
                placer_order_number=f"PL{k}",
            )
    return said


def records(said: Sequence[tuple[Topic, Event]], partitions: int = 1) -> list[Record]:
    ends: dict[Partition, int] = {}
    out = []
    for index, (topic, event) in enumerate(said):
        partition = Partition(str(topic), index % partitions)
        offset = ends.get(partition, 0)
        ends[partition] = offset + 1
        out.append(Record(partition, offset, CODEC.encode(event)))
    return out


def begin(connection: Connection, all_records: Sequence[Record]) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        ledger.begin(cursor, {r.partition: 0 for r in all_records})


def feed(connection: Connection, batch: Sequence[Record], rules: Rules = RULES) -> None:
    decoded, stopped = decode(CODEC, batch)
    assert not stopped
    apply(connection, CODEC, rules, decoded)


def settle(connection: Connection, rules: Rules = RULES) -> None:
    while derive_dirty(connection, CODEC, rules):
        pass


def rows(connection: Connection) -> dict[str, list[tuple[tuple[str, str], ...]]]:
    """Every public row, without what depends on when it was written."""
    found = {}
    for table in TABLES:
        cursor = connection.execute(f"SELECT * FROM dose.{table}")
        names = [column.name for column in cursor.description or ()]
        found[table] = sorted(
            tuple((n, str(v)) for n, v in zip(names, row, strict=True) if n not in NOT_CONTENT)
            for row in cursor.fetchall()
        )
    return found


@pytest.fixture
def expected(fresh_database: Callable[[], str]) -> dict[str, list[tuple[tuple[str, str], ...]]]:
    """The rows of the history told in order, one batch."""
    url = fresh_database()
    migrate(url)
    all_records = records(history())
    with psycopg.connect(url, autocommit=True) as connection:
        begin(connection, all_records)
        feed(connection, all_records)
        settle(connection)
        return rows(connection)


def test_the_history_gives_the_rows_it_should(expected: dict[str, Any]) -> None:
    studies = [dict(row) for row in expected["study"]]
    assert len(studies) == 12
    assert {s["link_state"] for s in studies} == {"linked"}
    assert {s["ct_dlp_total_mgycm"] for s in studies} == {"20.0"}
    assert {s["event_count"] for s in studies} == {"2"}
    assert {s["patient_id"][0] for s in studies} == {"P", "S"}
    assert all(s["patient_name"].startswith("ROE^") for s in studies)
    assert sum(dict(o)["status"] == "CANCELED" for o in expected["imaging_order"]) == 3


@pytest.mark.parametrize("seed", range(6))
def test_any_order_any_split_any_repeat_gives_the_same_rows(
    database: Connection, expected: dict[str, Any], seed: int
) -> None:
    rng = random.Random(seed)
    said = history()
    rng.shuffle(said)
    said += rng.sample(said, 10)
    all_records = records(said, partitions=3)
    begin(database, all_records)
    waiting = list(all_records)
    while waiting:
        size = rng.randint(1, 9)
        batch, waiting = waiting[:size], waiting[size:]
        feed(database, batch)
        if rng.random() < 0.3:
            feed(database, batch)
        if rng.random() < 0.3:
            settle(database)
    settle(database)
    assert rows(database) == expected


def test_a_batch_that_straddles_the_ledger_applies_only_its_rest(database: Connection) -> None:
    all_records = records(history())
    begin(database, all_records)
    feed(database, all_records[:20])
    decoded, _ = decode(CODEC, all_records[10:30])
    assert apply(database, CODEC, RULES, decoded).events == 10


def test_a_hole_before_the_batch_is_told_and_nothing_is_applied(database: Connection) -> None:
    said = [(topic, event) for topic, event in history() if topic is Topic.PATIENT]
    all_records = records(said)
    begin(database, all_records)
    decoded, _ = decode(CODEC, all_records[5:])
    with pytest.raises(HoleError) as told:
        apply(database, CODEC, RULES, decoded)
    partition = Partition(str(Topic.PATIENT), 0)
    assert told.value.holes == (Hole(partition, 0, 5),)
    assert database.execute("SELECT count(*) FROM dose.patient").fetchone() == (0,)
    applied = apply(database, CODEC, RULES, decoded, [Hole(partition, 0, 5)])
    assert applied.events == len(said) - 5


def test_a_crash_inside_the_transaction_leaves_nothing_behind(
    database: Connection, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    all_records = records(history())
    begin(database, all_records)
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "advance", _crash)
        with pytest.raises(ConnectionAbortedError):
            feed(database, all_records)
    assert not rows(database)["study"]
    feed(database, all_records)
    settle(database)
    assert rows(database) == expected


def _crash(*_: object) -> None:
    raise ConnectionAbortedError


def test_bytes_that_are_no_avro_are_quarantined_and_the_ledger_goes_on(database: Connection) -> None:
    good = records(history())[0]
    bad = Record(good.partition, 1, b"\xc3\x01nonsense")
    worse = Record(good.partition, 1, good.value[:14] if good.value else b"")
    begin(database, [good])
    decoded, stopped = decode(CODEC, [good, bad])
    assert [s.offset for s in stopped] == [1]
    decoded, stopped = decode(CODEC, [good, worse])
    assert apply(database, CODEC, RULES, decoded).quarantined == 1
    found = database.execute('SELECT topic, "offset" FROM dose.quarantine').fetchall()
    assert found == [(str(Topic.PATIENT), 1)]


def test_a_message_from_the_future_heard_again_later_says_nothing_more(database: Connection) -> None:
    ahead = START + 10 * RULES.future_tolerance_us
    future = Patient(
        **envelope(900) | {"event_time": ahead, "message_time": ahead},
        action="update",
        trigger="A08",
        patient=person("P1", "FUTURE^JANE"),
    )
    correction = Patient(
        **envelope(901) | {"event_time": START + 2 * RULES.future_tolerance_us},
        action="update",
        trigger="A08",
        patient=person("P1", "RIGHT^JANE"),
    )
    again = replace(future, received_at=START + 5 * RULES.future_tolerance_us)
    all_records = records([(Topic.PATIENT, event) for event in (future, correction, again)])
    begin(database, all_records)
    for record in all_records:
        feed(database, [record])
    assert database.execute("SELECT patient_name FROM dose.patient").fetchall() == [("RIGHT^JANE",)]


def test_a_patient_change_reaches_the_studies_it_touches(database: Connection) -> None:
    said = history()
    correction = Patient(
        **envelope(900), action="update", trigger="A08", patient=person("P1", "MARRIED^JANE")
    )
    all_records = records([*said, (Topic.PATIENT, correction)])
    begin(database, all_records)
    feed(database, all_records[:-1])
    settle(database)
    before = database.execute("SELECT sum(revision) FROM dose.study").fetchone()
    feed(database, all_records[-1:])
    settle(database)
    names = database.execute("SELECT patient_name FROM dose.study WHERE patient_id = 'P1'").fetchall()
    assert names == [("MARRIED^JANE",)]
    after = database.execute("SELECT sum(revision) FROM dose.study").fetchone()
    assert before is not None
    assert after == (before[0] + 1,)


def test_a_tick_makes_rows_final_when_they_are_due(database: Connection) -> None:
    said = [pair for pair in history() if pair[0] is Topic.STUDY]
    tick = Clock(at=START + 2 * RULES.window_us + 1, ticker="test")
    all_records = records([*said, (Topic.CLOCK, tick)])
    begin(database, all_records)
    feed(database, all_records[:-1])
    assert database.execute("SELECT DISTINCT phase FROM dose.study").fetchall() == [("provisional",)]
    feed(database, all_records[-1:])
    settle(database)
    assert database.execute("SELECT DISTINCT phase FROM dose.study").fetchall() == [("final",)]


def test_changed_rules_derive_again_what_they_touch(database: Connection) -> None:
    all_records = records(history())
    begin(database, all_records)
    feed(database, all_records)
    settle(database)
    other = replace(RULES, status_table={"NW_": "SCHEDULED", "NW_SC": "ON_HOLD"})
    mark_other_rules(database, other)
    settle(database, other)
    hashes = database.execute("SELECT DISTINCT rules_hash FROM dose.study").fetchall()
    assert hashes == [(other.hash,)]
    statuses = database.execute("SELECT DISTINCT order_status FROM dose.study").fetchall()
    assert statuses == [("ON_HOLD",)]


def test_a_change_leaves_a_mark_for_the_outbox_with_the_rows_revision(database: Connection) -> None:
    all_records = records(history())
    begin(database, all_records)
    feed(database, all_records)
    settle(database)
    unmatched = database.execute(
        "SELECT count(*) FROM dosestream_g1.outbox o FULL JOIN dose.study s USING (study_instance_uid, revision) "
        "WHERE o.study_instance_uid IS NULL OR s.patient_id IS NULL"
    ).fetchone()
    assert unmatched == (0,)


@pytest.mark.parametrize("statement", ["UPDATE dose.study SET modality = 'X'", "DELETE FROM dose.patient"])
def test_the_views_refuse_writing(database: Connection, statement: str) -> None:
    all_records = records(history())
    begin(database, all_records)
    feed(database, all_records)
    with pytest.raises(psycopg.errors.RaiseException, match="is read-only"):
        database.execute(statement)
