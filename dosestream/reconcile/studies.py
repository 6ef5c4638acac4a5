"""One study's row from its instances, the orders it answers, and its patient."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dosestream.events.records import Demographics, RequestReference, Study
from dosestream.mapping.defaults import first_paths
from dosestream.reconcile.body import age_years, measured
from dosestream.reconcile.decisions import StudyDecisions
from dosestream.reconcile.dose_words import last_heard
from dosestream.reconcile.facts import StudyFact
from dosestream.reconcile.fold import Winner
from dosestream.reconcile.identity import PatientId, dicom_identity
from dosestream.reconcile.lazy import lazy
from dosestream.reconcile.links import Link, Outcome, PatientReference, StudyKeys, meant
from dosestream.reconcile.modality import family, joined, of_report
from dosestream.reconcile.patients import CLEARED, FIELDS, PATHS, Patients, shown
from dosestream.reconcile.performed import placed
from dosestream.reconcile.rejection import NOTHING_REJECTED, Rejected
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


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DoseWordsOf = Mapping[str, Sequence[str]]
NO_WORDS: DoseWordsOf = {}
# Where an event's fields were read unless it says otherwise.
FIRST_PATHS = first_paths()


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


def patient_of(study: ArrivedStudy, outcome: Outcome, patients: Patients) -> PatientId | None:
    """Who the study is about: the primary order's patient, else the report's as HL7 knows it."""
    if outcome.links:
        identities = outcome.links[0].order.identities
        if identities:
            return patients.survivor(identities[0])
    if not study.references:
        return None
    reference = study.references[0]
    found = meant(reference, patients)
    one_person = len({patients.person(p) for p in found}) == 1
    return found[0] if one_person else reference.identity


class Citations:
    """Where each column came from, and when its value was first heard."""

    def __init__(self) -> None:
        self.evidence: Evidence = {}
        self.last_received_at = 0

    def cite(self, column: str, control_id: str, path: str, received_at: int) -> None:
        """Note the message and path of a column, and the first receipt of its value."""
        self.evidence[column] = {"message": control_id, "path": path}
        self.heard(received_at)

    def heard(self, received_at: int) -> None:
        """Note the first receipt of something that decides the row."""
        if received_at > self.last_received_at:
            self.last_received_at = received_at


def study_row(
    study: ArrivedStudy,
    outcome: Outcome,
    decisions: StudyDecisions,
    patients: Patients,
    now: int,
    rejection: Rejected = NOTHING_REJECTED,
    words: DoseWordsOf = NO_WORDS,
) -> StudyRow:
    """The row of dose.study, dose columns apart. `now` is the newest tick, microseconds since 1970 UTC; `words`
    are those of dose reports whose dose was left out, by event id."""
    rules = study.rules
    order = outcome.links[0].order if outcome.links else None
    cited = Citations()

    def from_order(column: str) -> str | None:
        found = None if order is None else order.field(column)
        if found is None:
            return None
        event = found.fact.event
        cited.cite(
            column, event.control_id, event.paths.get(column) or FIRST_PATHS[column], event.received_at
        )
        return found.value

    def of_body(column: str, of_order: str) -> float | None:
        """The header's, else what an OBX of the order says."""
        value = study.number(column)
        found = None if value is not None or order is None else order.field(of_order)
        if found is None or (value := measured(found.value)) is None:
            return value
        event = found.fact.event
        path = event.paths.get(of_order) or FIRST_PATHS[of_order]
        cited.cite(column, event.control_id, path, event.received_at)
        return value

    def from_header(column: str) -> str | None:
        value = study.value(column)
        if value is not None and column in TAGS:
            first = study.first(lambda e: getattr(e, column) == value)
            cited.cite(column, first.control_id, TAGS[column], first.received_at)
        return value

    who = patient_of(study, outcome, patients)
    hl7 = patients.demographics(who) if who is not None and who in patients.known else {}
    header = study.references[0].demographics if study.references else study.facts[0].event.patient
    demographics = {name: _demographic(name, hl7.get(name), study, header, cited) for name in FIELDS}
    if who is not None:
        _cite_patient(study, outcome, who, patients, cited)
    code, scheme, meaning = _procedure(study, outcome, cited)
    dated = study.dated
    if dated is not None:
        first = study.first(lambda e: e.study_at == dated.study_at)
        cited.cite("study_datetime", first.control_id, TAGS["study_datetime"], first.received_at)
    age = study.number("patient_age_years")
    if age is None and dated is not None:
        age = age_years(demographics["birth_date"], dated.study_at, dated.study_local)
        if age is not None:
            cited.evidence["patient_age_years"] = cited.evidence["patient_birth_date"]
    accession = from_order("accession_number") or from_header("accession_number")
    if accession is None and study.request_accessions:
        accession = study.request_accessions[0]
        referring = study.first(lambda e: any(r.accession_number == accession for r in e.requests))
        cited.cite("accession_number", referring.control_id, "(0040,A370)", referring.received_at)
    status = None if order is None else order.status
    if status is not None:
        cited.cite("order_status", status.control_id, status.path, status.first_received_at)
    for decision in (decisions.exclusion, *(decisions.linked if order is not None else ())):
        if decision is not None:
            cited.heard(decision.received_at)
    if (note := rejection.note) is not None:
        cited.heard(note.received_at)
    begun = study.study_at if study.study_at is not None else study.first_received_at
    # A scanner whose clock is ahead keeps no row open for years.
    begun = min(begun, study.first_received_at + rules.future_tolerance_us)
    closes = begun + rules.window_us + rules.grace_us
    closed = now > closes
    if closed and any(f.event.dose is not None and f.event.received_at > closes for f in study.heard):
        holding = [
            f
            for f in study.facts
            if f.event.dose is not None and f.event.sop_instance_uid not in rejection.notes
        ]
        cited.heard(last_heard(holding, study.heard, words))
    state = "unmatched" if outcome.state == "waiting" and closed else outcome.state
    if outcome.reason:
        cited.evidence["reason"] = outcome.reason
    if outcome.state == "waiting":
        cited.evidence["window_closes"] = (EPOCH + timedelta(microseconds=closes)).isoformat()
    if outcome.candidates:
        cited.evidence["candidates"] = [_candidate(one) for one in outcome.candidates]
    if decisions.exclusion is not None:
        cited.evidence["excluded"] = {"decision": decisions.exclusion.event_id, "by": decisions.exclusion.by}
    elif note is not None:
        cited.evidence["rejected"] = {
            "message": note.control_id,
            "path": f"(0040,A043) {note.rejection_code}",
            "instances": sorted(rejection.notes),
        }
    return StudyRow(
        study_instance_uid=study.study_instance_uid,
        study_datetime=study.study_at,
        study_local_datetime=None if dated is None else dated.study_local or None,
        study_time_zone=None if dated is None else dated.study_zone or None,
        institution=study.value("institution"),
        patient_authority=(who.authority or None) if who else None,
        patient_id=who.value if who else None,
        patient_name=demographics["name"],
        patient_birth_date=demographics["birth_date"],
        patient_sex=demographics["sex"],
        patient_age_years=age,
        patient_size_m=of_body("patient_size_m", "height_m"),
        patient_weight_kg=of_body("patient_weight_kg", "weight_kg"),
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
        link_state=state,
        link_method=outcome.links[0].method if outcome.links else None,
        phase=_phase(closed, cited.last_received_at > closes),
        excluded=decisions.exclusion is not None or rejection.excluded,
        header_modality=study.value("modality"),
        next_due=None if closed else closes + 1,
        evidence=cited.evidence,
        closes_at=closes,
    )


def _phase(closed: bool, heard_late: bool) -> str:
    """Provisional while the window and its grace are open; then final, or amended where a value that holds
    was first heard after they closed."""
    if not closed:
        return "provisional"
    return "amended" if heard_late else "final"


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
    name: str, said: Winner | None, study: ArrivedStudy, header: Demographics, cited: Citations
) -> str | None:
    """HL7's word where it valued or cleared the field, else the report's."""
    column = f"patient_{name}"
    if said is not None:
        cited.cite(column, said.control_id, PATHS[name], said.first_received_at)
        return shown(said)
    value: str = getattr(header, name)
    if value in ("", CLEARED):
        return None
    first = study.first(lambda e: getattr(e.patient, name) == value)
    cited.cite(column, first.control_id, TAGS[column], first.received_at)
    return value


def _cite_patient(
    study: ArrivedStudy, outcome: Outcome, who: PatientId, patients: Patients, cited: Citations
) -> None:
    """Cite who said whose study it is, and the merges that moved it since."""
    named = outcome.links[0].order.patient if outcome.links else None
    if named is not None:
        order = outcome.links[0].order
        event = order.first(lambda f: f.event.patient == named.event.patient).event
        cited.cite("patient_id", event.control_id, "PID-3", event.received_at)
        named_as = [order.identities[0]]
    else:
        reference = study.references[0]
        instance = study.first(lambda e: e.patient == reference.demographics)
        cited.cite("patient_id", instance.control_id, TAGS["patient_id"], instance.received_at)
        named_as = [reference.identity]
        if not reference.identity.authority:
            bare = reference.identity.value
            named_as = [p for p in patients.by_value(bare) if patients.survivor(p) == who]
    if outcome.links:
        for move in outcome.links[0].order.moves:
            cited.heard(move.version.received_at)
    for identity in named_as:
        for merge in patients.merges_behind(identity):
            cited.heard(merge.version.received_at)


def _procedure(
    study: ArrivedStudy, outcome: Outcome, cited: Citations
) -> tuple[str | None, str | None, str | None]:
    """Code, scheme and meaning of one source: the linked order, else what the report itself says.
    Where orders are in conflict or ambiguous nothing is said."""
    if outcome.links and (fact := outcome.links[0].order.procedure) is not None:
        event = fact.event
        told = outcome.links[0].order.first(lambda f: f.event.procedure_code == event.procedure_code).event
        path = told.paths.get("procedure_code") or FIRST_PATHS["procedure_code"]
        cited.cite("procedure_code", told.control_id, path, told.received_at)
        return _triple(event.procedure_code, event.procedure_scheme, event.procedure_meaning)
    if outcome.candidates:
        return None, None, None
    own = study.newest(lambda e: e.procedure_code or e.procedure_meaning)
    if own is not None:
        first = study.first(lambda e: e.procedure_code == own.procedure_code)
        cited.cite("procedure_code", first.control_id, TAGS["procedure_code"], first.received_at)
        return _triple(own.procedure_code, own.procedure_scheme, own.procedure_meaning)
    for fact_ in study.facts:
        for request in fact_.event.requests:
            if request.procedure_code or request.procedure_meaning:
                cited.cite("procedure_code", fact_.event.control_id, "(0032,1064)", fact_.event.received_at)
                return _triple(request.procedure_code, request.procedure_scheme, request.procedure_meaning)
    return None, None, None


def _triple(*values: str) -> tuple[str | None, str | None, str | None]:
    code, scheme, meaning = (None if value in ("", CLEARED) else value for value in values)
    return code, scheme, meaning


def _candidate(one: Link) -> Evidence:
    return {
        "method": one.method,
        "key": one.key,
        "placer_order_number": one.order.value("placer_order_number"),
        "filler_order_number": one.order.value("filler_order_number"),
        "accession_number": one.order.value("accession_number"),
        "patients": [list(identity) for identity in one.order.identities],
    }
