"""A study as of a time, and what changed it: from events alone."""

from dataclasses import replace
from typing import Any

import pytest

from dosestream.events.records import Decision, Demographics, Identifier, Order, Patient, Study
from dosestream.past.history import Change, difference, history, told_by
from dosestream.past.picture import picture
from dosestream.past.related import Event, Related
from dosestream.reconcile.rules import DAY_US, Rules

START = 1_772_438_400_000_000
HOUR = 3_600_000_000
UID = "1.2.1"
RULES = Rules(stop_list=frozenset({"UNKNOWN"}))


def envelope(number: int, at: int) -> dict[str, Any]:
    return {
        "event_id": f"{number:032d}",
        "source": "RIS|HOSP",
        "control_id": f"M{number}",
        "message_type": "ORM^O01",
        "received_at": START + at,
        "raw_partition": 0,
        "raw_offset": number,
        "event_time": START + at,
        "message_time": START + at,
    }


def person(value: str, name: str = "") -> Demographics:
    return Demographics(identifiers=(Identifier(authority="HOSP", value=value),), name=name)


def order(number: int, at: int, accession: str = "A1", who: str = "P1") -> Order:
    return Order(
        **envelope(number, at),
        control_code="NW",
        order_status="SC",
        patient=person(who),
        placer_order_number=f"PL{accession}",
        accession_number=accession,
    )


def report(number: int, at: int, uid: str = UID, accession: str = "A1", who: str = "P1") -> Study:
    return Study(
        **envelope(number, at),
        kind="dose_report",
        study_instance_uid=uid,
        sop_instance_uid=f"{uid}.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
        study_at=START,
        accession_number=accession,
        patient=Demographics(identifiers=(Identifier(authority="", value=who),)),
    )


def named(number: int, at: int, who: str = "P1", name: str = "DOE^JANE") -> Patient:
    return Patient(**envelope(number, at), action="update", trigger="A08", patient=person(who, name))


def merged(number: int, at: int, away: str, into: str) -> Patient:
    prior = (Identifier(authority="HOSP", value=away),)
    return Patient(
        **envelope(number, at), action="merge", trigger="A40", patient=person(into), prior_identifiers=prior
    )


def excluded(number: int, at: int) -> Decision:
    return Decision(
        event_id=f"{number:032d}",
        received_at=START + at,
        kind="exclude",
        by="somebody",
        study_instance_uid=UID,
    )


HISTORY: tuple[Event, ...] = (
    report(1, 0),
    order(2, HOUR),
    named(3, 2 * HOUR),
    named(4, 3 * HOUR, name="DOE^JANET"),
    excluded(5, 5 * DAY_US),
)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (-1, None),
        (0, {"link_state": "waiting", "patient_name": None, "phase": "provisional", "excluded": False}),
        (HOUR, {"link_state": "linked", "patient_name": None, "phase": "provisional"}),
        (2 * HOUR, {"link_state": "linked", "patient_name": "DOE^JANE"}),
        (3 * HOUR, {"patient_name": "DOE^JANET", "phase": "provisional"}),
        (4 * DAY_US, {"patient_name": "DOE^JANET", "phase": "final", "excluded": False}),
        (5 * DAY_US, {"excluded": True}),
    ],
)
def test_a_row_is_what_was_known_then(at: int, expected: dict[str, object] | None) -> None:
    found = picture((e for e in HISTORY if e.received_at <= START + at), UID, RULES, START + at)
    assert (found is None) is (expected is None)
    if found is not None and expected is not None:
        assert {name: found.row[name] for name in expected} == expected


def steps(since: int = -1) -> list[Change]:
    return list(history(reversed(HISTORY), UID, RULES, START + 6 * DAY_US, START + since))


def test_each_change_is_laid_to_its_message_or_to_time() -> None:
    assert [told_by(step.cause) for step in steps()] == [
        "ORM^O01 M1 from RIS|HOSP",
        "ORM^O01 M2 from RIS|HOSP",
        "ORM^O01 M3 from RIS|HOSP",
        "ORM^O01 M4 from RIS|HOSP",
        "time",
        "decision exclude by somebody",
    ]
    assert steps()[1].columns["link_state"] == ("waiting", "linked")
    assert steps()[4].columns["phase"] == ("provisional", "final")
    assert steps()[4].at > START + 2 * DAY_US


@pytest.mark.parametrize("since", [-1, 0, HOUR, 3 * HOUR, 3 * DAY_US, 5 * DAY_US, 6 * DAY_US])
def test_what_changed_since_leads_from_the_row_then_to_the_row_now(since: int) -> None:
    now = START + 6 * DAY_US
    then = picture((e for e in HISTORY if e.received_at <= START + since), UID, RULES, START + since)
    last = steps(since)[-1].picture if steps(since) else then
    assert difference(last, picture(HISTORY, UID, RULES, now)) == {}
    assert all(step.at > START + since for step in steps(since))


@pytest.mark.parametrize(
    ("event", "belongs"),
    [
        pytest.param(report(9, 0), True, id="the study's own report"),
        pytest.param(order(9, 0), True, id="the order of its accession"),
        pytest.param(named(9, 0), True, id="its patient"),
        pytest.param(merged(9, 0, "P0", "P1"), True, id="who was merged into its patient"),
        pytest.param(order(9, 0, "A9"), True, id="another order of its patient: a candidate for the window"),
        pytest.param(order(9, 0, "A9", "P9"), False, id="an order of somebody else"),
        pytest.param(report(9, 0, "1.2.9", "A9", "P9"), False, id="a study of somebody else"),
        pytest.param(named(9, 0, "UNKNOWN"), False, id="who stands for nobody"),
        pytest.param(excluded(9, 0), True, id="a decision about it"),
    ],
)
def test_what_belongs_to_a_study(event: Event, belongs: bool) -> None:
    related = Related.of(UID, RULES)
    assert related.hear(report(1, 0))
    assert related.hear(event) is belongs


def test_what_is_only_reached_by_way_of_another_belongs_too() -> None:
    related = Related.of(UID, RULES)
    far = named(3, 0, "P0")
    assert not related.hear(far)
    for event in (report(1, 0), merged(2, 0, "P0", "P1"), far):
        assert related.hear(event)


def test_a_message_heard_again_keeps_its_first_receipt() -> None:
    related = Related.of(UID, RULES)
    first = report(1, 0)
    for event in (
        replace(first, received_at=START + HOUR),
        first,
        replace(first, received_at=START + DAY_US),
    ):
        related.hear(event)
    assert [event.received_at for event in related.events.values()] == [START]


@pytest.mark.parametrize(
    ("rules", "who", "held"),
    [
        (RULES, "0017", b"..0017.."),
        (replace(RULES, ids_without_zeros=frozenset({"HOSP"})), "0017", b"..17.."),
        (replace(RULES, ids_without_case=frozenset({"HOSP"})), "ab1", b"..ab1.."),
    ],
)
def test_every_spelling_of_an_identifier_holds_one_of_the_needles(
    rules: Rules, who: str, held: bytes
) -> None:
    related = Related.of(UID, rules)
    related.hear(replace(report(1, 0), patient=person(who)))
    assert any(needle in held for needle in related.needles())
