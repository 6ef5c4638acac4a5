"""What connects the facts of groups: the identifiers that each kind of event names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dosestream.events.records import Appointment, Decision, Order, Report, Study
from dosestream.reconcile.appointments import appointment_keys
from dosestream.reconcile.decisions import decision_keys
from dosestream.reconcile.facts import order_keys, study_keys
from dosestream.reconcile.reports import report_keys
from dosestream.reconcile.rules import Rules

KEYS: Mapping[type, Callable[[Any, Rules], Sequence[str]]] = {
    Order: order_keys,
    Study: study_keys,
    Decision: decision_keys,
    Appointment: appointment_keys,
    Report: report_keys,
}
