"""A whole history derived as one group, as if every identifier joined."""

from dosestream.events.records import Appointment, Decision, Order, Patient, Report, Study
from dosestream.reconcile.bonds import Bond, bonds_of
from dosestream.reconcile.derive import Group, derive
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.patients import Patients, demographics_of
from dosestream.reconcile.rows import GroupRows
from dosestream.reconcile.rules import Rules

Event = Patient | Order | Study | Decision | Appointment | Report


def rows_of(events: list[Event], now: int, rules: Rules) -> GroupRows:
    """The rows of these events at `now`, microseconds since 1970 UTC."""
    folds: dict[PatientId, Fold] = {}
    bonds: list[Bond] = []
    for event in events:
        if isinstance(event, Patient | Order | Report):
            for identity, fold in demographics_of(event, rules):
                folds[identity] = merge(folds.get(identity, {}), fold)
        if isinstance(event, Patient | Decision):
            bonds += bonds_of(event, rules)
    group = Group(
        orders=tuple(e for e in events if isinstance(e, Order)),
        studies=tuple(e for e in events if isinstance(e, Study)),
        decisions=tuple(e for e in events if isinstance(e, Decision)),
        appointments=tuple(e for e in events if isinstance(e, Appointment)),
        reports=tuple(e for e in events if isinstance(e, Report)),
    )
    return derive(group, Patients(folds, tuple(bonds), rules), rules, now)
