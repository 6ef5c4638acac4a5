"""One study's row from its instances, the orders it answers, and its patient."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from dosestream.events.records import Demographics, Study
from dosestream.mapping.defaults import first_paths
from dosestream.reconcile.facts import StudyFact
from dosestream.reconcile.fold import Winner
from dosestream.reconcile.identity import PatientId, dicom_identity
from dosestream.reconcile.links import Link, Outcome, PatientReference, StudyKeys
from dosestream.reconcile.orders import Found
from dosestream.reconcile.patients import CLEARED, FIELDS, PATHS, Patients, shown
from dosestream.reconcile.rows import Evidence, StudyOrderRow, StudyRow
from dosestream.reconcile.rules import Rules

# DICOM tags of the fields read from the header, for the evidence.
TAGS = {
    "patient_id": "(0010,0020)",
    "patient_name": "(0010,0010)",
    "patient_birth_date": "(0010,0030)",
    "patient_sex": "(0010,0040)",
    "accession_number": "(0008,0050)",
    "procedure_code": "(0008,1032)",
    "study_datetime": "(0008,0020)",
    "referring_physician": "(0008,0090)",
}


# Where an event's fields were read unless it says otherwise.
FIRST_PATHS = first_paths()


@dataclass(frozen=True)
class ArrivedStudy:
    """The instances of one study, each SOP instance in its newest version, the oldest first."""

    study_instance_uid: str
    facts: tuple[StudyFact, ...]
    rules: Rules

    def newest(self, wanted: Callable[[Study], object]) -> Study | None:
        """The instance that a header field is taken from: dose reports before others, then the newest."""
        fact = max(
            (f for f in self.facts if wanted(f.event)),
            key=lambda f: (f.event.kind == "dose_report", f.version),
            default=None,
        )
        return None if fact is None else fact.event

    def value(self, name: str) -> str | None:
        """A text field of the header."""
        event = self.newest(lambda e: getattr(e, name) not in ("", CLEARED))
        return None if event is None else str(getattr(event, name))

    def number(self, name: str) -> float | None:
        """A numeric field of the header."""
        event = self.newest(lambda e: getattr(e, name) is not None)
        return None if event is None else float(getattr(event, name))

    @cached_property
    def first_received_at(self) -> int:
        """Earliest receipt of any instance, microseconds since 1970 UTC."""
        return min(f.event.received_at for f in self.facts)

    @cached_property
    def accession(self) -> str:
        """The header's accession number, empty where it connects nothing."""
        value = self.value("accession_number") or ""
        return "" if self.rules.stands_for_nobody(value) else value

    @cached_property
    def request_accessions(self) -> tuple[str, ...]:
        """Accession numbers of the requests referenced."""
        return self._requested("accession_number")

    def _requested(self, name: str) -> tuple[str, ...]:
        values = (getattr(r, name) for f in self.facts for r in f.event.requests)
        return tuple(dict.fromkeys(v for v in values if not self.rules.stands_for_nobody(v)))

    @cached_property
    def references(self) -> tuple[PatientReference, ...]:
        """The patients its instances name, the earliest first."""
        found: dict[PatientId, PatientReference] = {}
        for fact in self.facts:
            event = fact.event
            if (identity := dicom_identity(self.rules, event.source, event.patient)) is not None:
                found.setdefault(identity, PatientReference(identity, event.patient))
        return tuple(found.values())

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
        )


def arrived_studies(facts: Iterable[StudyFact], rules: Rules) -> tuple[ArrivedStudy, ...]:
    """The studies of a group; of one SOP instance under one study the newest version counts."""
    newest: dict[tuple[str, str], StudyFact] = {}
    for fact in facts:
        key = fact.event.study_instance_uid, fact.event.sop_instance_uid
        if key not in newest or fact.version > newest[key].version:
            newest[key] = fact
    by_study: dict[str, list[StudyFact]] = {}
    for fact in sorted(newest.values(), key=lambda f: f.version):
        by_study.setdefault(fact.event.study_instance_uid, []).append(fact)
    return tuple(ArrivedStudy(uid, tuple(found), rules) for uid, found in sorted(by_study.items()))


def _disagree(references: Sequence[PatientReference], patients: Patients) -> bool:
    """Whether the references cannot all be one patient; one without issuer agrees with an equal identifier."""
    survivors = {patients.survivor(r.identity) for r in references}
    issued = {s for s in survivors if s.authority}
    values = {s.value for s in survivors}
    if len(issued) > 1:
        return True
    return len(values) > 1 and not all(
        issued & set(patients.candidates(s.value)) for s in survivors if not s.authority
    )


def patient_of(study: ArrivedStudy, outcome: Outcome, patients: Patients) -> PatientId | None:
    """Who the study is about: the primary order's patient, else the report's as HL7 knows it."""
    if outcome.links:
        identities = outcome.links[0].order.identities
        if identities:
            return patients.survivor(identities[0])
    if not study.references:
        return None
    reference = study.references[0]
    if reference.identity.authority:
        return patients.survivor(reference.identity)
    meant = [
        p
        for p in patients.candidates(reference.identity.value)
        if not patients.contradicts(p, reference.demographics)
    ]
    return meant[0] if len(meant) == 1 else reference.identity


def study_row(study: ArrivedStudy, outcome: Outcome, patients: Patients, now: int) -> StudyRow:
    """The row of dose.study, dose columns apart. `now` is the newest tick, microseconds since 1970 UTC."""
    rules = study.rules
    order = outcome.links[0].order if outcome.links else None
    evidence: Evidence = {}

    def from_order(column: str, name: str | None = None) -> str | None:
        found = None if order is None else order.field(name or column)
        if found is None:
            return None
        evidence[column] = _cite(found, name or column)
        return found.value

    def from_header(column: str, name: str | None = None) -> str | None:
        event = study.newest(lambda e: getattr(e, name or column) not in ("", CLEARED))
        if event is None:
            return None
        if column in TAGS:
            evidence[column] = {"message": event.control_id, "path": TAGS[column]}
        return str(getattr(event, name or column))

    who = patient_of(study, outcome, patients)
    identified = who is not None and who in patients.known
    hl7 = patients.demographics(who) if who is not None and identified else {}
    header = next((r.demographics for r in study.references), None) or study.facts[0].event.patient
    demographics = {name: _demographic(name, hl7.get(name), study, header, evidence) for name in FIELDS}
    if who is not None:
        evidence["patient_id"] = _patient_evidence(study, outcome)

    code, scheme, meaning = _procedure(study, outcome, evidence)
    dated = study.newest(lambda e: e.study_at is not None)
    if dated is not None:
        evidence["study_datetime"] = {"message": dated.control_id, "path": TAGS["study_datetime"]}
    closes = (
        dated.study_at if dated is not None and dated.study_at is not None else study.first_received_at
    ) + (rules.window_us + rules.grace_us)
    if outcome.state == "conflict":
        evidence["conflict"] = outcome.reason
        evidence["candidates"] = [_candidate(one) for one in outcome.candidates]
    accession = from_order("accession_number") or from_header("accession_number")
    if accession is None and study.request_accessions:
        accession = study.request_accessions[0]
        evidence["accession_number"] = {"message": study.facts[-1].event.control_id, "path": "(0040,A370)"}
    status = None if order is None else order.status
    if status is not None:
        evidence["order_status"] = {"message": status.control_id, "path": status.path}
    return StudyRow(
        study_instance_uid=study.study_instance_uid,
        study_datetime=None if dated is None else dated.study_at,
        study_local_datetime=None if dated is None else dated.study_local or None,
        study_time_zone=None if dated is None else dated.study_zone or None,
        institution=study.value("institution"),
        patient_authority=(who.authority or None) if who else None,
        patient_id=who.value if who else None,
        patient_name=demographics["name"],
        patient_birth_date=demographics["birth_date"],
        patient_sex=demographics["sex"],
        patient_age_years=study.number("patient_age_years"),
        patient_size_m=study.number("patient_size_m"),
        patient_weight_kg=study.number("patient_weight_kg"),
        accession_number=accession,
        accession_issuer=from_order("accession_issuer") or study.value("accession_issuer"),
        placer_order_number=from_order("placer_order_number"),
        filler_order_number=from_order("filler_order_number"),
        requested_procedure_id=from_order("requested_procedure_id"),
        procedure_code=code,
        procedure_scheme=scheme,
        procedure_meaning=meaning,
        study_description=study.value("study_description"),
        order_status=None if status is None else status.status,
        referring_physician=from_order("referring_physician") or from_header("referring_physician"),
        station_name=study.value("station_name"),
        manufacturer=study.value("manufacturer"),
        model=study.value("model"),
        link_state=outcome.state,
        link_method=outcome.links[0].method if outcome.links else None,
        phase="final" if now > closes else "provisional",
        excluded=False,
        header_modality=study.value("modality"),
        next_due=None if now > closes else closes + 1,
        evidence=evidence,
    )


def study_orders(study: ArrivedStudy, outcome: Outcome) -> tuple[StudyOrderRow, ...]:
    """The rows of dose.study_order, the primary first."""
    return tuple(
        StudyOrderRow(
            study_instance_uid=study.study_instance_uid,
            row_key=one.order.key,
            filler_order_number=one.order.value("filler_order_number"),
            placer_order_number=one.order.value("placer_order_number"),
            accession_number=one.order.value("accession_number"),
            method=one.method,
            is_primary=position == 0,
            evidence={"key": one.key},
        )
        for position, one in enumerate(outcome.links)
    )


def _demographic(
    name: str, said: Winner | None, study: ArrivedStudy, header: Demographics, evidence: Evidence
) -> str | None:
    """HL7's word where it valued or cleared the field, else the report's."""
    column = f"patient_{name}"
    if said is not None:
        evidence[column] = {"message": said.control_id, "path": PATHS[name]}
        return shown(said)
    value: str = getattr(header, name)
    if value in ("", CLEARED):
        return None
    control_id = next(
        (f.event.control_id for f in study.facts if getattr(f.event.patient, name) == value),
        study.facts[0].event.control_id,
    )
    evidence[column] = {"message": control_id, "path": TAGS[column]}
    return value


def _patient_evidence(study: ArrivedStudy, outcome: Outcome) -> Evidence:
    patient = outcome.links[0].order.patient if outcome.links else None
    if patient is not None:
        named_in = outcome.links[0].order.first(lambda f: f.event.patient == patient.event.patient)
        return {"message": named_in.event.control_id, "path": "PID-3"}
    named = next(f.event for f in study.facts if f.event.patient.identifiers)
    return {"message": named.control_id, "path": TAGS["patient_id"]}


def _procedure(
    study: ArrivedStudy, outcome: Outcome, evidence: Evidence
) -> tuple[str | None, str | None, str | None]:
    """Code, scheme and meaning of one source: the linked order, else what the report itself says.
    Where orders are in conflict nothing is said."""
    if outcome.links and (fact := outcome.links[0].order.procedure) is not None:
        event = fact.event
        told = outcome.links[0].order.first(lambda f: f.event.procedure_code == event.procedure_code).event
        path = told.paths.get("procedure_code") or FIRST_PATHS["procedure_code"]
        evidence["procedure_code"] = {"message": told.control_id, "path": path}
        return _triple(event.procedure_code, event.procedure_scheme, event.procedure_meaning)
    if outcome.state == "conflict":
        return None, None, None
    own = study.newest(lambda e: e.procedure_code or e.procedure_meaning)
    if own is not None:
        evidence["procedure_code"] = {"message": own.control_id, "path": TAGS["procedure_code"]}
        return _triple(own.procedure_code, own.procedure_scheme, own.procedure_meaning)
    for fact_ in study.facts:
        for request in fact_.event.requests:
            if request.procedure_code or request.procedure_meaning:
                evidence["procedure_code"] = {"message": fact_.event.control_id, "path": "(0032,1064)"}
                return _triple(request.procedure_code, request.procedure_scheme, request.procedure_meaning)
    return None, None, None


def _triple(*values: str) -> tuple[str | None, str | None, str | None]:
    code, scheme, meaning = (None if value in ("", CLEARED) else value for value in values)
    return code, scheme, meaning


def _cite(found: Found, name: str) -> Evidence:
    event = found.fact.event
    return {"message": event.control_id, "path": event.paths.get(name) or FIRST_PATHS[name]}


def _candidate(one: Link) -> Evidence:
    return {
        "method": one.method,
        "key": one.key,
        "placer_order_number": one.order.value("placer_order_number"),
        "filler_order_number": one.order.value("filler_order_number"),
        "accession_number": one.order.value("accession_number"),
        "patients": [list(identity) for identity in one.order.identities],
    }
