"""Visits and accounts: whose they are, and by which number, after moves, merges and changes of number.

A visit is a number of one patient. A44 and A45 move it to another patient, A41, A42, A49 and A50 give it another
number; both are a merge of one visit into another, and resolve as merges of patients do.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from dosestream.events.records import Patient
from dosestream.reconcile.bonds import Bond, Kind
from dosestream.reconcile.fold import Fold, winner
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.merge import Edge, Holding, effective
from dosestream.reconcile.version import Version

# The name under which the ends of visits are folded, each visit a value.
ENDED = "visit_ended"
# A23 deletes a visit, A32 takes an arrival (A10) back.
ENDS = frozenset({"A23", "A32"})


class Visit(NamedTuple):
    """A visit (or account) number of a patient."""

    patient: PatientId
    number: str


def moved(bonds: Iterable[Bond], survivor: Callable[[PatientId], PatientId]) -> Holding[Visit]:
    """The moves of visits that hold; patients as they survive."""
    return effective(
        Edge(
            Visit(survivor(bond.prior), bond.prior_visit),
            Visit(survivor(bond.target), bond.target_visit),
            bond,
        )
        for bond in bonds
        if bond.kind is Kind.VISIT
    )


def ended(event: Patient) -> dict[str, str]:
    """What an ADT message that deletes a visit adds to the patient's fold."""
    return {ENDED: event.visit_number} if event.trigger in ENDS else {}


def has_ended(fold: Fold, number: str, said: Version) -> bool:
    """Whether a visit was deleted after something was said of it."""
    values = fold.get(ENDED, {})
    end = winner({number: values[number]}) if number in values else None
    return end is not None and end.version > said
