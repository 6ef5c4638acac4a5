"""Facts in the database: what is stored of them, and that it does not matter which transaction reads it again."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import psycopg
from numbered import START, envelope

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.records import decode
from dosestream.events.codec import Codec
from dosestream.events.records import (
    Demographics,
    DoseReport,
    DoseTotal,
    Event,
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
TOPIC_OF: dict[type[Any], Topic] = {Patient: Topic.PATIENT, Order: Topic.ORDER, Study: Topic.STUDY}
STUDY = (
    "study_instance_uid, patient_id, patient_name, accession_number, placer_order_number, link_state, link_method, "
    "event_count, ct_dlp_total_mgycm, evidence"
)
ORDER = "placer_order_number, filler_order_number, accession_number, patient_id, status, state"
PATIENT = "patient_authority, patient_id, patient_name"
ROWS = (
    f"SELECT {STUDY} FROM dose.study ORDER BY 1",
    f"SELECT {ORDER} FROM dose.imaging_order ORDER BY 1, 2, 3",
    f"SELECT {PATIENT} FROM dose.patient ORDER BY 1, 2",
)
Connection = psycopg.Connection[Any]


def history(mark: str = "") -> list[Event]:
    """A patient, an order in two messages, a dose report that grows; `mark` stands in every name and number."""
    who = Demographics(
        identifiers=(Identifier(authority="HOSP", value=f"P{mark}1"),), name=f"DOE{mark}^JANE", sex="F"
    )
    number: dict[str, Any] = {
        "placer_order_number": f"PL{mark}1",
        "patient": who,
        "procedure_code": f"CT{mark}",
    }
    filled = number | {"filler_order_number": f"F{mark}1", "accession_number": f"A{mark}1"}

    def report(n: int, events: int) -> Study:
        return Study(
            **envelope(n),
            kind="dose_report",
            study_instance_uid=f"1.2{mark}",
            sop_instance_uid=f"1.2.{n}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
            study_at=START,
            accession_number=f"A{mark}1",
            patient_weight_kg=71.5,
            patient=Demographics(identifiers=(Identifier(authority="", value=f"P{mark}1"),)),
            dose=DoseReport(
                template="10011",
                totals=(DoseTotal(quantity="ct_dlp", value=10.0 * events, unit="mGy.cm"),),
                events=tuple(
                    IrradiationEvent(irradiation_event_uid=f"1.2.9.{e}", dlp_mgycm=10.0)
                    for e in range(events)
                ),
            ),
        )

    return [
        Patient(**envelope(1), action="update", trigger="A04", patient=who),
        Order(**envelope(2), control_code="NW", scheduled_at=START, **number),
        Order(**envelope(3), control_code="NW", order_status="SC", scheduled_at=START, **filled),
        report(4, 1),
        report(5, 2),
        Order(**envelope(6), control_code="SC", order_status="CM", **filled),
    ]


def told(database: Connection, said: Sequence[Event], size: int, start: int = 0) -> None:
    """Apply events in batches of a size."""
    records = [
        Record(Partition(str(TOPIC_OF[type(event)]), n), 0, CODEC.encode(event))
        for n, event in enumerate(said, start)
    ]
    with database.transaction(), database.cursor() as cursor:
        enter_live_generation(cursor)
        ledger.begin(cursor, dict.fromkeys((record.partition for record in records), 0))
    for at in range(0, len(records), size):
        decoded, stopped = decode(CODEC, records[at : at + size])
        assert not stopped
        apply(database, CODEC, RULES, decoded)
    while derive_dirty(database, CODEC, RULES):
        pass


def rows(database: Connection) -> list[list[tuple[Any, ...]]]:
    return [database.execute(query).fetchall() for query in ROWS]


def test_facts_at_hand_and_facts_that_were_loaded_make_the_same_rows(
    new_database: Callable[[], Connection],
) -> None:
    together, apart = new_database(), new_database()
    told(together, history(), 9)
    told(apart, history(), 1)
    assert rows(together) == rows(apart)
    linked = together.execute("SELECT link_state, event_count, ct_dlp_total_mgycm FROM dose.study").fetchall()
    assert linked == [("linked", 2, 20.0)]


def test_an_order_stored_with_a_header_by_an_older_release_still_counts(
    new_database: Callable[[], Connection],
) -> None:
    expected, database = new_database(), new_database()
    told(expected, history(), 9)
    told(database, history()[:3], 9)
    for event in history()[1:3]:
        database.execute(
            "UPDATE dosestream_g1.fact SET header = %s::jsonb, value = NULL WHERE event_id = %s",
            (orjson.dumps(event.to_datum()).decode(), event.event_id),  # type: ignore[union-attr]
        )
    told(database, history()[3:], 9, start=3)
    assert rows(database) == rows(expected)


def test_of_one_event_with_other_content_the_stored_one_counts(
    new_database: Callable[[], Connection],
) -> None:
    database, expected = new_database(), new_database()
    order = history()[2]
    assert isinstance(order, Order)
    again = replace(order, accession_number="OTHER", received_at=order.received_at + 1)
    for one in (database, expected):
        told(one, history(), 9)
    told(database, [again], 1, start=9)
    assert rows(database) == rows(expected)


def test_what_is_named_with_a_nul_character_is_named_without_it(
    new_database: Callable[[], Connection],
) -> None:
    with_nul, without = new_database(), new_database()
    told(with_nul, history("\0"), 2)
    told(without, history(), 2)
    assert rows(with_nul) == rows(without)
