"""Alerts, cumulative dose and reference levels in a real dose database."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import psycopg
import pytest
from numbered import START, envelope

from dosestream.db import ledger, reference_levels
from dosestream.db.apply import apply, derive_dirty, enter_live_generation, mark_other_rules
from dosestream.db.generations import Generation, migrate_tables, show
from dosestream.db.migrate import migrate
from dosestream.db.records import decode
from dosestream.events.codec import Codec
from dosestream.events.records import (
    Clock,
    Decision,
    Demographics,
    DoseReport,
    DoseTotal,
    Identifier,
    IrradiationEvent,
    Patient,
    Study,
)
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.knowledge.reference_levels import ReferenceLevelSettings
from dosestream.reconcile.rules import Rules

CODEC, RULES = Codec(), Rules()
DAY = 86_400_000_000
TOPICS = {Study: Topic.STUDY, Decision: Topic.DECISION, Patient: Topic.PATIENT, Clock: Topic.CLOCK}
Event = Study | Decision | Patient | Clock
Connection = psycopg.Connection[Any]


def who(*identifiers: str) -> Demographics:
    return Demographics(identifiers=tuple(Identifier(authority="HOSP", value=one) for one in identifiers))


def study(number: int, uid: str, dose: DoseReport, sop: str = "", patient: str = "P1", **more: Any) -> Study:
    return Study(
        **envelope(number, source="ROOM1"),
        kind="dose_report",
        study_instance_uid=uid,
        sop_instance_uid=sop or f"{uid}.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
        modality="SR",
        patient=who(patient),
        dose=dose,
        **{"study_at": START, "station_name": "ROOM1", **more},
    )


def fluoroscopy(dose_rp_gy: float, events: Sequence[str] = ("e1",), fluoro_s: float = 60.0) -> DoseReport:
    return DoseReport(
        template="10001",
        totals=(
            DoseTotal(quantity="dose_rp", value=dose_rp_gy, unit="Gy"),
            DoseTotal(quantity="fluoro_time", value=fluoro_s, unit="s"),
        ),
        events=tuple(IrradiationEvent(irradiation_event_uid=uid, fluoroscopy=True) for uid in events),
    )


def ct(dlp: float, uid: str, ctdivol: float = 10.0, protocol: str = "Abdomen") -> DoseReport:
    return DoseReport(
        template="10011",
        totals=(DoseTotal(quantity="ct_dlp", value=dlp, unit="mGy.cm"),),
        events=(
            IrradiationEvent(
                irradiation_event_uid=uid, ctdivol_mgy=ctdivol, dlp_mgycm=dlp, protocol=protocol
            ),
        ),
    )


def told(connection: Connection, said: Sequence[Event], rules: Rules = RULES) -> None:
    """Each event in a batch of its own, on a partition of its own."""
    partitions = [Partition(str(TOPICS[type(event)]), secrets.randbelow(2**30)) for event in said]
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        ledger.begin(cursor, dict.fromkeys(partitions, 0))
    for partition, event in zip(partitions, said, strict=True):
        decoded, stopped = decode(CODEC, [Record(partition, 0, CODEC.encode(event))])
        assert not stopped
        apply(connection, CODEC, rules, decoded)
    settle(connection, rules)


def settle(connection: Connection, rules: Rules) -> None:
    while derive_dirty(connection, CODEC, rules):
        pass


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


def alerts(connection: Connection) -> list[tuple[Any, ...]]:
    """Alerts with the seconds from the start at which they were first known."""
    return rows(
        connection,
        "SELECT study_instance_uid, kind, value, threshold, unit, "
        f"(extract(epoch FROM first_triggered_at) * 1000000)::bigint - {START} FROM dose.alert ORDER BY 1, 2",
    )


def marks(connection: Connection) -> list[tuple[Any, ...]]:
    return rows(
        connection, "SELECT study_instance_uid, kind, revision FROM dosestream_g1.alert_outbox ORDER BY 1, 2"
    )


def decided(number: int, kind: str, uid: str) -> Decision:
    return Decision(
        event_id=f"{number:032d}", received_at=START + number, kind=kind, by="duty", study_instance_uid=uid
    )


GROWING = [
    study(10, "1.2", fluoroscopy(2.0, ("e1",))),
    study(20, "1.2", fluoroscopy(5.0, ("e1", "e2"), 3000.0)),
    study(30, "1.2", fluoroscopy(7.0, ("e1", "e2", "e3"), 3600.0)),
]


def test_a_total_that_reaches_its_threshold_is_an_alert_since_it_was_first_known(
    database: Connection,
) -> None:
    told(database, GROWING[:1])
    assert (alerts(database), marks(database)) == ([], [])
    told(database, GROWING[1:])
    assert alerts(database) == [
        ("1.2", "dose_rp", 7.0, 5.0, "Gy", 20),
        ("1.2", "fluoro_time", 3600.0, 3600.0, "s", 30),
    ]
    assert marks(database) == [("1.2", "dose_rp", 2), ("1.2", "fluoro_time", 1)]


def test_alerts_are_the_same_in_any_order(fresh_database: Callable[[], str]) -> None:
    corrected = study(40, "1.3", fluoroscopy(6.0), sop="1.3.1")
    said = [
        *GROWING,
        corrected,
        replace(corrected, event_id=f"{5:032d}", received_at=START + 5, event_time=START),
    ]
    seen = []
    for order in list(permutations(said))[::29]:
        url = fresh_database()
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            told(connection, order)
            seen.append(alerts(connection))
    assert len(seen) > 4
    assert all(one == seen[0] for one in seen)
    assert [row[5] for row in seen[0]] == [20, 30, 5]


def test_an_excluded_study_has_no_alert_and_its_revisions_go_on_when_it_comes_back(
    database: Connection,
) -> None:
    told(database, GROWING)
    told(database, [decided(50, "exclude", "1.2")])
    assert alerts(database) == []
    assert marks(database) == [("1.2", "dose_rp", 3), ("1.2", "fluoro_time", 2)]
    told(database, [decided(60, "include", "1.2")])
    assert [row[:2] for row in alerts(database)] == [("1.2", "dose_rp"), ("1.2", "fluoro_time")]
    assert marks(database) == [("1.2", "dose_rp", 4), ("1.2", "fluoro_time", 3)]


def test_a_report_that_is_corrected_downwards_takes_its_alert_back(database: Connection) -> None:
    told(database, [study(10, "1.2", fluoroscopy(50.0), sop="1.2.1")])
    assert [row[2] for row in alerts(database)] == [50.0]
    told(database, [study(20, "1.2", fluoroscopy(0.5), sop="1.2.1")])
    assert alerts(database) == []


def test_another_threshold_derives_the_alerts_again(database: Connection) -> None:
    told(database, GROWING)
    lower = replace(RULES, alert_thresholds={"dose_rp": 1.5})
    assert lower.hash != RULES.hash
    mark_other_rules(database, lower)
    settle(database, lower)
    assert alerts(database) == [("1.2", "dose_rp", 7.0, 1.5, "Gy", 10)]


def test_nothing_changes_where_nothing_new_is_said(database: Connection) -> None:
    told(database, GROWING)
    before = rows(database, "SELECT * FROM dose.alert ORDER BY kind")
    told(database, [GROWING[2], Clock(at=START + DAY, ticker="t")])
    assert rows(database, "SELECT * FROM dose.alert ORDER BY kind") == before


def test_cumulative_dose_is_the_survivors_and_leaves_out_what_does_not_count(database: Connection) -> None:
    merge = Patient(
        **envelope(90, source="ROOM1"),
        action="merge",
        trigger="A40",
        patient=who("P1"),
        prior_identifiers=(Identifier(authority="HOSP", value="P2"),),
    )
    told(
        database,
        [
            study(1, "1.1", ct(100.1, "e1")),
            study(2, "1.2", ct(200.2, "e2"), patient="P2", study_at=START + DAY),
            study(3, "1.3", ct(400.0, "e3"), study_at=START - 400 * DAY),
            study(4, "1.4", ct(800.0, "e4")),
            study(5, "1.5", ct(1600.0, "e5"), patient="P3"),
            merge,
            decided(91, "exclude", "1.4"),
        ],
    )
    assert rows(database, "SELECT * FROM dose.cumulative") == []
    told(database, [Clock(at=START + 10 * DAY, ticker="t")])
    assert rows(
        database,
        "SELECT patient_authority, patient_id, quantity, unit, studies, total, doubtful FROM dose.cumulative ORDER BY 2",
    ) == [
        ("HOSP", "P1", "ct_dlp", "mGy.cm", 2, 300.3, 0),
        ("HOSP", "P3", "ct_dlp", "mGy.cm", 1, 1600.0, 0),
    ]
    assert rows(
        database,
        "SELECT studies, total FROM dose.cumulative_between('2024-01-01', '2027-01-01') WHERE patient_id = 'P1'",
    ) == [(3, 700.3)]


LEVELS = (
    ReferenceLevelSettings(
        name="CT abdomen",
        modality="CT",
        protocol="abd*",
        age_from=15,
        quantity="ct_dlp",
        value=0.5,
        unit="Gy.cm",
        source="national 2022",
    ),
    ReferenceLevelSettings(
        name="CT abdomen, child", protocol="abd*", age_to=15, quantity="ct_dlp", value=200, unit="mGy.cm"
    ),
    ReferenceLevelSettings(
        name="a phase", procedure_code="CT_?BD", quantity="event_ctdivol", value=10, unit="mGy"
    ),
)


def load(connection: Connection, levels: Sequence[ReferenceLevelSettings]) -> bool:
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        return reference_levels.load(cursor, levels)


def test_studies_and_irradiations_are_compared_with_the_levels_that_are_of_them(database: Connection) -> None:
    told(
        database,
        [
            study(1, "1.1", ct(750.0, "e1"), patient_age_years=40.0, procedure_code="CT_ABD"),
            study(2, "1.2", ct(300.0, "e2", 12.0), patient_age_years=14.9, procedure_code="CTXABD"),
            study(3, "1.3", ct(900.0, "e3"), procedure_code="CT_ABD"),
            study(4, "1.4", ct(900.0, "e4", protocol="Thorax"), patient_age_years=40.0),
            study(5, "1.5", ct(900.0, "e5"), patient_age_years=40.0),
            decided(6, "exclude", "1.5"),
            Clock(at=START + DAY, ticker="t"),
        ],
    )
    assert load(database, LEVELS)
    assert rows(
        database,
        "SELECT study_instance_uid, reference_level, irradiation_event_uid, value, level, unit, ratio, over "
        "FROM dose.reference_level_comparison ORDER BY 1, 2",
    ) == [
        ("1.1", "CT abdomen", None, 750.0, 500.0, "mGy.cm", 1.5, True),
        ("1.1", "a phase", "e1", 10.0, 10.0, "mGy", 1.0, False),
        ("1.2", "CT abdomen, child", None, 300.0, 200.0, "mGy.cm", 1.5, True),
        ("1.3", "a phase", "e3", 10.0, 10.0, "mGy", 1.0, False),
    ]
    assert rows(
        database,
        "SELECT reference_level, station_name, protocol, count, median, ratio, over FROM dose.reference_level_median "
        "ORDER BY 1",
    ) == [
        ("CT abdomen", "ROOM1", None, 1, 750.0, 1.5, True),
        ("CT abdomen, child", "ROOM1", None, 1, 300.0, 1.5, True),
        ("a phase", "ROOM1", "Abdomen", 2, 10.0, 1.0, False),
    ]
    # Loaded again they change nothing; others take their place.
    assert not load(database, LEVELS)
    assert load(database, LEVELS[:1])
    assert rows(database, "SELECT name, value, unit, source FROM dose.reference_level") == [
        ("CT abdomen", 500.0, "mGy.cm", "national 2022")
    ]


def test_who_may_read_the_views_reads_all_of_them_and_writes_none(database: Connection) -> None:
    role = f"reader_{secrets.token_hex(4)}"
    told(database, [*GROWING, Clock(at=START + DAY, ticker="t")])
    database.execute(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA dose TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA dose TO {role}".encode()
    )
    try:
        with database.transaction():
            database.execute(f"SET LOCAL ROLE {role}".encode())
            assert rows(database, "SELECT total FROM dose.cumulative WHERE quantity = 'dose_rp'") == [(7.0,)]
            assert rows(database, "SELECT * FROM dose.reference_level_median") == []
            assert (
                len(rows(database, "SELECT * FROM dose.cumulative_between('2020-01-01', '2030-01-01')")) == 2
            )
        with pytest.raises(psycopg.Error, match="view alert is read-only"):
            database.execute("DELETE FROM dose.alert")
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_another_generation_is_shown_with_views_and_functions_of_its_own(database: Connection) -> None:
    told(database, [*GROWING, Clock(at=START + DAY, ticker="t")])
    with database.transaction():
        database.execute("INSERT INTO dosestream.generation (number, live) VALUES (2, false)")
        migrate_tables(database, Generation(2))
        show(database, Generation(2), "dose_next")
    for view in ("alert", "cumulative", "reference_level_comparison", "reference_level_median"):
        assert rows(database, f"SELECT * FROM dose_next.{view}") == []
    with database.transaction():
        show(database, Generation(2))
    assert alerts(database) == []
    with database.transaction():
        show(database, Generation(1))
    assert len(alerts(database)) == 2
    assert len(rows(database, "SELECT * FROM dose.cumulative")) == 2
