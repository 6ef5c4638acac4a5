"""Merged patients: chains, circles, corrections, decisions, in any order of arrival."""

from itertools import permutations

import pytest

from dosestream.reconcile.bonds import Bond, Kind
from dosestream.reconcile.fold import Rank
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.merge import merged, survivor
from dosestream.reconcile.version import ABSENT, Precedence, Version


def patient(value: str) -> PatientId:
    return PatientId("HOSP", value)


def said(prior: str, target: str, when: int) -> Bond:
    """A merge by message."""
    version = Version(Precedence(when, when, ABSENT, ABSENT), when, f"{prior}{target}{when}")
    return Bond(patient(prior), patient(target), version, "M")


def at_once(when: int, *pairs: tuple[str, str]) -> list[Bond]:
    """The merges of one message."""
    version = said("", "", when).version
    return [said(prior, target, when)._replace(version=version) for prior, target in pairs]


def decided(kind: Kind, prior: str, target: str, when: int, withdrawn: bool = False) -> Bond:
    """A merge or un-merge by a person."""
    bond = said(prior, target, when)
    return bond._replace(kind=kind, rank=Rank.DECISION, withdrawn=withdrawn)


MERGE, UNMERGE = Kind.MERGE, Kind.UNMERGE
CASES = {
    "one merge": ([said("A", "B", 1)], {"A": "B", "B": "B"}),
    "a chain ends at its last": ([said("A", "B", 1), said("B", "C", 2)], {"A": "C", "B": "C"}),
    "the newest merge of an identifier decides": ([said("A", "B", 1), said("A", "C", 2)], {"A": "C"}),
    "the older merge of a circle loses": ([said("A", "B", 1), said("B", "A", 2)], {"A": "A", "B": "A"}),
    "the oldest merge of a longer circle loses": (
        [said("A", "B", 1), said("B", "C", 2), said("C", "A", 3)],
        {"A": "A", "B": "A", "C": "A"},
    ),
    "of the merges of one message that close a circle the one of the lower identifier loses": (
        [*at_once(1, ("A", "B"), ("C", "D")), said("B", "C", 2), said("D", "A", 3)],
        {"A": "A", "B": "A", "C": "A", "D": "A"},
    ),
    "which of the merges of one message was corrected before does not matter": (
        [*at_once(1, ("A", "B"), ("C", "D")), said("B", "C", 2), said("D", "A", 3), said("C", "E", 0)],
        {"A": "A", "B": "A", "C": "A", "D": "A"},
    ),
    "into itself means nothing": ([said("A", "A", 1)], {"A": "A"}),
    "a decided merge holds against a newer message": (
        [decided(MERGE, "A", "B", 1), said("A", "C", 2)],
        {"A": "B"},
    ),
    "a decided merge wins a circle against a newer message": (
        [decided(MERGE, "A", "B", 1), said("B", "A", 2)],
        {"A": "B", "B": "B"},
    ),
    "a decided merge that was withdrawn leaves the message": (
        [decided(MERGE, "A", "B", 1), decided(MERGE, "A", "B", 3, withdrawn=True), said("A", "C", 2)],
        {"A": "C"},
    ),
    "an un-merge holds against an older and a newer message": (
        [said("A", "B", 1), decided(UNMERGE, "A", "B", 2), said("A", "B", 3)],
        {"A": "A"},
    ),
    "an un-merge speaks of the pair in either direction": (
        [said("B", "A", 1), decided(UNMERGE, "A", "B", 2)],
        {"A": "A", "B": "B"},
    ),
    "an un-merge leaves merges with others": (
        [said("A", "B", 1), said("A", "C", 2), decided(UNMERGE, "A", "C", 3)],
        {"A": "B", "C": "C"},
    ),
    "an un-merge from the end of a chain takes the first merge away": (
        [said("A", "B", 1), said("B", "C", 2), decided(UNMERGE, "A", "C", 3)],
        {"A": "A", "B": "C"},
    ),
    "an un-merge that was withdrawn leaves the message": (
        [said("A", "B", 1), decided(UNMERGE, "A", "B", 2), decided(UNMERGE, "A", "B", 3, withdrawn=True)],
        {"A": "B"},
    ),
    "of decisions about one pair the newest holds": (
        [decided(MERGE, "A", "B", 1), decided(UNMERGE, "A", "B", 2), decided(MERGE, "B", "A", 3)],
        {"A": "A", "B": "A"},
    ),
    "of two decided merges of one patient the newest holds": (
        [decided(MERGE, "A", "B", 1), decided(MERGE, "A", "C", 2)],
        {"A": "C"},
    ),
}


@pytest.mark.parametrize(("bonds", "expected"), CASES.values(), ids=CASES.keys())
def test_survivor_whatever_the_order(bonds: list[Bond], expected: dict[str, str]) -> None:
    for order in permutations([*bonds, bonds[0]]):
        holding = merged(order, over=lambda bond: False)
        assert {p: survivor(holding, patient(p)).value for p in expected} == expected


def test_the_merges_that_hold_come_newest_first_whatever_the_order() -> None:
    bonds = [*at_once(2, ("A", "Z"), ("C", "Z")), said("C", "Y", 1), said("B", "Z", 3)]
    for order in permutations(bonds):
        assert [p.value for p in merged(order, over=lambda bond: False)] == ["B", "C", "A"]


def test_a_merge_that_is_over_leaves_the_one_before_it() -> None:
    for order in permutations([said("A", "B", 1), said("A", "C", 2), decided(MERGE, "D", "E", 2)]):
        holding = merged(order, over=lambda bond: bond.version.received_at == 2)
        assert survivor(holding, patient("A")) == patient("B")
        assert survivor(holding, patient("D")) == patient("E")
