"""Reports and sources in a real dose database: the rows and texts they come to, whatever comes first."""

import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from test_apply import begin, feed, records, settle

from dosestream.events.records import Clock
from dosestream.kafka.topics import Topic

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "reconcile"))

from said import MORNING, arrival, at, order, person, report, unissued

Connection = psycopg.Connection[Any]
Said = list[tuple[Topic, Any]]
JOE = person("P1", name="DOE^JOE")
LONG = "The lungs are clear.\n" * 200_000
REPORT, TURNAROUND = (
    "SELECT study_instance_uid, accession_number, status, text, reported_at FROM dose.report ORDER BY 2",
    "SELECT * FROM dose.turnaround ORDER BY 1",
)


def moment(second: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at(second))


def history() -> Said:
    """Three reports: of a study, corrected; of an order without one, final, and long; of nothing that is known."""
    return [
        (
            Topic.ORDER,
            order(
                0,
                patient=JOE,
                accession_number="A1",
                filler_order_number="F1",
                ordered_at=at(0),
                scheduled_at=at(60),
            ),
        ),
        (Topic.ORDER, order(0, patient=JOE, accession_number="A2", filler_order_number="F2")),
        (Topic.STUDY, arrival(90, patient=unissued("P1"), accession_number="A1")),
        (Topic.STUDY, arrival(95, uid="1.2.9", patient=unissued("P7"))),
        (Topic.REPORT, report(100, "P", "looks fine", JOE, filler_order_number="F1")),
        (Topic.REPORT, report(200, "F", "is fine", JOE, filler_order_number="F1", accession_number="A1")),
        (Topic.REPORT, report(900, "C", "is not fine", JOE, accession_number="A1")),
        (Topic.REPORT, report(300, "F", LONG, JOE, accession_number="A2")),
        (Topic.REPORT, report(400, "F", "whose?", None, accession_number="A3")),
    ]


def told(database: Connection, said: Said, largest: int, rng: random.Random) -> None:
    everything = records(said, partitions=2)
    begin(database, everything)
    waiting = list(everything)
    while waiting:
        size = rng.randint(1, largest)
        batch, waiting = waiting[:size], waiting[size:]
        feed(database, batch)
    settle(database)


@pytest.mark.parametrize("seed", range(4))
def test_reports_have_their_rows_whatever_comes_first(
    new_database: Callable[[], Connection], seed: int
) -> None:
    rng = random.Random(seed)
    said = history()
    if seed:
        rng.shuffle(said)
        said += rng.sample(said, 4)
    database = new_database()
    told(database, said, 4, rng)
    assert database.execute(REPORT).fetchall() == [
        ("1.2.3", "A1", "C", "is not fine", moment(900)),
        (None, "A2", "F", LONG, moment(300)),
        (None, "A3", "F", "whose?", moment(400)),
    ]
    assert database.execute(TURNAROUND).fetchall() == [
        ("1.2.3", moment(0), moment(60), moment(90), moment(200)),
        ("1.2.9", None, None, moment(95), None),
    ]


def test_a_report_writes_no_new_revision_of_its_study(new_database: Callable[[], Connection]) -> None:
    database = new_database()
    said = history()
    told(database, said[:4], 9, random.Random(0))
    before = database.execute("SELECT study_instance_uid, revision FROM dose.study ORDER BY 1").fetchall()
    told(database, said, 9, random.Random(0))
    assert database.execute("SELECT count(*) FROM dose.report").fetchone() == (3,)
    after = database.execute("SELECT study_instance_uid, revision FROM dose.study ORDER BY 1").fetchall()
    assert after == before


def test_the_text_is_no_part_of_what_derivation_loads(new_database: Callable[[], Connection]) -> None:
    database = new_database()
    told(database, history(), 9, random.Random(0))
    longest = database.execute("SELECT max(length(header::text)) FROM dosestream_g1.fact").fetchone()
    assert longest is not None and longest[0] < len(LONG) / 100


def test_large_reports_go_in_one_batch(new_database: Callable[[], Connection]) -> None:
    database = new_database()
    text = "x" * (12 * 2**20)
    said: Said = [
        (Topic.REPORT, report(n, "F", f"{text}{n}", JOE, accession_number=f"A{n}")) for n in range(3)
    ]
    told(database, said, 9, random.Random(0))
    sizes = database.execute("SELECT length(text) FROM dose.report").fetchall()
    assert sizes == [(len(text) + 1,)] * 3


def test_each_source_shows_how_far_it_has_come(new_database: Callable[[], Connection]) -> None:
    database = new_database()
    said: Said = [
        (Topic.ORDER, order(10, received=12)),
        (Topic.ORDER, order(9e8, source="AHEAD", received=20)),
    ]
    told(database, said, 9, random.Random(0))
    look = "SELECT source, last_received_at, watermark, idle FROM dose.source ORDER BY 1"
    hour = timedelta(hours=1)
    assert database.execute(look).fetchall() == [
        ("AHEAD", moment(20), moment(20) - hour, False),
        ("RIS|HOSP", moment(12), moment(10) - hour, False),
    ]
    for later, idle in ((4 * 3600, [False, False]), (4 * 3600 + 15, [False, True]), (9 * 3600, [True, True])):
        said.append((Topic.CLOCK, Clock(at=MORNING + later * 1_000_000, ticker="test")))
        told(database, said, 9, random.Random(0))
        assert [row[3] for row in database.execute(look)] == idle
