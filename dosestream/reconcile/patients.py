"""Patients as context: what HL7 says about each identity, through its merges."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from dosestream.events.records import Demographics, Order, Patient
from dosestream.reconcile import presence
from dosestream.reconcile.fold import Fold, Rank, Winner, fold_of, newest, winner
from dosestream.reconcile.identity import PatientId, hl7_identities, resolve
from dosestream.reconcile.merge import Merge, effective, survivor
from dosestream.reconcile.names import contradict
from dosestream.reconcile.presence import Presence
from dosestream.reconcile.rows import PatientRow
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.version import ABSENT, precedence_of, version_of

CLEARED = '""'
FIELDS = ("name", "birth_date", "sex")
# Where the fields are read from by default, for the evidence.
PATHS: Mapping[str, str] = {"name": "PID-5", "birth_date": "PID-7", "sex": "PID-8"}
# ADT events that move one identifier into another: A40 and A18 merge, A47 changes.
MOVES = frozenset({"merge", "change_id"})


def demographics_of(event: Patient | Order, rules: Rules) -> Iterator[tuple[PatientId, Fold]]:
    """What an event says about patients, filed under each identifier it names."""
    patient = event.patient
    if patient is None or (isinstance(event, Order) and not rules.orders_update_patients):
        return
    rank = Rank.ADT if isinstance(event, Patient) else Rank.ORDER
    fold = fold_of(
        {name: getattr(patient, name) for name in FIELDS}
        | (presence.folded(event) if isinstance(event, Patient) else {}),
        rank,
        precedence_of(event, rules.future_tolerance_us),
        event.event_id,
        event.received_at,
        event.control_id,
    )
    for identity in hl7_identities(rules, event.source, patient):
        yield identity, fold


def merges_of(event: Patient, rules: Rules) -> Iterator[Merge]:
    """The merges of an A40, A18 or A47: each prior identifier into the patient's of the same authority."""
    if event.action not in MOVES:
        return
    targets = hl7_identities(rules, event.source, event.patient)
    if not targets:
        return
    version = version_of(event, rules.future_tolerance_us)
    by_authority = {target.authority: target for target in reversed(targets)}
    for identifier in event.prior_identifiers:
        if not rules.stands_for_nobody(identifier.value):
            prior = resolve(rules, event.source, identifier)
            yield Merge(prior, by_authority.get(prior.authority, targets[0]), version, event.control_id)


@dataclass(frozen=True)
class Patients:
    """Everything known about the patients a group touches.

    Attributes:
        folds: identity to what was said about it, as filed.
        merges: all merges among them.
    """

    folds: Mapping[PatientId, Fold] = field(default_factory=dict)
    merges: tuple[Merge, ...] = ()

    @cached_property
    def holding(self) -> dict[PatientId, Merge]:
        """The merges that hold, by prior."""
        return effective(self.merges)

    @cached_property
    def known(self) -> frozenset[PatientId]:
        """Every identity that was named."""
        return frozenset(self.folds) | {m.prior for m in self.merges} | {m.target for m in self.merges}

    def survivor(self, patient: PatientId) -> PatientId:
        """The identity this one was finally merged into, itself where it was not."""
        return survivor(self.holding, patient)

    def merges_behind(self, patient: PatientId) -> list[Merge]:
        """The merges that lead from an identity to its survivor."""
        found = []
        while patient in self.holding:
            found.append(self.holding[patient])
            patient = found[-1].target
        return found

    @cached_property
    def _merged_into(self) -> dict[PatientId, list[PatientId]]:
        into: dict[PatientId, list[PatientId]] = {}
        for prior in self.holding:
            into.setdefault(self.survivor(prior), []).append(prior)
        return into

    def candidates(self, value: str) -> tuple[PatientId, ...]:
        """The surviving identities whom a bare identifier may mean, in any authority."""
        found = {self.survivor(p) for p in self.known if p.value == value}
        return tuple(sorted(found))

    def demographics(self, patient: PatientId) -> dict[str, Winner]:
        """What holds for a patient by field: the survivor's own values first; a merged-away identity's
        values where they are newer than its merge, or where the survivor has none."""
        who = self.survivor(patient)
        own = self.folds.get(who, {})
        away = self._merged_into.get(who, [])
        out = {}
        for name in FIELDS:
            strong = [winner(own.get(name, {}))]
            weak = []
            for prior in away:
                said = winner(self.folds.get(prior, {}).get(name, {}))
                if said is None:
                    continue
                weak.append(said)
                merged_at = self.holding[prior].version.precedence
                if said.version.precedence.event_time > max(merged_at.event_time, ABSENT):
                    strong.append(said)
            if (best := newest(strong) or newest(weak)) is not None:
                out[name] = best
        return out

    def presences(self, patient: PatientId) -> list[Presence]:
        """When the patient came, under whichever identifier."""
        who = self.survivor(patient)
        folds = [self.folds.get(p, {}) for p in (who, *self._merged_into.get(who, ()))]
        return [found for fold in folds for found in presence.read(fold.get(presence.FIELD, {}))]

    def contradicts(self, patient: PatientId, report: Demographics) -> bool:
        """Whether a report's name or birth date is none that this patient ever had."""
        who = self.survivor(patient)
        folds = [self.folds.get(p, {}) for p in (who, *self._merged_into.get(who, ()))]
        return any(
            contradict(name, getattr(report, name), _ever(folds, name)) for name in ("name", "birth_date")
        )

    def row(self, patient: PatientId) -> PatientRow:
        """The row of dose.patient."""
        into = self.survivor(patient)
        found = self.demographics(patient)
        return PatientRow(
            patient_authority=patient.authority,
            patient_id=patient.value,
            merged_into_authority=None if into == patient else into.authority,
            merged_into_id=None if into == patient else into.value,
            patient_name=shown(found.get("name")),
            patient_birth_date=shown(found.get("birth_date")),
            patient_sex=shown(found.get("sex")),
        )


def shown(found: Winner | None) -> str | None:
    """A value as the views show it: cleared and unsaid are NULL."""
    return None if found is None or found.value == CLEARED else found.value


def _ever(folds: Iterable[Fold], name: str) -> list[str]:
    return [value for fold in folds for value in fold.get(name, {}) if value != CLEARED]
