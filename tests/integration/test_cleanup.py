"""Cleanup on a real database and a real broker: what goes, what stays and why, and that nothing shows of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from running_stack import DOSESTREAM

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "reconcile"))

from said import adt, arrival, at, ct_report, decision, order, person, report, unissued

from dosestream.cli import watch
from dosestream.db.apply import enter_live_generation, mark_other_rules
from dosestream.db.ledger import begin
from dosestream.db.migrate import migrate
from dosestream.events.codec import Codec
from dosestream.events.records import Appointment, Clock, Decision, Order, Patient, Report, Study
from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.retention import RECENT
from dosestream.reconcile.rules import rules_from
from dosestream.settings import KafkaSettings, PostgresSettings, RetentionSettings, Settings
from services.cleanup.forget import Tally
from services.cleanup.run import ADVISORY_LOCK, BusyError
from services.cleanup.service import clean
from services.reconciler.engine import Engine

CODEC = Codec()
DAY = 86_400
YEAR = 365 * DAY
Event = Patient | Order | Study | Appointment | Decision | Report | Clock
TOPICS = {
    Patient: Topic.PATIENT,
    Order: Topic.ORDER,
    Study: Topic.STUDY,
    Appointment: Topic.APPOINTMENT,
    Report: Topic.REPORT,
    Decision: Topic.DECISION,
    Clock: Topic.CLOCK,
}
# No such partitions are on the broker: what is applied here was never there.
NUMBER = 90
KEEPING = RetentionSettings(facts_days=400, message_index_days=500)
# Rows of the index come and go with the limit of their own.
NOT_DERIVED = ("message", "quarantine", "source")


class Site:
    """One dose database, told events by the reconciler's engine."""

    def __init__(self, kafka: KafkaSettings, url: str, retention: RetentionSettings = KEEPING) -> None:
        migrate(url)
        self.settings = Settings(kafka=kafka, postgres=PostgresSettings(url), retention=retention)
        self.engine = Engine(self.settings, CODEC, rules_from(self.settings))
        self.connection: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True)
        self._ends: dict[Partition, int] = {}
        with self.connection.transaction(), self.connection.cursor() as cursor:
            enter_live_generation(cursor)
            begin(cursor, {Partition(str(topic), NUMBER): 0 for topic in TOPICS.values()})

    def hear(self, said: Sequence[Event]) -> None:
        records = []
        for event in said:
            where = Partition(str(TOPICS[type(event)]), NUMBER)
            offset = self._ends.get(where, 0)
            self._ends[where] = offset + 1
            records.append(Record(where, offset, CODEC.encode(event)))
        self.engine.apply(records)
        while self.engine.drain():
            pass

    def clean(self, *, dry: bool = False) -> Tally:
        return clean(self.settings, threading.Event(), dry=dry)

    def rows(self, *, whole: bool = False) -> dict[str, list[str]]:
        """All derived rows; `whole` with when they were written, too."""
        found = {}
        views = self.connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'dose' ORDER BY 1")
        for (view,) in views.fetchall():
            if view not in NOT_DERIVED:
                less = "" if whole else " - 'updated_at' - 'revision'"
                rows = self.connection.execute(f"SELECT (to_jsonb(v){less})::text FROM dose.{view} v")
                found[view] = sorted(str(row[0]) for row in rows)
        return found

    def count(self, what: str) -> int:
        row = self.connection.execute(f"SELECT {what}").fetchone()
        assert row is not None
        return int(str(row[0] or 0))

    def facts(self) -> int:
        return self.count("count(*) FROM dosestream_g1.fact")

    def let_go(self) -> int:
        return self.count("sum(facts) FROM dosestream_g1.snapshot")

    def close(self) -> None:
        self.engine.close()
        self.connection.close()


@pytest.fixture
def sites(kafka: KafkaSettings, fresh_database: Callable[[], str]) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(retention: RetentionSettings = KEEPING) -> Site:
        made.append(Site(kafka, fresh_database(), retention))
        return made[-1]

    yield make
    for site in made:
        site.close()


def who(k: int) -> Any:
    return person(f"P{k}", name=f"DOE^JANE{k}")


def visit(k: int, begun: float = 0) -> list[Event]:
    """Registered, ordered, scanned, reported."""
    numbers: dict[str, Any] = {
        "placer_order_number": f"PL{k}",
        "filler_order_number": f"F{k}",
        "accession_number": f"A{k}",
    }
    return [
        adt(begun + k, who(k)),
        order(begun + k + 1, patient=who(k), scheduled_at=at(begun + k + 600), modality="CT", **numbers),
        arrival(
            begun + k + 700,
            uid=f"1.2.{k}",
            patient=unissued(f"P{k}"),
            accession_number=f"A{k}",
            dose=ct_report(f"{k}.1", f"{k}.2", stated=20.0),
        ),
        order(begun + k + 900, "SC", "CM", patient=who(k), **numbers),
        report(begun + k + 1000, text=f"All is well with {k}.", patient=who(k), accession_number=f"A{k}"),
    ]


def tick(days: float) -> Clock:
    return Clock(at=at(days * DAY), ticker="test")


def visits(count: int) -> list[Event]:
    return [event for k in range(count) for event in visit(k)]


# Facts that stay however old they are, with why.
STAYING: dict[str, list[Event]] = {
    "dose report missing": [
        arrival(5, uid="1.3.1", patient=unissued("P1"), kind="image", modality="CT", dose=None)
    ],
    "no identifier leads to it": [order(6, patient=who(2), modality="CT", procedure_code="C9")],
    "link waiting, ambiguous or in conflict": [
        arrival(7, uid="1.3.2", patient=unissued("P3"), accession_number="A4", dose=ct_report("9.9"))
    ],
    "order expected or overdue": [order(8, patient=who(5), accession_number="A55", scheduled_at=at(100))],
}


def test_a_dry_run_says_what_goes_and_why_the_rest_stays_and_then_it_goes(
    sites: Callable[..., Site],
) -> None:
    site = sites()
    site.hear(
        [
            *visits(6),
            *(event for those in STAYING.values() for event in those),
            *visit(50, 790 * DAY),
            tick(800),
        ]
    )
    before, facts = site.rows(whole=True), site.facts()
    told = site.clean(dry=True)
    assert site.rows(whole=True) == before
    assert (site.facts(), site.let_go()) == (facts, 0)
    went = site.clean()
    assert site.rows(whole=True) == before
    assert {kind: went.removed[kind] for kind in ("facts", "groups")} == {
        kind: told.removed[kind] for kind in ("facts", "groups")
    }
    assert told.kept == went.kept
    assert {reason for reason, count in went.kept.items() if count} >= set(STAYING)
    # Visit 4's study shares its accession with one of another patient: they are one group, in conflict.
    assert went.removed["facts"] == site.let_go() == 5 * 4
    assert site.facts() + site.let_go() == facts
    # ADT messages older than the limit of the index; those of facts that are gone come after.
    assert went.removed["message_index"] == 6 + 5 * 4
    assert site.clean().removed["facts"] == 0
    last = watch.cleanup(site.settings.postgres.url)
    assert last is not None and last.outcome == "done" and last.ended_at
    assert last.kept == {reason: count for reason, count in went.kept.items() if count}


def test_a_second_longer_limit_lets_go_of_what_is_still_open(sites: Callable[..., Site]) -> None:
    site = sites(replace(KEEPING, unsettled_days=700))
    site.hear([*visits(5), *(event for those in STAYING.values() for event in those), tick(650)])
    site.clean()
    open_still = site.facts()
    site.hear([tick(800)])
    before = site.rows(whole=True)
    kept = {reason for reason, count in site.clean().kept.items() if count}
    assert kept == {"dose report missing", "no identifier leads to it"}
    assert site.facts() < open_still
    assert site.rows(whole=True) == before


LATER: dict[str, list[Event]] = {
    "a name corrected": [adt(1000 * DAY, person("P1", name="ROE^JANE1"))],
    "a merge": [adt(1000 * DAY, person("P0", name="DOE^JANE0"), prior=person("P1"))],
    "an order changed": [
        order(1000 * DAY, "XO", "CM", patient=who(1), accession_number="A1", procedure_code="C2")
    ],
    "an order for another study of the group": [
        order(1000 * DAY, patient=who(1), filler_order_number="F1", accession_number="A99")
    ],
    "an unlink": [decision(1000 * DAY, "unlink", "1.2.1", accession_number="A1")],
    "a link to another group, and its withdrawal": [
        decision(1000 * DAY, "link", "1.2.1", accession_number="A2"),
        decision(1001 * DAY, "link", "1.2.1", withdrawn=True, accession_number="A2"),
    ],
    "an un-merge": [
        adt(1000 * DAY, person("P0"), prior=person("P1")),
        decision(1001 * DAY, "unmerge", patient=who(0).identifiers[0], prior=who(1).identifiers[0]),
    ],
    "a dose report sent again": [
        arrival(
            1000 * DAY,
            uid="1.2.1",
            sop="1.2.1.7",
            patient=unissued("P1"),
            dose=ct_report("1.1", "1.2", "1.3"),
        )
    ],
    "a report corrected": [report(1000 * DAY, "C", "Not so well.", who(1), accession_number="A1")],
    "a report's status alone": [report(1000 * DAY, "C", "", who(1), accession_number="A1")],
    "everything said again": [
        replace(event, received_at=event.received_at + 1000 * DAY * 1_000_000)
        for event in visit(1)
        if not isinstance(event, Clock)
    ],
    "nothing but time": [],
}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_what_comes_later_finds_everything_as_if_nothing_had_been_let_go(
    sites: Callable[..., Site], later: list[Event]
) -> None:
    cleaned, whole = sites(), sites()
    for site in (cleaned, whole):
        site.hear([*visits(3), tick(900)])
    assert cleaned.clean().removed["facts"] == 3 * 4
    for event in later:
        for site in (cleaned, whole):
            site.hear([event])
        # In between as well.
        cleaned.clean()
    for site in (cleaned, whole):
        site.hear([tick(1100)])
    assert cleaned.rows() == whole.rows()


def test_other_rules_bring_all_facts_back_and_derive_them(sites: Callable[..., Site]) -> None:
    cleaned, whole = sites(), sites()
    for site in (cleaned, whole):
        site.hear([*visits(4), tick(900)])
    cleaned.clean()
    for site in (cleaned, whole):
        settings = replace(site.settings, matching=replace(site.settings.matching, stop_list=("A2",)))
        engine = Engine(settings, CODEC, rules_from(settings))
        mark_other_rules(site.connection, rules_from(settings))
        while engine.drain():
            pass
        engine.close()
    assert cleaned.let_go() == 0
    assert cleaned.rows() == whole.rows()


def test_texts_of_reports_go_from_rows_facts_and_snapshots(sites: Callable[..., Site]) -> None:
    site = sites()
    site.hear([*visits(2), tick(900)])
    site.clean()
    assert site.count("count(*) FROM dosestream_g1.snapshot WHERE texts") == 2
    assert site.count("count(*) FROM dose.report WHERE text IS NOT NULL") == 2
    site.settings = replace(site.settings, retention=replace(KEEPING, report_text_days=450))
    went = site.clean().removed
    assert (went["report_text"], went["report_fact_text"]) == (2, 2)
    assert site.count("count(*) FROM dosestream_g1.snapshot WHERE texts") == 0
    assert site.let_go() == 2 * 4
    # Nor do they come back with the facts.
    site.hear([report(950 * DAY, "C", "", who(1), accession_number="A1")])
    assert site.count("count(*) FROM dose.report WHERE status = 'C' AND text IS NULL") == 1
    assert site.clean().removed["snapshot_texts"] == 0


def test_only_one_cleans_up_at_a_time(sites: Callable[..., Site]) -> None:
    site = sites()
    site.hear([*visits(1), tick(900)])
    site.connection.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
    with pytest.raises(BusyError):
        site.clean()
    site.connection.execute("SELECT pg_advisory_unlock(%s)", (ADVISORY_LOCK,))
    assert site.clean().removed["groups"] == 1


def test_a_group_that_somebody_works_on_is_left_for_the_next_time(sites: Callable[..., Site]) -> None:
    site = sites()
    site.hear([*visits(2), tick(900)])
    with psycopg.connect(site.settings.postgres.url) as other:
        other.execute("SELECT 1 FROM dosestream_g1.identifier WHERE key = 'a:A1' FOR UPDATE")
        assert site.clean().removed["groups"] == 1
    assert site.clean().removed["groups"] == 1


def test_with_the_broker_away_nothing_is_let_go(sites: Callable[..., Site]) -> None:
    site = sites()
    site.hear([*visits(2), tick(900)])
    facts = site.facts()
    kafka = replace(site.settings.kafka, bootstrap="127.0.0.1:9", delivery_timeout_ms=500)
    here = site.settings
    site.settings = replace(here, kafka=kafka)
    with pytest.raises(Exception, match=r"radiology\.snapshot") as away:
        site.clean()
    assert not isinstance(away.value, BrokerAwayError | AssertionError)
    assert (site.facts(), site.let_go()) == (facts, 0)
    last = watch.cleanup(here.postgres.url)
    assert last is not None and last.outcome == "interrupted"
    site.settings = here
    assert site.clean().removed["facts"] == facts


def test_a_cleanup_killed_at_any_moment_is_taken_up_by_the_next(
    sites: Callable[..., Site], tmp_path: Path
) -> None:
    site = sites()
    site.hear([*visits(1500), tick(900)])
    before, facts = site.rows(whole=True), site.facts()
    config = tmp_path / "dosestream.toml"
    config.write_text("[retention]\nfacts_days = 400\nmessage_index_days = 500\n")
    env = {
        **os.environ,
        "DOSESTREAM_KAFKA": site.settings.kafka.bootstrap,
        "DOSESTREAM_POSTGRES": site.settings.postgres.url,
        "DOSESTREAM_CONFIG": str(config),
        "DOSESTREAM_READY": str(tmp_path / "ready.json"),
    }
    killed = 0
    for reached in (0, 1, 2000, 4500):
        process = subprocess.Popen(
            [DOSESTREAM, "cleanup", "--once"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # The first is killed as soon as it runs, the others once so many facts are gone.
        while process.poll() is None:
            runs = site.count("count(*) FROM dosestream.cleanup_run WHERE outcome = 'running'")
            if runs and site.let_go() >= reached:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.01)
        process.wait()
        assert site.facts() + site.let_go() == facts
        assert site.rows(whole=True) == before
    done = subprocess.run(
        [DOSESTREAM, "cleanup", "--once", "--json"], env=env, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["dry_run"] is False
    assert killed >= 2
    assert (site.facts(), site.let_go()) == (0, facts)
    assert site.rows(whole=True) == before


def test_what_is_recent_is_not_even_looked_at(sites: Callable[..., Site]) -> None:
    site = sites()
    site.hear([*visits(3), tick(399)])
    went = site.clean()
    assert not any(went.removed.values())
    assert RECENT not in went.kept
