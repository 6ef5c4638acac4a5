"""A study's row as a set of events makes it, at a time. Pure: the database's derivation, in memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from dosestream.db import dose
from dosestream.db.rows import JsonRow, study_content
from dosestream.db.values import columns
from dosestream.events.records import Appointment, Decision, Order, Patient, Report, Study
from dosestream.past.related import Event
from dosestream.reconcile.bonds import Bond, bonds_of
from dosestream.reconcile.components import Components
from dosestream.reconcile.connecting import KEYS
from dosestream.reconcile.derive import Group, derive
from dosestream.reconcile.dose_words import written
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.patients import Patients, demographics_of
from dosestream.reconcile.reports import without_text
from dosestream.reconcile.rows import DoseSummary, GroupRows
from dosestream.reconcile.rules import Rules

Fact = Order | Study | Decision | Appointment | Report


@dataclass(frozen=True, slots=True)
class Picture:
    """What `dose.study` and `dose.study_order` said of one study.

    Attributes:
        row: column to value, as JSON.
        orders: its links.
        next_due: when time alone may change the row, microseconds since 1970 UTC; None where it cannot.
    """

    row: JsonRow
    orders: tuple[JsonRow, ...]
    next_due: int | None


def picture(events: Iterable[Event], study_instance_uid: str, rules: Rules, now: int) -> Picture | None:
    """The study's rows; None where nothing of it had arrived.

    Args:
        events: all that decide about it (see `related`), in any order; each event once.
        study_instance_uid: which study.
        rules: the site's configuration.
        now: the clock, microseconds since 1970 UTC.
    """
    events = list(events)
    facts = [event for event in events if isinstance(event, Fact)]
    for group, found in _derived(facts, _patients(events, rules), rules, now):
        for row in found.studies:
            if row.study_instance_uid == study_instance_uid:
                links = tuple(
                    columns(link) for link in found.links if link.study_instance_uid == study_instance_uid
                )
                content = study_content(row, _dose(group, facts, study_instance_uid, rules))
                return Picture(content, links, row.next_due)
    return None


def _patients(events: Iterable[Event], rules: Rules) -> Patients:
    folds: dict[PatientId, Fold] = {}
    bonds: dict[tuple[str, ...], Bond] = {}
    for event in events:
        if isinstance(event, Patient | Order | Report):
            for identity, said in demographics_of(event, rules):
                folds[identity] = merge(folds.get(identity, {}), said)
        if isinstance(event, Patient | Decision):
            bonds |= {bond.key: bond for bond in bonds_of(event, rules)}
    return Patients(folds, tuple(bonds.values()), rules)


def _derived(
    facts: Iterable[Fact], patients: Patients, rules: Rules, now: int
) -> Iterator[tuple[Group, GroupRows]]:
    """Every group with its rows; those that meet by their window keys are one."""
    facts = list(facts)
    joined: Components[str] = Components()
    for fact in facts:
        joined.join([f"e:{fact.event_id}", *KEYS[type(fact)](fact, rules)])
    while True:
        members: dict[str, list[Fact]] = {}
        for fact in facts:
            members.setdefault(joined.find(f"e:{fact.event_id}"), []).append(fact)
        groups = {root: _group(those) for root, those in members.items()}
        found = {root: derive(group, patients, rules, now) for root, group in groups.items()}
        meeting: dict[str, list[str]] = {}
        for root, rows in found.items():
            for key in rows.window_keys:
                meeting.setdefault(key, []).append(root)
        moved = [roots for roots in meeting.values() if len(roots) > 1]
        if not moved:
            for root, group in groups.items():
                yield group, found[root]
            return
        for roots in moved:
            joined.join(roots)


def _group(facts: Iterable[Fact]) -> Group:
    facts = list(facts)
    studies = [fact for fact in facts if isinstance(fact, Study)]
    return Group(
        orders=tuple(fact for fact in facts if isinstance(fact, Order)),
        studies=tuple(map(_short, studies)),
        decisions=tuple(fact for fact in facts if isinstance(fact, Decision)),
        appointments=tuple(fact for fact in facts if isinstance(fact, Appointment)),
        reports=tuple(without_text(fact) for fact in facts if isinstance(fact, Report)),
        dose_words={fact.event_id: written(fact) for fact in studies if fact.dose is not None},
    )


def _short(event: Study) -> Study:
    """As derivation reads it: of its dose what kind it is."""
    if event.dose is None:
        return event
    short = replace(event.dose, events=(), totals=(), unread=(), administrations=(), organ_doses=())
    return replace(event, dose=short)


def _dose(group: Group, facts: Iterable[Fact], uid: str, rules: Rules) -> DoseSummary:
    events: Mapping[str, Study] = {fact.event_id: fact for fact in facts if isinstance(fact, Study)}
    for told in dose.told({0: group}, rules):
        if told.study_instance_uid == uid:
            return dose.read(told, events, rules).summary
    return DoseSummary()
