"""Synthetic reports of every template, with and without faults: what is read is what was planned."""

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
from arrived import instance, study_of

from dosestream.events.records import IrradiationEvent, Study, XRaySource
from dosestream.simulate.sr_catalogue import NAMES
from dosestream.simulate.sr_catalogue import planned as plan
from dosestream.simulate.sr_document import Plan
from dosestream.simulate.sr_faults import FAULTS, faulty
from dosestream.simulate.sr_plan import Answer, swapped, walk
from dosestream.simulate.sr_reports import draw

AT = 1_772_438_400_000_000
# What a record that nothing was said about holds.
ABSENT = (None, "", (), False)


def read(body: bytes) -> Study:
    return study_of(instance(body))


@cache
def planned(name: str) -> Plan:
    return plan(name, draw(f"generated/{name}", AT))


def header(event: Study) -> Answer:
    """The header columns of an answer, as read."""
    identifiers = event.patient.identifiers
    return {
        "study_instance_uid": event.study_instance_uid,
        "sop_instance_uid": event.sop_instance_uid,
        "sop_class_uid": event.sop_class_uid,
        "modality": event.modality,
        "study_at": event.study_at,
        "patient_id": identifiers[0].value if identifiers else "",
        "patient_name": event.patient.name,
        "patient_birth_date": event.patient.birth_date,
        "patient_sex": event.patient.sex,
        "accession_number": event.accession_number,
        "requested_accession_numbers": [one.accession_number for one in event.requests],
        "study_description": event.study_description,
        "procedure_code": event.procedure_code,
    }


def differences(record: object, said: Answer, where: str = "") -> Iterator[str]:
    """Every field of a record that is not as planned: a field nothing was planned for must be absent."""
    for field in fields(record):  # type: ignore[arg-type]
        if field.name not in ELSEWHERE:
            yield from _differ(getattr(record, field.name), said.get(field.name), f"{where} {field.name}")


# Compared in another way, or not said by the plan.
ELSEWHERE = frozenset(("unread",))


def _differ(found: Any, true: Any, where: str) -> Iterator[str]:
    if isinstance(found, tuple):
        if len(found) != len(true or ()):
            yield f"{where}: {len(found)}, planned {len(true or ())}"
        for number, (one, planned_one) in enumerate(zip(found, true or (), strict=False), 1):
            yield from differences(one, planned_one, f"{where} {number}")
    elif isinstance(found, dict):
        for name in found.keys() | (true or {}).keys():
            yield from _differ(found.get(name), (true or {}).get(name), f"{where} {name}")
    elif isinstance(true, float) and isinstance(found, float):
        if found != pytest.approx(true, rel=1e-12, abs=1e-15):
            yield f"{where}: {found}, planned {true}"
    elif true is None or true in ABSENT:
        if found not in ABSENT:
            yield f"{where}: {found!r}, nothing planned"
    elif found != true:
        yield f"{where}: {found!r}, planned {true!r}"


def dose_differences(event: Study, said: Answer) -> Iterator[str]:
    dose = event.dose
    if dose is None:
        yield "no dose"
        return
    events = []
    for one, read_one in zip(said["events"], dose.events, strict=False):
        derived = "irradiation_event_uid" not in one
        # An event without UID is known by one that its reader derives.
        known = {"irradiation_event_uid": read_one.irradiation_event_uid} if derived else {}
        events.append(one | known | {"no_event_uid": derived})
    first: Answer = next(iter(said["administrations"]), {})
    report = {"radionuclide": first.get("radionuclide"), "radiopharmaceutical": first.get("agent")}
    report["started_at"] = first.get("started_at")
    yield from differences(dose, report | said | {"events": events})


def all_differences(made: Plan, of: bytes = b"") -> list[str]:
    answer = made.answer()
    event = read(of or made.body())
    found = header(event)
    wrong = [
        f"{n}: {found[n]!r}, planned {true!r}" for n, true in answer["header"].items() if found[n] != true
    ]
    if event.kind != answer["kind"]:
        wrong.append(f"kind: {event.kind}, planned {answer['kind']}")
    if answer["dose"] is None:
        wrong += ["dose, none planned"] if event.dose else []
    else:
        wrong += dose_differences(event, answer["dose"])
        unread = {line.split(",")[0] for line in event.dose.unread} if event.dose else set()
        if unread != set(answer["unread"]):
            wrong.append(f"unread: {sorted(unread)}, planned {answer['unread']}")
    issues = {issue.split(":")[0] for issue in event.issues}
    if issues != set(answer["issues"]):
        wrong.append(f"issues: {sorted(issues)}, planned {answer['issues']}")
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_template_is_read_as_planned(name: str) -> None:
    assert all_differences(planned(name)) == []


CASES = [(name, fault) for name in NAMES for fault in FAULTS if faulty(planned(name), fault)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fault"), CASES)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_fault_costs_what_it_spoils_and_nothing_else(name: str, fault: str) -> None:
    made = faulty(planned(name), fault)
    assert made is not None
    assert all_differences(made) == []


def test_a_plan_that_says_another_value_is_told_apart_from_the_report() -> None:
    made = planned("ct")
    item = next(item for item in walk(made.content) if item.column == "dlp_mgycm")
    lying = replace(made, content=swapped(made.content, item, replace(item, answer=item.answer * (1 + 1e-9))))
    (wrong,) = all_differences(lying, of=made.body())
    assert "dlp_mgycm" in wrong


@pytest.mark.slow
def test_every_fault_fits_some_template_and_changes_its_bytes() -> None:
    for fault in FAULTS:
        made = [(name, faulty(planned(name), fault)) for name in NAMES]
        fits = [(name, one) for name, one in made if one is not None]
        assert fits, fault
        assert any(one.body() != planned(name).body() for name, one in fits), fault


def test_every_column_of_an_event_is_planned_in_some_report() -> None:
    planned_columns: set[str] = set()
    sources: set[str] = set()
    for name in NAMES:
        dose: dict[str, Any] = planned(name).answer()["dose"] or {}
        for event in dose.get("events", []):
            planned_columns |= event.keys()
            for source in event["sources"]:
                sources |= source.keys()
    missing = {f.name for f in fields(IrradiationEvent)} - planned_columns - {"no_event_uid"}
    assert missing == set()
    assert {f.name for f in fields(XRaySource)} - sources == set()
