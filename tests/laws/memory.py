"""A reconciler without a database: groups, fan-out, window joins and ledger as `dosestream.db.apply` has them.

Each step is a method, so that a deliberately broken reconciler replaces one and keeps the rest.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace

import orjson

from dosestream.db import ledger
from dosestream.db.locking import MEETING
from dosestream.db.records import Decoded
from dosestream.events.records import Appointment, Clock, Decision, Event, Order, Patient, Report, Study
from dosestream.kafka.records import Partition
from dosestream.reconcile.alerts import alert_rows
from dosestream.reconcile.appointments import appointment_keys
from dosestream.reconcile.bonds import Bond, bonds_of
from dosestream.reconcile.decisions import decision_keys
from dosestream.reconcile.derive import Group, derive, patients_named
from dosestream.reconcile.dose_words import written
from dosestream.reconcile.facts import StudyFact, order_keys, study_fact, study_keys
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.patients import Patients, demographics_of
from dosestream.reconcile.reports import report_keys, without_text
from dosestream.reconcile.rows import GroupRows
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.snapshot import Snapshot
from dosestream.reconcile.studies import ArrivedStudy, arrived_studies
from dosestream.reconcile.totals import Report as DoseSaid
from dosestream.reconcile.totals import study_dose

Fact = Order | Study | Decision | Appointment | Report


def keys_of(event: Fact, rules: Rules) -> list[str]:
    """The identifiers that connect a fact to its group; an event that names nothing is known by its id."""
    if isinstance(event, Order):
        found = order_keys(event, rules)
    elif isinstance(event, Study):
        found = study_keys(event, rules)
    elif isinstance(event, Appointment):
        found = appointment_keys(event, rules)
    elif isinstance(event, Report):
        found = report_keys(event, rules)
    else:
        found = decision_keys(event, rules)
    return [f"e:{event.event_id}", *found]


class MemoryReconciler:
    """Facts, groups, patients, rows, dirty marks and positions of one dose database."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.positions: dict[Partition, int] = {}
        self.receipts: dict[str, int] = {}
        self.facts: dict[str, Fact] = {}
        self.groups: dict[str, int] = {}
        self.home: dict[int, int] = {}
        self.folds: dict[PatientId, Fold] = {}
        self.bonds: dict[tuple[str, ...], Bond] = {}
        self.derived: dict[int, GroupRows] = {}
        self.depending: dict[int, frozenset[str]] = {}
        self.dirty: set[int] = set()
        self.now = 0
        self._next_group = 0

    def apply(self, batch: Sequence[Decoded]) -> None:
        """One transaction."""
        due, positions = self.due(batch)
        events = self.first_heard([item.event for item in due if item.event is not None])
        groups = self.file([e for e in events if isinstance(e, Fact)])
        touched = self.hear([e for e in events if isinstance(e, Patient | Order | Decision | Report)])
        self.dirty |= {g for g, bare in self.depending.items() if bare & touched}
        self.tick(e.at for e in events if isinstance(e, Clock))
        self.derive(groups)
        self.positions |= positions

    def first_heard(self, events: Sequence[Event]) -> list[Event]:
        """Every event with its first receipt, of this batch and of those before."""
        for event in events:
            if isinstance(event, Patient | Fact):
                known = self.receipts.get(event.event_id, event.received_at)
                self.receipts[event.event_id] = min(known, event.received_at)
        return [
            replace(event, received_at=self.receipts[event.event_id])
            if isinstance(event, Patient | Fact)
            else event
            for event in events
        ]

    def apply_at_once(self, one: Sequence[Decoded], other: Sequence[Decoded]) -> None:
        """Two workers, disjoint partitions, one moment: the locks put one after the other."""
        self.apply(one)
        self.apply(other)

    def settle(self) -> None:
        """Derive again all that patients and the clock touched."""
        while self.dirty:
            groups = set(sorted(self.dirty)[:3])
            self.derive(groups)
            self.dirty -= groups

    def restore(self, kept: Snapshot) -> None:
        """Begin from fold state instead of from facts."""
        self.folds |= kept.folds
        self.bonds |= kept.bonds
        self.derive(self.file(list(kept.facts.values())))

    def due(self, batch: Sequence[Decoded]) -> tuple[list[Decoded], dict[Partition, int]]:
        """What the ledger has not seen, and where it stands afterwards."""
        return ledger.due(batch, self.positions, ())

    def file(self, facts: Sequence[Fact]) -> set[int]:
        """Store facts in their groups, joining groups that now belong together; returns the groups touched."""
        touched = {self.join(keys_of(fact, self.rules)) for fact in facts}
        for fact in facts:
            self.store(fact)
        return {self.home.get(group, group) for group in touched}

    def store(self, fact: Fact) -> None:
        """Keep a fact; a repeat keeps the smaller receipt."""
        known = self.facts.get(fact.event_id)
        if known is None or fact.received_at < known.received_at:
            self.facts[fact.event_id] = fact

    def join(self, keys: Collection[str], group: int | None = None) -> int:
        """The one group of these identifiers, made or joined as needed."""
        known = {self.groups[key] for key in keys if key in self.groups} | ({group} - {None})
        if not known:
            self._next_group += 1
            known = {self._next_group}
        into = min(g for g in known if g is not None)
        for key in [k for k, g in self.groups.items() if g in known]:
            self.groups[key] = into
        for key in keys:
            self.groups[key] = into
        for gone in known - {into}:
            assert gone is not None
            self.home = {old: into if new == gone else new for old, new in self.home.items()} | {gone: into}
            self.derived.pop(gone, None)
            self.depending.pop(gone, None)
            self.dirty.discard(gone)
        return into

    def hear(self, events: Sequence[Patient | Order | Decision | Report]) -> set[str]:
        """Fold what is said of patients; returns the bare identifiers of all whom it may concern."""
        before = self.patients()
        named: set[PatientId] = set()
        for event in events:
            if isinstance(event, Patient | Order | Report):
                for identity, said in demographics_of(event, self.rules):
                    self.folds[identity] = self.fold_in(self.folds.get(identity, {}), said)
                    named.add(identity)
            if isinstance(event, Patient | Decision):
                for one in bonds_of(event, self.rules):
                    self.note_bond(one)
                    named |= one.pair
        return {p.value for p in before.related(named) | self.patients().related(named)}

    def fold_in(self, known: Fold, said: Fold) -> Fold:
        """What was known with what was said."""
        return merge(known, said)

    def note_bond(self, one: Bond) -> None:
        """Keep what was said of two patients; a repeat keeps the smaller receipt."""
        known = self.bonds.get(one.key)
        if known is None or one.version.received_at < known.version.received_at:
            self.bonds[one.key] = one

    def patients(self) -> Patients:
        """Everything known of everyone."""
        return Patients(dict(self.folds), tuple(self.bonds.values()), self.rules)

    def tick(self, times: Iterable[int]) -> None:
        """Set the clock forward and mark the rows that fall due."""
        self.now = max([self.now, *times])
        for group, found in self.derived.items():
            dues = [row.next_due for row in found.studies] + [row.next_due for row in found.orders]
            if any(due is not None and due <= self.now for due in dues):
                self.dirty.add(group)

    def group(self, number: int) -> Group:
        """The facts of a group, dose and texts left out as the database has them."""
        facts = [f for f in self.facts.values() if self.groups[f"e:{f.event_id}"] == number]
        return Group(
            orders=tuple(f for f in facts if isinstance(f, Order)),
            studies=tuple(_header(f) for f in facts if isinstance(f, Study)),
            dose_words={f.event_id: written(f) for f in facts if isinstance(f, Study)},
            decisions=tuple(f for f in facts if isinstance(f, Decision)),
            appointments=tuple(f for f in facts if isinstance(f, Appointment)),
            reports=tuple(without_text(f) for f in facts if isinstance(f, Report)),
        )

    def derive(self, groups: Collection[int]) -> None:
        """Derive groups, joining those that meet by their window keys."""
        waiting = set(groups)
        while waiting:
            number = waiting.pop()
            group = self.group(number)
            everyone = self.patients()
            named = everyone.related(patients_named(group, self.rules))
            patients = Patients(
                {p: self.folds[p] for p in named if p in self.folds},
                tuple(bond for bond in self.bonds.values() if not bond.pair.isdisjoint(named)),
                self.rules,
            )
            found = self.rows(number, derive(group, patients, self.rules, self.now))
            # Whoever derives such a key holds its patient: nobody else can be adding it.
            assert {key[2:].partition("|")[0] for key in found.window_keys} <= {p.value for p in named}
            others = {self.groups[k] for k in found.window_keys if k in self.groups} - {number}
            into = self.join(found.window_keys, number)
            if others:
                waiting = {self.home.get(w, w) for w in waiting} | {into}
            else:
                # Keys by which the group need not be met any more are let go.
                kept = found.window_keys
                for key in [k for k, g in self.groups.items() if g == number and k[:2] in MEETING]:
                    if key not in kept:
                        del self.groups[key]
                self.derived[number] = found
                self.depending[number] = frozenset(p.value for p in named)

    def rows(self, number: int, found: GroupRows) -> GroupRows:
        """What is kept of the rows derived of a group."""
        del number
        return found

    def heard(self, study: ArrivedStudy) -> Sequence[StudyFact]:
        """What was ever heard of a study, by which it is told when a threshold was first reached."""
        return study.heard

    def all_rows(self) -> Counter[bytes]:
        """Every row as the public views show it."""
        out: list[object] = []
        patients = self.patients()
        out += [patients.row(identity) for identity in self.folds]
        excluded: set[str] = set()
        for found in self.derived.values():
            excluded |= {row.study_instance_uid for row in found.studies if row.excluded}
            out += [*found.studies, *found.orders, *found.links, *found.anomalies, *found.steps]
            # Which of several messages with one text holds it is no row's matter.
            out += [replace(row, text_of=None) for row in found.reports]
        studies = (study_fact(f, self.rules) for f in self.facts.values() if isinstance(f, Study))
        for study in arrived_studies(studies, self.rules):
            reports = [DoseSaid(f.event, f.event.dose, f.version) for f in study.facts if f.event.dose]
            dose = study_dose(reports, study.value("modality"))
            out += [dose.summary, *dose.totals, *(event for _, event in dose.events)]
            uid = study.study_instance_uid
            if uid not in excluded:
                thresholds = self.rules.alert_thresholds
                out += alert_rows(uid, dose.summary, self.heard(study), (), thresholds)
        return Counter(
            orjson.dumps([type(row).__name__, asdict(row)], option=orjson.OPT_SORT_KEYS)  # type: ignore[call-overload]
            for row in out
        )


def _header(event: Study) -> Study:
    if event.dose is None:
        return event
    return replace(event, dose=replace(event.dose, events=(), totals=(), unread=()))
