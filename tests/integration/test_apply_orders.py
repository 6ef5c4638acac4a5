"""Orders, appointments and rejection notes in a real dose database: groups meet, whatever comes first."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from test_apply import begin, feed, records, rows, settle

from dosestream.kafka.topics import Topic

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "reconcile"))

from said import appointment, arrival, at, ct_report, decision, order, person, unissued

Connection = psycopg.Connection[Any]
DAY = 86_400
JOE = person("P1", name="DOE^JOE")


def history() -> list[tuple[Topic, Any]]:
    """An order placed twice, moved and no longer naming a step; equal numbers of two issuers; rejected reports."""
    placed: dict[str, Any] = {"patient": JOE, "procedure_code": "CTHEAD", "modality": "CT"}
    both: dict[str, Any] = {"placer_order_number": "PL9", "control_id": "X2"}
    return [
        (Topic.ORDER, order(1, filler_order_number="F1", scheduled_at=at(600), **placed)),
        (Topic.ORDER, order(2, filler_order_number="F2", scheduled_at=at(900), **placed)),
        (
            Topic.APPOINTMENT,
            appointment(3, "S13", filler_order_number="F1", scheduled_at=at(800), filler_appointment_id="T1"),
        ),
        (Topic.ORDER, order(4, filler_order_number="F3", scheduled_at=at(20 * DAY), **placed)),
        (
            Topic.APPOINTMENT,
            appointment(
                5, "S12", filler_order_number="F3", filler_appointment_id="T3", scheduled_at=at(21 * DAY)
            ),
        ),
        (Topic.APPOINTMENT, appointment(6, "S15", filler_appointment_id="T3")),
        (Topic.ORDER, order(7, placer_order_number="PL9", accession_number="A1", control_id="N1")),
        (Topic.ORDER, order(7, placer_order_number="PL9", accession_number="A2", control_id="N1")),
        (Topic.ORDER, order(8, "XO", "SC", accession_number="A1", **both)),
        (Topic.ORDER, order(9, "NW", "", placer_order_number="PL5", placer_issuer="HIS1")),
        (Topic.ORDER, order(9, "NW", "", placer_order_number="PL5", placer_issuer="HIS2")),
        (Topic.ORDER, order(10, "SC", "CM", filler_order_number="F7")),
        (Topic.ORDER, order(11, "CA", "CA", filler_order_number="F7")),
        (
            Topic.STUDY,
            arrival(60, uid="1.2.3", sop="1.2.3.1", patient=unissued("P8"), dose=ct_report("e1", stated=5.0)),
        ),
        (
            Topic.STUDY,
            arrival(61, uid="1.2.3", sop="1.2.3.2", patient=unissued("P8"), dose=ct_report("e2", stated=7.0)),
        ),
        (Topic.STUDY, note(62, "1.2.3.1")),
        (Topic.STUDY, arrival(63, uid="1.2.4", sop="1.2.4.1", patient=unissued("P8"), dose=ct_report("e3"))),
        (Topic.STUDY, note(64, "1.2.4.1")),
        (Topic.STUDY, arrival(65, uid="1.2.5", sop="1.2.5.1", patient=unissued("P8"), dose=ct_report("e4"))),
        (Topic.STUDY, note(66, "1.2.5.1")),
        (Topic.DECISION, decision(67, "include", "1.2.5")),
    ]


def note(second: float, instance: str) -> Any:
    """A rejection note in a study of its own."""
    return arrival(
        second,
        uid=f"1.9.{instance}",
        sop=f"1.9.{instance}.1",
        kind="rejection_note",
        modality="KO",
        rejection_code="113001",
        rejected_instances=(instance,),
    )


def test_the_history_gives_the_rows_it_should(new_database: Callable[[], Connection]) -> None:
    database = new_database()
    all_records = records(history())
    begin(database, all_records)
    feed(database, all_records)
    settle(database)
    found = database.execute(
        "SELECT coalesce(filler_order_number, accession_number, placer_order_number), status, duplicate_of, scheduled_at "
        "FROM dose.imaging_order ORDER BY 1, 2"
    ).fetchall()
    assert [row[:3] for row in found] == [
        ("A1", "SCHEDULED", None),
        ("A2", "CANCELED", None),
        ("F1", "SCHEDULED", None),
        ("F2", "SCHEDULED", "F1"),
        ("F3", "CANCELED", None),
        ("F7", "CANCELED", None),
        ("PL5", "SCHEDULED", None),
        ("PL5", "SCHEDULED", None),
    ]
    moved = {row[0]: int(row[3].timestamp() * 1_000_000) for row in found if row[3] is not None}
    assert moved == {"F1": at(800), "F2": at(900), "F3": at(21 * DAY)}
    kinds = database.execute("SELECT kind, subject FROM dose.anomaly ORDER BY 1, 2").fetchall()
    assert kinds == [("duplicate_order", "F2"), ("forbidden_transition", "F7")]
    studies = database.execute(
        "SELECT study_instance_uid, excluded, modality, ct_dlp_total_mgycm, event_count FROM dose.study "
        "WHERE study_instance_uid LIKE '1.2.%' ORDER BY 1"
    ).fetchall()
    assert studies == [
        ("1.2.3", False, "CT", 7.0, 1),
        ("1.2.4", True, "CT", None, None),
        ("1.2.5", False, "CT", 10.0, 1),
    ]
    counted = database.execute(
        "SELECT irradiation_event_uid FROM dose.irradiation_event ORDER BY 1"
    ).fetchall()
    assert counted == [("e2",), ("e4",)]


def test_any_order_any_split_any_repeat_gives_the_same_rows(new_database: Callable[[], Connection]) -> None:
    told = []
    for seed in range(5):
        rng = random.Random(seed)
        said = history()
        if seed:
            rng.shuffle(said)
            said += rng.sample(said, 5)
        all_records = records(said, partitions=2)
        database = new_database()
        begin(database, all_records)
        waiting = list(all_records)
        while waiting:
            size = rng.randint(1, 6)
            batch, waiting = waiting[:size], waiting[size:]
            feed(database, batch)
        settle(database)
        told.append(rows(database))
    assert all(found == told[0] for found in told[1:])
