"""Patients as context: what HL7 says about each identity, through its merges, links and moves."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dosestream.events.records import Demographics, Order, Patient, Report
from dosestream.reconcile import listing, presence, visits
from dosestream.reconcile.bonds import Bond
from dosestream.reconcile.components import Components
from dosestream.reconcile.fold import Fold, Rank, Winner, fold_of, held, merge, newest, winner
from dosestream.reconcile.identity import PatientId, bare_forms, hl7_identities, normal
from dosestream.reconcile.lazy import lazy
from dosestream.reconcile.merge import Holding, merged, path, survivor
from dosestream.reconcile.names import contradict
from dosestream.reconcile.person import linked, persons
from dosestream.reconcile.presence import Presence
from dosestream.reconcile.rows import PatientRow
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.version import ABSENT, Version, precedence_of
from dosestream.reconcile.visits import Visit

CLEARED = '""'
FIELDS = ("name", "birth_date", "sex")
# Where the fields are read from by default, for the evidence.
PATHS: Mapping[str, str] = {"name": "PID-5", "birth_date": "PID-7", "sex": "PID-8"}
# A person's record is deleted: what it said is cleared, by version. A23 deletes a visit, which says nothing of
# the person.
DELETES_PERSON = "A29"
# Whose word counts for more, whatever was said later.
RANKS: Mapping[type, Rank] = {Patient: Rank.ADT, Order: Rank.ORDER, Report: Rank.REPORT}


def demographics_of(event: Patient | Order | Report, rules: Rules) -> Iterator[tuple[PatientId, Fold]]:
    """What an event says about patients, filed under each identifier it names."""
    patient = event.patient
    if patient is None or (isinstance(event, Order) and not rules.orders_update_patients):
        return
    identities = hl7_identities(rules, event.source, patient)
    if not identities:
        return
    rank = RANKS[type(event)]
    who_says = (
        rank,
        precedence_of(event, rules.future_tolerance_us),
        event.event_id,
        event.received_at,
        event.control_id,
    )
    said = _values(event, patient)
    if isinstance(event, Patient):
        said |= presence.folded(event)
        said |= visits.ended(event)
    fold = fold_of(said, *who_says)
    if len(identities) == 1 or (isinstance(event, Patient) and event.action == "delete"):
        for identity in identities:
            yield identity, fold
    else:
        for identity, listed in listing.folded(identities, *who_says):
            yield identity, merge(fold, listed)


def _values(event: Patient | Order | Report, patient: Demographics) -> dict[str, str]:
    if isinstance(event, Patient) and event.action == "delete":
        return dict.fromkeys(FIELDS, CLEARED) if event.trigger == DELETES_PERSON else {}
    return {"name": patient.name, "birth_date": patient.birth_date, "sex": patient.sex}


@dataclass(frozen=True)
class Patients:
    """Everything known about the patients a group touches.

    Attributes:
        folds: identity to what was said about it, as filed.
        bonds: all that was said of pairs of them.
        rules: the site's configuration.
    """

    folds: Mapping[PatientId, Fold] = field(default_factory=dict)
    bonds: tuple[Bond, ...] = ()
    rules: Rules = field(default_factory=Rules)

    @lazy
    def holding(self) -> Holding[PatientId]:
        """The merges that hold, by prior."""
        return merged(self.bonds, self._over) if self.bonds else {}

    def _over(self, bond: Bond) -> bool:
        """Whether a merge ended because an ADT message named the merged-away patient later."""
        if self.rules.follow_merges:
            return False
        fold = self.folds.get(bond.prior, {})
        own = (winner(fold[name]) for name in FIELDS if name in fold)
        since = bond.version.precedence
        return any(w is not None and w.rank >= Rank.ADT and w.version.precedence > since for w in own)

    @lazy
    def known(self) -> frozenset[PatientId]:
        """Every identity that was named."""
        return frozenset(self.folds) | {p for bond in self.bonds for p in bond.pair}

    def survivor(self, patient: PatientId) -> PatientId:
        """The identity this one was finally merged into, itself where it was not."""
        return survivor(self.holding, patient) if self.bonds else patient

    def merges_behind(self, patient: PatientId) -> list[Bond]:
        """The merges that lead from an identity to its survivor."""
        return [edge.bond for edge in path(self.holding, patient)]

    @lazy
    def _listed(self) -> dict[frozenset[PatientId], Version]:
        return listing.mutual(self.folds)

    @lazy
    def _persons(self) -> dict[PatientId, PatientId]:
        if not self.bonds and not self._listed:
            return {}
        pairs = [pair for pair in linked(self.bonds, self._listed) if pair <= self.known]
        return persons(self.known, self.survivor, pairs)

    def person(self, patient: PatientId) -> PatientId:
        """The identity that stands for a person: equal for all that were merged, linked or listed together."""
        return self._persons.get(patient, patient)

    @lazy
    def _connected(self) -> dict[PatientId, frozenset[PatientId]]:
        """Everyone whom bonds of any kind, in force or not, and lists of identifiers lead to."""
        joined: Components[PatientId] = Components()
        for pair in (*(bond.pair for bond in self.bonds), *self._listed):
            joined.join(pair)
        sets: dict[PatientId, set[PatientId]] = {}
        for who in self.known:
            sets.setdefault(joined.find(who), set()).add(who)
        return {who: frozenset(those) for those in sets.values() for who in those}

    def related(self, named: Iterable[PatientId]) -> set[PatientId]:
        """Everyone whose change may change what is derived for these."""
        out = set(named)
        for who in tuple(out):
            if not who.authority:
                out.update(self._filed(who.value))
        if self.bonds or self._listed:
            for who in tuple(out):
                out |= self._connected.get(who, frozenset())
        return out.union(*(listing.beside(self.folds[who]) for who in out if who in self.folds))

    @lazy
    def _by_value(self) -> dict[str, list[PatientId]]:
        found: dict[str, list[PatientId]] = {}
        for who in self.known:
            found.setdefault(who.value, []).append(who)
        return found

    def _filed(self, value: str) -> list[PatientId]:
        """The identities an identifier sent without authority may be."""
        forms = bare_forms(self.rules, value)
        return [p for form in forms for p in self._by_value.get(form, ()) if self.same_identifier(p, value)]

    def same_identifier(self, patient: PatientId, value: str) -> bool:
        """Whether an identifier sent without authority may be this patient's."""
        return patient.value == normal(self.rules, patient.authority, value)

    @lazy
    def _merged_into(self) -> dict[PatientId, list[PatientId]]:
        into: dict[PatientId, list[PatientId]] = {}
        for prior in self.holding:
            into.setdefault(self.survivor(prior), []).append(prior)
        return into

    def candidates(self, value: str) -> tuple[PatientId, ...]:
        """The surviving identities whom a bare identifier may mean, in any authority."""
        return tuple(sorted({self.survivor(p) for p in self._filed(value)}))

    def by_value(self, value: str) -> Sequence[PatientId]:
        """Every identity with exactly this identifier, in any authority."""
        return self._by_value.get(value, ())

    @lazy
    def _visits(self) -> Holding[Visit]:
        return visits.moved(self.bonds, self.survivor) if self.bonds else {}

    def moves_of(self, named: Sequence[PatientId], visit: str | None, said: Version) -> tuple[Bond, ...]:
        """The moves that made a visit another patient's, the last one's target being whose it is now.

        Args:
            named: the patient as a message names it.
            visit: the visit number it names.
            said: the message's version: where messages that name a merged-away patient are taken at their
                word, so are those that name a visit's former patient.
        """
        for who in named if visit and self._visits else ():
            edges = path(self._visits, Visit(self.survivor(who), visit or ""))
            if not self.rules.follow_merges:
                edges = edges if all(edge.bond.version > said for edge in edges) else []
            if any(edge.prior.patient != edge.target.patient for edge in edges):
                return tuple(edge.bond for edge in edges)
        return ()

    def demographics(self, patient: PatientId) -> dict[str, Winner]:
        """What holds for a patient by field: the survivor's own values first; a merged-away identity's
        values where they are newer than its merge, or where the survivor has none."""
        who = self.survivor(patient)
        own = self.folds.get(who, {})
        away = self._merged_into.get(who, [])
        if not away:
            return {name: held for name in FIELDS if (held := winner(own.get(name, {}))) is not None}
        out = {}
        for name in FIELDS:
            strong = [winner(own.get(name, {}))]
            weak = []
            for prior in away:
                said = winner(self.folds.get(prior, {}).get(name, {}))
                if said is None:
                    continue
                weak.append(said)
                merged_at = self.holding[prior].bond.version.precedence
                if said.version.precedence.event_time > max(merged_at.event_time, ABSENT):
                    strong.append(said)
            if (best := newest(strong) or newest(weak)) is not None:
                out[name] = best
        return out

    def presences(self, named: Sequence[PatientId], visit: str | None = None) -> list[Presence]:
        """When a patient came, under whichever identifier; visits by the number that `visit` is now known by
        are shown as that one. What speaks of a visit that was deleted since is left out."""
        found = []
        for who in dict.fromkeys(map(self.survivor, named)):
            for one in (who, *self._merged_into.get(who, ())):
                fold = self.folds.get(one, {})
                for came in presence.read(fold[presence.FIELD]) if presence.FIELD in fold else ():
                    if visits.has_ended(fold, came.visit_number, came.version):
                        continue
                    mine = survivor(self._visits, Visit(who, visit or ""))
                    same = visit and survivor(self._visits, Visit(who, came.visit_number)) == mine
                    found.append(came._replace(visit_number=visit) if same and visit else came)
        return found

    def contradicts(self, patient: PatientId, report: Demographics) -> bool:
        """Whether a report's name or birth date is none that this patient ever had."""
        said = [(name, value) for name in ("name", "birth_date") if (value := getattr(report, name))]
        if not said:
            return False
        who = self.survivor(patient)
        folds = [self.folds.get(p, {}) for p in (who, *self._merged_into.get(who, ()))]
        return any(contradict(name, value, _ever(folds, name)) for name, value in said)

    def row(self, patient: PatientId) -> PatientRow:
        """The row of dose.patient."""
        if not self.bonds:
            fold = self.folds.get(patient, {})
            name, birth_date, sex = (
                None if not (said := fold.get(field)) or (value := held(said)) == CLEARED else value
                for field in FIELDS
            )
            return PatientRow(
                patient_authority=patient.authority,
                patient_id=patient.value,
                merged_into_authority=None,
                merged_into_id=None,
                patient_name=name,
                patient_birth_date=birth_date,
                patient_sex=sex,
            )
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
