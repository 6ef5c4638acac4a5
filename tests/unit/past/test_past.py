"""A study as of a time, and what changed it: from events alone."""

from dataclasses import replace

import pytest
from numbered import DOSE_SR, START, UID, merged, named, order, person, report

from dosestream.events.records import Decision
from dosestream.past.history import Change, difference, history, told_by
from dosestream.past.picture import picture
from dosestream.past.related import Event, Related
from dosestream.reconcile.rules import DAY_US, Rules

HOUR = 3_600_000_000
RULES = Rules(stop_list=frozenset({"UNKNOWN"}))


def excluded(number: int, at: int) -> Decision:
    return Decision(
        event_id=f"{number:032d}",
        received_at=START + at,
        kind="exclude",
        by="somebody",
        study_instance_uid=UID,
    )


HISTORY: tuple[Event, ...] = (
    report(1, at=0),
    order(2, at=HOUR),
    named(3, at=2 * HOUR),
    named(4, name="DOE^JANET", at=3 * HOUR),
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
        f"{DOSE_SR} M1 from RIS|HOSP",
        "ORM^O01 M2 from RIS|HOSP",
        "ADT^A08 M3 from RIS|HOSP",
        "ADT^A08 M4 from RIS|HOSP",
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
        pytest.param(report(9, at=0), True, id="the study's own report"),
        pytest.param(order(9, at=0), True, id="the order of its accession"),
        pytest.param(named(9, at=0), True, id="its patient"),
        pytest.param(merged(9, "P0", "P1", at=0), True, id="who was merged into its patient"),
        pytest.param(
            order(9, "A9", at=0), True, id="another order of its patient: a candidate for the window"
        ),
        pytest.param(order(9, "A9", "P9", at=0), False, id="an order of somebody else"),
        pytest.param(report(9, "1.2.9", "A9", "P9", at=0), False, id="a study of somebody else"),
        pytest.param(named(9, who="UNKNOWN", at=0), False, id="who stands for nobody"),
        pytest.param(excluded(9, 0), True, id="a decision about it"),
    ],
)
def test_what_belongs_to_a_study(event: Event, belongs: bool) -> None:
    related = Related.of(UID, RULES)
    assert related.hear(report(1, at=0))
    assert related.hear(event) is belongs


def test_what_is_only_reached_by_way_of_another_belongs_too() -> None:
    related = Related.of(UID, RULES)
    far = named(3, who="P0", at=0)
    assert not related.hear(far)
    for event in (report(1, at=0), merged(2, "P0", "P1", at=0), far):
        assert related.hear(event)


def test_a_message_heard_again_keeps_its_first_receipt() -> None:
    related = Related.of(UID, RULES)
    first = report(1, at=0)
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
    related.hear(replace(report(1, at=0), patient=person(who)))
    assert any(needle in held for needle in related.needles())
