"""What arrived of each study: its instances, the header fields they say, and the keys its orders are found by."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dosestream.events.records import RequestReference, Study
from dosestream.reconcile.facts import StudyFact
from dosestream.reconcile.identity import PatientId, dicom_identity
from dosestream.reconcile.lazy import lazy
from dosestream.reconcile.links import PatientReference, StudyKeys
from dosestream.reconcile.modality import family, joined, of_report
from dosestream.reconcile.patients import CLEARED, Patients
from dosestream.reconcile.performed import placed
from dosestream.reconcile.rules import Rules


@dataclass(frozen=True)
class ArrivedStudy:
    """The instances of one study, each SOP instance in its newest version, the oldest first."""

    study_instance_uid: str
    facts: tuple[StudyFact, ...]
    rules: Rules
    # The older versions of its instances too: when a value was first heard does not depend on which is newest.
    heard: tuple[StudyFact, ...]

    @lazy
    def _ranked(self) -> list[Study]:
        """The instances as header fields are taken from them: dose reports before others, then the newest."""
        ranked = sorted(
            self.facts,
            key=lambda f: (f.event.kind == "dose_report", not f.event.rejection_code, f.version),
            reverse=True,
        )
        return [f.event for f in ranked]

    @lazy
    def _received(self) -> list[Study]:
        """All that arrived, by first receipt."""
        events = [f.event for f in self.heard]
        return sorted(events, key=lambda e: (e.received_at, e.event_id))

    def newest(self, wanted: Callable[[Study], object]) -> Study | None:
        """The instance that a header field is taken from."""
        return next((e for e in self._ranked if wanted(e)), None)

    def first(self, wanted: Callable[[Study], object]) -> Study:
        """The instance first received of those that say it; some must."""
        return next(e for e in self._received if wanted(e))

    def value(self, name: str) -> str | None:
        """A text field of the header."""
        for event in self._ranked:
            said: str = getattr(event, name)
            if said and said != CLEARED:
                return said
        return None

    def number(self, name: str) -> float | None:
        """A numeric field of the header."""
        for event in self._ranked:
            said: float | None = getattr(event, name)
            if said is not None:
                return float(said)
        return None

    @lazy
    def first_received_at(self) -> int:
        """Earliest receipt of any instance, microseconds since 1970 UTC."""
        return self._received[0].received_at

    @lazy
    def accession(self) -> str:
        """The header's accession number, empty where it connects nothing."""
        value = self.value("accession_number") or ""
        return "" if self.rules.stands_for_nobody(value) else value

    @lazy
    def _requests(self) -> list[RequestReference]:
        """The requests its instances reference."""
        return [request for fact in self.facts for request in fact.event.requests]

    @lazy
    def request_accessions(self) -> tuple[str, ...]:
        """Accession numbers of the requests referenced."""
        return self._requested("accession_number")

    def _requested(self, name: str) -> tuple[str, ...]:
        values = [getattr(r, name) for r in self._requests]
        return tuple(dict.fromkeys(v for v in values if not self.rules.stands_for_nobody(v)))

    @lazy
    def references(self) -> tuple[PatientReference, ...]:
        """The patients its instances name, the earliest first."""
        found: dict[PatientId, PatientReference] = {}
        for fact in self.facts:
            event = fact.event
            identity = dicom_identity(self.rules, event.source, event.patient, event.institution)
            if identity is not None:
                found.setdefault(identity, PatientReference(identity, event.patient))
        return tuple(found.values())

    @lazy
    def dated(self) -> Study | None:
        """The instance that tells when the study was made."""
        return self.newest(lambda e: e.study_at is not None)

    @lazy
    def study_at(self) -> int | None:
        """When the study was made, microseconds since 1970 UTC."""
        return None if self.dated is None else self.dated.study_at

    @lazy
    def modality(self) -> str | None:
        """By the templates of its dose reports, else as its other instances say."""
        kinds = (of_report(f.event.dose, f.event.modality) for f in self.facts if f.event.dose is not None)
        return joined(kind for kind in kinds if kind is not None) or self.value("modality")

    @lazy
    def modality_family(self) -> str | None:
        """The modality as the window sees it; of several kinds the first that says something."""
        said = [f.event.modality for f in self.facts]
        kinds = (self.modality or "").split("\\")
        return next((known for kind in (*kinds, *said) if (known := family(kind))), None)

    def keys(self, patients: Patients) -> StudyKeys:
        """What is looked up in the orders."""
        return StudyKeys(
            study_instance_uid=self.study_instance_uid,
            accession_number=self.accession,
            request_accessions=frozenset(self.request_accessions),
            request_placers=frozenset(self._requested("placer_order_number")),
            request_fillers=frozenset(self._requested("filler_order_number")),
            patient=self.references[0] if self.references else None,
            patients_disagree=_disagree(self.references, patients),
            accession_issuer=self.value("accession_issuer") or "",
            study_at=self.study_at,
            modality_family=self.modality_family,
            procedure_code=self.value("procedure_code"),
        )


def arrived_studies(facts: Iterable[StudyFact], rules: Rules) -> tuple[ArrivedStudy, ...]:
    """The studies of a group; of one SOP instance under one study the newest version counts."""
    facts = placed(facts)
    newest: dict[tuple[str, str], StudyFact] = {}
    for fact in facts:
        key = fact.event.study_instance_uid, fact.event.sop_instance_uid
        if key not in newest or fact.version > newest[key].version:
            newest[key] = fact
    by_study: dict[str, list[StudyFact]] = {}
    for fact in sorted(newest.values(), key=lambda f: f.version):
        by_study.setdefault(fact.event.study_instance_uid, []).append(fact)
    heard: dict[str, list[StudyFact]] = {}
    for fact in facts:
        heard.setdefault(fact.event.study_instance_uid, []).append(fact)
    return tuple(
        ArrivedStudy(uid, tuple(found), rules, tuple(heard[uid])) for uid, found in sorted(by_study.items())
    )


def _disagree(references: Sequence[PatientReference], patients: Patients) -> bool:
    """Whether the references cannot all be one patient; one without issuer agrees with an equal identifier."""
    if len(references) < 2:
        return False
    issued = {patients.person(r.identity) for r in references if r.identity.authority}
    bare = {r.identity.value for r in references if not r.identity.authority}
    if len(issued) > 1:
        return True
    return len(issued) + len(bare) > 1 and not all(
        any(p in issued for p in map(patients.person, patients.candidates(value)))
        or any(patients.same_identifier(r.identity, value) for r in references if r.identity.authority)
        for value in bare
    )
