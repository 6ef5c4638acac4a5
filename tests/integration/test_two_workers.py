"""Two workers on disjoint partitions of one history: no pair is missed, nobody waits in a circle."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest
from numbered import merged, named, order, report

from dosestream.db.apply import Applied, apply, derive_dirty, enter_live_generation
from dosestream.db.ledger import begin
from dosestream.db.migrate import migrate
from dosestream.db.records import Decoded
from dosestream.events.codec import Codec
from dosestream.events.records import Order, Patient, Study
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules

CODEC, RULES = Codec(), Rules()
Said = tuple[Topic, int, Patient | Order | Study]
Rows = list[tuple[Any, ...]]


def pairs() -> list[Said]:
    """Each order in one partition, its report in the other, in turn."""
    said: list[Said] = []
    for k in range(120):
        said.append((Topic.ORDER, k % 2, order(2 * k, f"A{k}", f"P{k}")))
        said.append((Topic.STUDY, (k + 1) % 2, report(2 * k + 1, f"1.2.{k}", f"A{k}", f"P{k}")))
    return said


def hot_accession() -> list[Said]:
    """One accession on very many studies and order messages, on both partitions."""
    said: list[Said] = []
    for k in range(60):
        said.append((Topic.ORDER, k % 2, order(2 * k, "HOT", "P0")))
        said.append((Topic.STUDY, k % 2, report(2 * k + 1, f"1.2.{k}", "HOT", "P0")))
    return said


def merge_against_studies() -> list[Said]:
    """Patients are merged and renamed on one partition while their studies arrive on the other."""
    said: list[Said] = []
    for k in range(60):
        who = f"P{k % 6}"
        said.append((Topic.ORDER, 1, order(4 * k, f"A{k}", who)))
        said.append((Topic.STUDY, 1, report(4 * k + 1, f"1.2.{k}", f"A{k}", who)))
        said.append((Topic.PATIENT, 0, named(4 * k + 2, f"NAME{k}^JANE", who)))
        if k % 10 == 9:
            said.append((Topic.PATIENT, 0, merged(4 * k + 3, who, f"S{k}")))
    return said


def decoded(said: Sequence[Said]) -> list[Decoded]:
    ends: dict[Partition, int] = {}
    out = []
    for topic, number, event in said:
        partition = Partition(str(topic), number)
        offset = ends.get(partition, 0)
        ends[partition] = offset + 1
        out.append(Decoded(Record(partition, offset, CODEC.encode(event)), event))
    return out


def work(
    url: str, items: Sequence[Decoded], size: int, done: list[Applied], together: threading.Barrier
) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        together.wait(90)
        for start in range(0, len(items), size):
            done.append(apply(connection, CODEC, RULES, items[start : start + size]))
            derive_dirty(connection, CODEC, RULES)


def played(url: str, items: Sequence[Decoded], workers: int, size: int) -> tuple[Rows, list[Applied]]:
    """The rows after this many workers applied all items, and what their transactions did."""
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.transaction(), connection.cursor() as cursor:
            enter_live_generation(cursor)
            begin(cursor, {item.record.partition: 0 for item in items})
        done: list[Applied] = []
        together = threading.Barrier(workers)
        threads = [
            threading.Thread(
                target=work,
                args=(
                    url,
                    [i for i in items if i.record.partition.number % workers == w],
                    size,
                    done,
                    together,
                ),
            )
            for w in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a worker waits for ever"
        while derive_dirty(connection, CODEC, RULES):
            pass
        rows: Rows = []
        for query in (
            (
                "SELECT 'study', study_instance_uid, patient_id, patient_name, link_state, link_method, accession_number, "
                "phase, evidence::text FROM dose.study"
            ),
            (
                "SELECT 'order', placer_order_number, accession_number, study_instance_uid, patient_id, status, state "
                "FROM dose.imaging_order"
            ),
            "SELECT 'patient', patient_id, patient_name, merged_into_id FROM dose.patient",
            "SELECT 'link', study_instance_uid, row_key, method, is_primary::text FROM dosestream_g1.study_order",
        ):
            rows += connection.execute(query.encode()).fetchall()
    return sorted(rows, key=repr), done


@pytest.mark.parametrize("size", [1, 20])
@pytest.mark.parametrize("history", [pairs, hot_accession, merge_against_studies])
def test_two_workers_reach_the_rows_of_one(
    fresh_database: Callable[[], str], history: Callable[[], list[Said]], size: int
) -> None:
    items = decoded(history())
    expected, alone = played(fresh_database(), items, 1, 50)
    assert not any(one.restarts for one in alone), "one worker foresees all that it locks"
    url = fresh_database()
    found, done = played(url, items, 2, size)
    assert sum(one.events for one in done) == len(items)
    assert found == expected
    with psycopg.connect(url) as connection:
        ended = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert ended == (0,)
