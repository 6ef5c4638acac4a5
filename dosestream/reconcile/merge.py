"""Merged patients: who survives, whatever order the merges came in."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.version import Version


class Merge(NamedTuple):
    """One message's word that `prior` is now `target` (A40, A18, A47: MRG-1 into PID-3)."""

    prior: PatientId
    target: PatientId
    version: Version
    control_id: str


def effective(merges: Iterable[Merge]) -> dict[PatientId, Merge]:
    """The merges that hold, by prior: the newest of an identifier; one that would close a circle loses."""
    latest: dict[PatientId, Merge] = {}
    for merge in merges:
        if merge.prior != merge.target and (
            merge.prior not in latest or merge.version > latest[merge.prior].version
        ):
            latest[merge.prior] = merge
    holding: dict[PatientId, Merge] = {}
    for merge in sorted(latest.values(), key=lambda m: m.version, reverse=True):
        if survivor(holding, merge.target) != merge.prior:
            holding[merge.prior] = merge
    return holding


def survivor(holding: Mapping[PatientId, Merge], patient: PatientId) -> PatientId:
    """The last one in the chain of merges that hold."""
    while patient in holding:
        patient = holding[patient].target
    return patient
