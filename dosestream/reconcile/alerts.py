"""Studies whose dose reached a threshold: which totals did, and when it was first known.

A study has an alert while its total as it stands reaches the threshold and the study is not excluded. When it was
first known is told by receipts alone: the earliest of them at which the reports heard until then, each SOP instance
in its newest version, came to the threshold.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby

from dosestream.knowledge.quantities import QUANTITIES
from dosestream.reconcile.facts import StudyFact
from dosestream.reconcile.rows import AlertRow, DoseSummary
from dosestream.reconcile.totals import Report, study_dose

Thresholds = Mapping[str, float]


def reached(summary: DoseSummary, thresholds: Thresholds) -> dict[str, float]:
    """Kind of alert to the study's total, where that has come to the threshold."""
    totals = {kind: getattr(summary, QUANTITIES[kind].column) for kind in thresholds}
    return {kind: value for kind, value in totals.items() if value is not None and value >= thresholds[kind]}


def alert_rows(
    study_instance_uid: str,
    summary: DoseSummary,
    heard: Iterable[StudyFact],
    not_counting: Collection[str],
    thresholds: Thresholds,
) -> list[AlertRow]:
    """The alerts of a study that is not excluded.

    Args:
        summary: its dose as it stands.
        heard: all its arrivals, older versions too, with their dose.
        not_counting: SOP instances that were rejected.
        thresholds: kind to the threshold in the unit of its quantity.
    """
    standing = reached(summary, thresholds)
    if not standing:
        return []
    wanted = {kind: thresholds[kind] for kind in standing}
    first = _first_known(heard, not_counting, wanted)
    return [
        AlertRow(
            study_instance_uid=study_instance_uid,
            kind=kind,
            value=value,
            threshold=thresholds[kind],
            unit=QUANTITIES[kind].unit,
            first_triggered_at=first.get(kind),
        )
        for kind, value in sorted(standing.items())
    ]


def _first_known(
    heard: Iterable[StudyFact], not_counting: Collection[str], thresholds: Thresholds
) -> dict[str, int]:
    """Kind to the receipt with which its threshold was reached first, microseconds since 1970 UTC."""
    first: dict[str, int] = {}
    newest: dict[str, StudyFact] = {}
    counting = (fact for fact in heard if fact.event.sop_instance_uid not in not_counting)
    for received_at, together in groupby(sorted(counting, key=_received), key=_received):
        for fact in together:
            sop = fact.event.sop_instance_uid
            if sop not in newest or fact.version > newest[sop].version:
                newest[sop] = fact
        reports = [
            Report(f.event, f.event.dose, f.version) for f in newest.values() if f.event.dose is not None
        ]
        for kind in reached(study_dose(reports, None).summary, thresholds):
            first.setdefault(kind, received_at)
        if len(first) == len(thresholds):
            break
    return first


def _received(fact: StudyFact) -> int:
    return fact.event.received_at
