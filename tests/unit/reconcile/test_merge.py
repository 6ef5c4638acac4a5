"""Merged patients: chains, circles, corrections, in any order of arrival."""

from itertools import permutations

import pytest

from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.merge import Merge, effective, survivor
from dosestream.reconcile.version import ABSENT, Precedence, Version


def patient(value: str) -> PatientId:
    return PatientId("HOSP", value)


def merged(prior: str, target: str, when: int) -> Merge:
    version = Version(Precedence(when, when, ABSENT, ABSENT), when, f"{prior}{target}{when}")
    return Merge(patient(prior), patient(target), version, "M")


CASES = {
    "one merge": ([merged("A", "B", 1)], {"A": "B", "B": "B"}),
    "a chain ends at its last": ([merged("A", "B", 1), merged("B", "C", 2)], {"A": "C", "B": "C"}),
    "the newest merge of an identifier decides": ([merged("A", "B", 1), merged("A", "C", 2)], {"A": "C"}),
    "the older merge of a circle loses": ([merged("A", "B", 1), merged("B", "A", 2)], {"A": "A", "B": "A"}),
    "the oldest merge of a longer circle loses": (
        [merged("A", "B", 1), merged("B", "C", 2), merged("C", "A", 3)],
        {"A": "A", "B": "A", "C": "A"},
    ),
    "into itself means nothing": ([merged("A", "A", 1)], {"A": "A"}),
}


@pytest.mark.parametrize(("merges", "expected"), CASES.values(), ids=CASES.keys())
def test_survivor_whatever_the_order(merges: list[Merge], expected: dict[str, str]) -> None:
    for order in permutations(merges):
        holding = effective(order)
        assert {p: survivor(holding, patient(p)).value for p in expected} == expected
