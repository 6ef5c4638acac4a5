"""One study's row from what arrived of it, the orders it answers, and its patient."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from dosestream.events.records import Demographics
from dosestream.mapping.defaults import first_paths
from dosestream.reconcile.body import age_years, measured
from dosestream.reconcile.decisions import StudyDecisions
from dosestream.reconcile.dose_words import last_heard
from dosestream.reconcile.facts import OrderFact
from dosestream.reconcile.fold import Winner
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.links import Link, Outcome, meant
from dosestream.reconcile.orders import ImagingOrder
from dosestream.reconcile.patients import CLEARED, FIELDS, PATHS, Patients, shown
from dosestream.reconcile.rejection import NOTHING_REJECTED, Rejected
from dosestream.reconcile.rows import Evidence, StudyOrderRow, StudyRow
from dosestream.reconcile.studies import ArrivedStudy

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


class _Fields:
    """The fields of a row from the study's order and from its header, each cited."""

    def __init__(self, study: ArrivedStudy, order: ImagingOrder | None, cited: Citations) -> None:
        self._study, self._order, self._cited = study, order, cited

    def of_order(self, column: str) -> str | None:
        """What the order says."""
        found = None if self._order is None else self._order.field(column)
        if found is None:
            return None
        self._cite_order(found.fact, column, column)
        return found.value

    def of_body(self, column: str, of_order: str) -> float | None:
        """The header's, else what an OBX of the order says."""
        value = self._study.number(column)
        found = None if value is not None or self._order is None else self._order.field(of_order)
        if found is None or (value := measured(found.value)) is None:
            return value
        self._cite_order(found.fact, column, of_order)
        return value

    def of_header(self, column: str) -> str | None:
        """What the header says."""
        value = self._study.value(column)
        if value is not None and column in TAGS:
            first = self._study.first(lambda e: getattr(e, column) == value)
            self._cited.cite(column, first.control_id, TAGS[column], first.received_at)
        return value

    def accession(self) -> str | None:
        """The order's, else the header's, else that of a request it references."""
        found = self.of_order("accession_number") or self.of_header("accession_number")
        if found is not None or not self._study.request_accessions:
            return found
        found = self._study.request_accessions[0]
        referring = self._study.first(lambda e: any(r.accession_number == found for r in e.requests))
        self._cited.cite("accession_number", referring.control_id, "(0040,A370)", referring.received_at)
        return found

    def _cite_order(self, fact: OrderFact, column: str, field: str) -> None:
        event = fact.event
        path = event.paths.get(field) or FIRST_PATHS[field]
        self._cited.cite(column, event.control_id, path, event.received_at)


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
    order = outcome.links[0].order if outcome.links else None
    cited = Citations()
    fields = _Fields(study, order, cited)
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
    age = _age(study, demographics["birth_date"], cited)
    accession = fields.accession()
    status = None if order is None else order.status
    if status is not None:
        cited.cite("order_status", status.control_id, status.path, status.first_received_at)
    closes = _closes(study)
    closed = now > closes
    _hear_what_decides(study, outcome, decisions, rejection, words, closes if closed else None, cited)
    _explain(outcome, decisions, rejection, closes, cited)
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
        patient_size_m=fields.of_body("patient_size_m", "height_m"),
        patient_weight_kg=fields.of_body("patient_weight_kg", "weight_kg"),
        accession_number=accession,
        accession_issuer=fields.of_order("accession_issuer") or study.value("accession_issuer"),
        placer_order_number=fields.of_order("placer_order_number"),
        filler_order_number=fields.of_order("filler_order_number"),
        requested_procedure_id=fields.of_order("requested_procedure_id"),
        procedure_code=code,
        procedure_scheme=scheme,
        procedure_meaning=meaning,
        study_description=study.value("study_description"),
        order_status=None if status is None else status.status,
        referring_physician=fields.of_order("referring_physician") or fields.of_header("referring_physician"),
        station_name=study.value("station_name"),
        manufacturer=study.value("manufacturer"),
        model=study.value("model"),
        link_state="unmatched" if outcome.state == "waiting" and closed else outcome.state,
        link_method=outcome.links[0].method if outcome.links else None,
        phase=_phase(closed, cited.last_received_at > closes),
        excluded=decisions.exclusion is not None or rejection.excluded,
        header_modality=study.value("modality"),
        next_due=None if closed else closes + 1,
        evidence=cited.evidence,
        closes_at=closes,
    )


def _age(study: ArrivedStudy, birth_date: str | None, cited: Citations) -> float | None:
    """The header's, in years, else that of the birth date on the day of the study."""
    age = study.number("patient_age_years")
    if age is None and study.dated is not None:
        age = age_years(birth_date, study.dated.study_at, study.dated.study_local)
        if age is not None:
            cited.evidence["patient_age_years"] = cited.evidence["patient_birth_date"]
    return age


def _closes(study: ArrivedStudy) -> int:
    """When the window and its grace are over, microseconds since 1970 UTC."""
    rules = study.rules
    begun = study.study_at if study.study_at is not None else study.first_received_at
    # A scanner whose clock is ahead keeps no row open for years.
    begun = min(begun, study.first_received_at + rules.future_tolerance_us)
    return begun + rules.window_us + rules.grace_us


def _hear_what_decides(
    study: ArrivedStudy,
    outcome: Outcome,
    decisions: StudyDecisions,
    rejection: Rejected,
    words: DoseWordsOf,
    closed: int | None,
    cited: Citations,
) -> None:
    """Hear what decides the row beside its fields: decisions, a rejection note, and, where the row `closed` at that
    time, the dose of reports that came later."""
    for decision in (decisions.exclusion, *(decisions.linked if outcome.links else ())):
        if decision is not None:
            cited.heard(decision.received_at)
    if rejection.note is not None:
        cited.heard(rejection.note.received_at)
    if closed is None:
        return
    if any(f.event.dose is not None and f.event.received_at > closed for f in study.heard):
        holding = [
            f
            for f in study.facts
            if f.event.dose is not None and f.event.sop_instance_uid not in rejection.notes
        ]
        cited.heard(last_heard(holding, study.heard, words))


def _explain(
    outcome: Outcome, decisions: StudyDecisions, rejection: Rejected, closes: int, cited: Citations
) -> None:
    """Evidence of what is no field: why it is in doubt, until when it waits, who else it may be, who excluded it."""
    if outcome.reason:
        cited.evidence["reason"] = outcome.reason
    if outcome.state == "waiting":
        cited.evidence["window_closes"] = (EPOCH + timedelta(microseconds=closes)).isoformat()
    if outcome.candidates:
        cited.evidence["candidates"] = [_candidate(one) for one in outcome.candidates]
    if decisions.exclusion is not None:
        cited.evidence["excluded"] = {"decision": decisions.exclusion.event_id, "by": decisions.exclusion.by}
    elif (note := rejection.note) is not None:
        cited.evidence["rejected"] = {
            "message": note.control_id,
            "path": f"(0040,A043) {note.rejection_code}",
            "instances": sorted(rejection.notes),
        }


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
