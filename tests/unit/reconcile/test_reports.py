"""Radiology reports: one row per report, the newest word of each field, and the study it is about."""

from dataclasses import replace
from itertools import permutations

import pytest
from rows_of import Event
from rows_of import rows_of as derived
from said import arrival, at, decision, order, person, report, unissued

from dosestream.events.records import Report
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.patients import Patients, demographics_of
from dosestream.reconcile.reports import DIGEST, report_keys, without_text
from dosestream.reconcile.rows import GroupRows, ReportRow
from dosestream.reconcile.rules import Rules

RULES = Rules(stop_list=frozenset({"UNKNOWN"}))
JOE, JANE = person("P1", name="DOE^JOE"), person("P2", name="DOE^JANE")
DAY = 86_400.0


def rows_of(events: list[Event], now: float = 10 * DAY) -> GroupRows:
    """Everything as one group, ten days later unless said otherwise."""
    return derived(events, at(now), RULES)


ORDER = order(0, "NW", "SC", JOE, filler_order_number="F1", accession_number="A1", placer_order_number="PL1")
SCAN = arrival(3600, uid="1.2.3", patient=unissued("P1"), accession_number="A1")
PRELIMINARY = report(7200, "P", "looks fine", JOE, filler_order_number="F1")
FINAL = report(9000, "F", "is fine", JOE, filler_order_number="F1", accession_number="A1")
CORRECTED = report(90_000, "C", "is not fine", JOE, accession_number="A1")

# Events to (study, accession, status, text, reported at, first final at) of each report.
CASES: dict[str, tuple[list[Event], list[tuple[object, ...]]]] = {
    "a final report takes the place of the preliminary one": (
        [ORDER, SCAN, PRELIMINARY, FINAL],
        [("1.2.3", "A1", "F", "is fine", 9000, 9000)],
    ),
    "a correction takes the place of both, and the report was first final before it": (
        [ORDER, SCAN, PRELIMINARY, FINAL, CORRECTED],
        [("1.2.3", "A1", "C", "is not fine", 90_000, 9000)],
    ),
    "a message without text changes the status alone": (
        [ORDER, SCAN, PRELIMINARY, replace(FINAL, text="")],
        [("1.2.3", "A1", "F", "looks fine", 9000, 9000)],
    ),
    "a text is cleared": (
        [ORDER, SCAN, PRELIMINARY, replace(FINAL, text='""')],
        [("1.2.3", "A1", "F", None, 9000, 9000)],
    ),
    "a report is kept before anything is known of its order and study": (
        [PRELIMINARY, FINAL],
        [(None, "A1", "F", "is fine", 9000, 9000)],
    ),
    "a preliminary report was never final": (
        [ORDER, SCAN, PRELIMINARY],
        [("1.2.3", "A1", "P", "looks fine", 7200, None)],
    ),
    "an authenticated document is a final report": (
        [ORDER, SCAN, report(9000, "AU", "dictated", JOE, filler_order_number="F1")],
        [("1.2.3", "A1", "AU", "dictated", 9000, 9000)],
    ),
    "a study without order is found by its accession": (
        [SCAN, FINAL],
        [("1.2.3", "A1", "F", "is fine", 9000, 9000)],
    ),
    "a study is found by its UID": (
        [SCAN, report(9000, "F", "is fine", JOE, study_instance_uid="1.2.3")],
        [("1.2.3", None, "F", "is fine", 9000, 9000)],
    ),
    "the order's study is not the report's where they are two patients'": (
        [ORDER, SCAN, report(9000, "F", "hers", JANE, accession_number="A1")],
        [(None, "A1", "F", "hers", 9000, 9000)],
    ),
    "a report that names nobody is its order's": (
        [ORDER, SCAN, report(9000, "F", "whose", None, accession_number="A1")],
        [("1.2.3", "A1", "F", "whose", 9000, 9000)],
    ),
    "two procedures of one placer order have a report each": (
        [
            ORDER,
            SCAN,
            order(
                0, "NW", "SC", JOE, filler_order_number="F2", accession_number="A2", placer_order_number="PL1"
            ),
            FINAL,
            report(9000, "F", "the other", JOE, accession_number="A2", placer_order_number="PL1"),
        ],
        [("1.2.3", "A1", "F", "is fine", 9000, 9000), (None, "A2", "F", "the other", 9000, 9000)],
    ),
    "an accession number that was recycled is another report": (
        [FINAL, report(400 * DAY, "F", "years later", JOE, accession_number="A1")],
        [
            (None, "A1", "F", "is fine", 9000, 9000),
            (None, "A1", "F", "years later", 400 * DAY, 400 * DAY),
        ],
    ),
    "where the report gives no time, its message's counts": (
        [report(9000, "F", "is fine", JOE, accession_number="A1", reported_at=None)],
        [(None, "A1", "F", "is fine", 9000, 9000)],
    ),
}


def shown(row: ReportRow, events: list[Event]) -> tuple[object, ...]:
    texts = {e.event_id: e.text for e in events if isinstance(e, Report)}
    times = [None if t is None else (t - at(0)) / 1_000_000 for t in (row.reported_at, row.finalized_at)]
    text = None if row.text_of is None else texts[row.text_of]
    return row.study_instance_uid, row.accession_number, row.status, text, *times


@pytest.mark.parametrize(("events", "reports"), CASES.values(), ids=CASES.keys())
def test_a_report_is_what_its_messages_come_to(
    events: list[Event], reports: list[tuple[object, ...]]
) -> None:
    for arranged in list(permutations(events))[:24]:
        found = rows_of([*arranged, arranged[0]]).reports
        assert sorted((shown(row, events) for row in found), key=repr) == sorted(reports, key=repr)


def test_a_report_changes_neither_order_nor_study() -> None:
    silent, told = rows_of([ORDER, SCAN]), rows_of([ORDER, SCAN, FINAL])
    assert (told.orders, told.studies, told.links) == (silent.orders, silent.studies, silent.links)


def test_a_report_of_another_patients_order_is_noted() -> None:
    rows = rows_of([ORDER, SCAN, report(9000, "F", "hers", JANE, accession_number="A1")])
    assert [(a.kind, a.subject) for a in rows.anomalies] == [("report_conflict", "A1")]


def test_a_report_follows_its_study_to_another_order() -> None:
    other = order(0, "NW", "SC", JOE, filler_order_number="F2", accession_number="A2")
    moved = decision(5000, "reassign", "1.2.3", accession_number="A2")
    rows = rows_of([ORDER, other, SCAN, moved, report(9000, "F", "x", JOE, accession_number="A2")])
    assert [row.study_instance_uid for row in rows.reports] == ["1.2.3"]


def test_what_a_report_says_of_its_patient_counts_less_than_what_an_order_said_before() -> None:
    report_ = report(9000, "F", "x", person("P1", name="LATER^NAME", birth_date="1970-01-01"))
    folds: dict[PatientId, Fold] = {}
    for event in (ORDER, report_):
        for identity, said in demographics_of(event, RULES):
            folds[identity] = merge(folds.get(identity, {}), said)
    row = Patients(folds, (), RULES).row(PatientId("HOSP", "P1"))
    assert (row.patient_name, row.patient_birth_date) == ("DOE^JOE", "1970-01-01")


def test_derivation_reads_a_digest_of_the_text() -> None:
    kept = without_text(FINAL)
    assert kept.text.startswith(DIGEST) and "fine" not in kept.text
    assert without_text(kept) == kept
    assert [row.text_digest for row in rows_of([kept]).reports] == [kept.text]
    assert rows_of([kept]).reports == rows_of([FINAL]).reports


def test_a_number_that_stands_for_nobody_connects_no_report() -> None:
    nameless = report(0, accession_number="UNKNOWN", filler_order_number='""', placer_order_number="PL1")
    assert report_keys(nameless, RULES) == ["p:PL1"]
