"""Who is who: links, lists of identifiers, moved visits, deletes and decisions, in every order of arrival."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice, permutations

import pytest
from rows_of import Event, rows_of
from said import adt, arrival, at, decision, order, person, unissued

from dosestream.events.records import Demographics, Identifier
from dosestream.reconcile.rows import GroupRows
from dosestream.reconcile.rules import Rules

RULES = Rules(stop_list=frozenset({"0"}))
NOON = at(4 * 3600)
# Permutations of a case that are tried; six events have no more.
TRIED = 720


def link(said_at: float, one: Demographics, other: Demographics, action: str = "link") -> list[Event]:
    """An A24 or A37 as it is mapped: an event of each patient."""
    trigger = {"link": "A24", "unlink": "A37"}[action]
    return [adt(said_at, a, prior=b, action=action, trigger=trigger) for a, b in ((one, other), (other, one))]


def move(said_at: float, trigger: str, target: str, prior: str, visit: str, before: str = "") -> Event:
    """A move of a visit or account."""
    return adt(
        said_at,
        person(target),
        prior=person(prior),
        action="move",
        trigger=trigger,
        visit_number=visit,
        prior_visit_number=before or visit,
    )


def who(value: str) -> Identifier:
    return Identifier(authority="HOSP", value=value)


JOE = adt(1, person("P1", name="DOE^JOE", sex="M"))
ANN = adt(2, person("P2", name="ROE^ANN", sex="F"))
MAX = adt(3, person("P3", name="MUS^MAX"))
ORDER = order(10, patient=person("P1"), filler_order_number="F1", accession_number="A1", visit_number="V1")
# A report of the clinic, whose identifiers are its own.
CLINIC = arrival(60, patient=person("C7@CLINIC"), accession_number="A1")
REPORT = arrival(60, patient=unissued("P1"), accession_number="A1")


@dataclass(frozen=True)
class Case:
    """Events, and columns expected of the one study."""

    events: list[Event]
    expected: Mapping[str, object]
    rules: Rules = RULES


LINKED: dict[str, object] = {"link_state": "linked", "patient_id": "P1"}
CONFLICT = {"link_state": "conflict"}
CASES = {
    "another authority's identifier is another patient's": Case([JOE, ORDER, CLINIC], CONFLICT),
    "identifiers of one PID-3 are one person": Case(
        [adt(5, person("P1", "C7@CLINIC", name="DOE^JOE")), ORDER, CLINIC], LINKED
    ),
    "of two lists the newer decides who stands beside an identifier": Case(
        [
            adt(5, person("P1", "C7@CLINIC", name="DOE^JOE")),
            adt(6, person("P2", "C7@CLINIC", name="ROE^ANN")),
            ORDER,
            CLINIC,
        ],
        CONFLICT,
    ),
    "a link makes two records one person and mixes no values": Case(
        [JOE, adt(4, person("C7@CLINIC", sex="F", name="MOE^J")), *link(20, person("P1"), person("C7@CLINIC")), ORDER, CLINIC],
        LINKED | {"patient_name": "DOE^JOE", "patient_sex": "M"},
    ),
    "an unlink that is newer ends the link": Case(
        [ORDER, CLINIC, *link(20, person("P1"), person("C7@CLINIC")), *link(30, person("P1"), person("C7@CLINIC"), "unlink")],
        CONFLICT,
    ),
    "an unlink that is older ends nothing": Case(
        [ORDER, CLINIC, *link(20, person("P1"), person("C7@CLINIC")), *link(15, person("P1"), person("C7@CLINIC"), "unlink")],
        LINKED,
    ),
    "A43 takes an identifier from one person to another": Case(
        [
            adt(4, person("P2", "C7@CLINIC")),
            adt(20, person("C7@CLINIC", "P1"), prior=person("C7@CLINIC", "P2"), action="move", trigger="A43"),
            ORDER,
            CLINIC,
        ],
        LINKED,
    ),
    "A43 of another identifier moves all that is filed under it": Case(
        [JOE, ANN, adt(20, person("P2"), prior=person("P1"), action="move", trigger="A43"), ORDER, REPORT],
        {"link_state": "linked", "patient_id": "P2", "patient_name": "ROE^ANN"},
    ),
    "an order follows its visit to the patient it was moved to": Case(
        [JOE, ANN, ORDER, REPORT, move(70, "A45", "P2", "P1", "V1")],
        {"link_state": "linked", "patient_id": "P2", "patient_name": "ROE^ANN"},
    ),
    "an order of another visit stays": Case([JOE, ANN, ORDER, REPORT, move(70, "A45", "P2", "P1", "V9")], LINKED),
    "a visit moved twice is the last one's": Case(
        [ANN, MAX, ORDER, REPORT, move(70, "A45", "P2", "P1", "V1"), move(80, "A44", "P3", "P2", "V1")],
        {"link_state": "linked", "patient_id": "P3", "patient_name": "MUS^MAX"},
    ),
    "a visit renumbered and then moved is followed": Case(
        [ANN, ORDER, REPORT, move(70, "A50", "P1", "P1", "V2", "V1"), move(80, "A45", "P2", "P1", "V2")],
        {"link_state": "linked", "patient_id": "P2"},
    ),
    "a visit moved back is the first one's again": Case(
        [JOE, ANN, ORDER, REPORT, move(70, "A45", "P2", "P1", "V1"), move(80, "A45", "P1", "P2", "V1")],
        {"link_state": "linked", "patient_id": "P1", "patient_name": "DOE^JOE"},
    ),
    "a move and a merge of the same patients agree": Case(
        [JOE, ORDER, REPORT, move(70, "A45", "P2", "P1", "V1"), adt(80, person("P1"), prior=person("P2"))],
        LINKED,
    ),
    "an arrival with a visit's new number marks its order": Case(
        [
            ORDER,
            REPORT,
            adt(12, person("P1"), trigger="A10", visit_number="V2"),
            move(30, "A50", "P1", "P1", "V2", "V1"),
        ],
        {"order_status": "ARRIVED"},
    ),
    "an arrival whose visit was deleted marks nothing": Case(
        [
            ORDER,
            REPORT,
            adt(12, person("P1"), trigger="A10", visit_number="V1"),
            adt(13, person("P1"), action="delete", trigger="A23", visit_number="V1"),
        ],
        {"order_status": "SCHEDULED"},
    ),
    "a deleted person's older values stay away": Case(
        [JOE, adt(30, person("P1"), action="delete", trigger="A29"), ORDER, REPORT],
        LINKED | {"patient_name": None},
    ),
    "a person registered again after the delete has the new values": Case(
        [JOE, adt(30, person("P1"), action="delete", trigger="A29"), adt(40, person("P1", name="DOE^J")), ORDER, REPORT],
        LINKED | {"patient_name": "DOE^J", "patient_sex": None},
    ),
    "a deleted visit says nothing of the person": Case(
        [JOE, adt(30, person("P1", name="WRONG^W"), action="delete", trigger="A23"), ORDER, REPORT],
        LINKED | {"patient_name": "DOE^JOE"},
    ),
    "a message that names a merged-away patient speaks of the survivor": Case(
        [JOE, ANN, adt(20, person("P2"), prior=person("P1")), adt(30, person("P1", name="NEW^N")), ORDER, REPORT],
        {"patient_id": "P2", "patient_name": "NEW^N"},
    ),
    "where the site says so, it ends the merge": Case(
        [JOE, ANN, adt(20, person("P2"), prior=person("P1")), adt(30, person("P1", name="NEW^N")), ORDER, REPORT],
        {"patient_id": "P1", "patient_name": "NEW^N"},
        replace(RULES, follow_merges=False),
    ),
    "an older one ends nothing, whatever the site says": Case(
        [JOE, ANN, adt(20, person("P2"), prior=person("P1")), ORDER, REPORT],
        {"patient_id": "P2", "patient_name": "ROE^ANN"},
        replace(RULES, follow_merges=False),
    ),
    "a decided merge moves the study to the survivor": Case(
        [JOE, ANN, ORDER, REPORT, decision(90, "merge", patient=who("P2"), prior=who("P1"))],
        {"patient_id": "P2", "patient_name": "ROE^ANN"},
    ),
    "a decided un-merge gives each its own values back": Case(
        [
            JOE,
            ANN,
            ORDER,
            REPORT,
            adt(50, person("P2"), prior=person("P1")),
            decision(90, "unmerge", patient=who("P2"), prior=who("P1")),
        ],
        LINKED | {"patient_name": "DOE^JOE"},
    ),
    "an un-merge taken back leaves the merge": Case(
        [
            JOE,
            ORDER,
            REPORT,
            adt(50, person("P2"), prior=person("P1")),
            decision(90, "unmerge", patient=who("P2"), prior=who("P1")),
            decision(95, "unmerge", withdrawn=True, patient=who("P2"), prior=who("P1")),
        ],
        {"patient_id": "P2"},
    ),
    "leading zeros and case where the authority ignores them": Case(
        [
            order(10, patient=person("0ab1"), filler_order_number="F1", accession_number="A1"),
            arrival(60, patient=unissued("00AB1"), accession_number="A1"),
        ],
        {"link_state": "linked", "patient_authority": "HOSP", "patient_id": "AB1"},
        replace(RULES, ids_without_zeros=frozenset({"HOSP"}), ids_without_case=frozenset({"HOSP"})),
    ),
    "leading zeros where nothing is said are part of the identifier": Case(
        [ORDER, arrival(60, patient=unissued("0P1"), accession_number="A1")], CONFLICT
    ),
    "the institution of a report says whose identifiers it uses": Case(
        [ORDER, arrival(60, patient=unissued("P1"), accession_number="A1", institution="Clinic East")],
        CONFLICT,
        replace(RULES, authority_by_institution={"clinic east": "CLINIC"}),
    ),
    "an alias of the authority is the authority": Case(
        [ORDER, arrival(60, patient=person("P1@1.2.3"), accession_number="A1")],
        LINKED,
        replace(RULES, authority_alias={"1.2.3": "HOSP"}),
    ),
    "one identifier in two authorities of one person is not ambiguous": Case(
        [adt(5, person("P1", "P1@CLINIC", name="DOE^JOE")), arrival(60, patient=unissued("P1"))],
        {"link_state": "waiting", "patient_name": "DOE^JOE"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_patient_whatever_the_order(case: Case) -> None:
    def rows(events: list[Event]) -> GroupRows:
        return rows_of(events, NOON, case.rules)

    first = rows(case.events)
    (study,) = first.studies
    assert {name: getattr(study, name) for name in case.expected} == case.expected
    for arranged in islice(permutations(case.events), TRIED):
        assert rows([*arranged, arranged[0]]) == first


def test_an_identifier_listed_beside_very_many_others_joins_nobody() -> None:
    crowd: list[Event] = [adt(n, person(f"X{n:02}", "999@NAT")) for n in range(1, 30)]
    mine = adt(40, person("P1", "999@NAT"))
    report = arrival(60, patient=person("999@NAT"), accession_number="A1")
    for events in ([*crowd, mine, ORDER, report], [report, ORDER, mine, *reversed(crowd)]):
        (study,) = rows_of(events, NOON, RULES).studies
        assert study.link_state == "conflict"
    (study,) = rows_of([*crowd[:3], mine, ORDER, report], NOON, RULES).studies
    assert study.link_state == "linked"
