"""Which orders a study answers: the evidence ladder, and when to say that evidence disagrees.

Strong evidence first: a decision, the study UID, an accession with a patient that agrees, an order number, an
accession alone where the report names no patient. Weak evidence (patient and modality within the window) only
where no strong key finds or contradicts an order, and only when exactly one fits, seen from either side.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dosestream.events.records import Decision, Demographics
from dosestream.reconcile.decisions import NOTHING_DECIDED, StudyDecisions, reference_of
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.orders import ImagingOrder
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.rules import DAY_US
from dosestream.reconcile.status import CANCELED, COMPLETED, DISCONTINUED, STARTED

FAR = 2**62
ENDED = frozenset({CANCELED, DISCONTINUED})
BEGUN = frozenset({STARTED, COMPLETED})


@dataclass(frozen=True, slots=True)
class PatientReference:
    """The patient a report names: identity as resolved (authority empty where unknown) and demographics."""

    identity: PatientId
    demographics: Demographics


@dataclass(frozen=True, slots=True)
class StudyKeys:
    """What a study's instances say of the orders they answer. `patient` is None where they name nobody."""

    study_instance_uid: str
    accession_number: str
    request_accessions: frozenset[str]
    request_placers: frozenset[str]
    request_fillers: frozenset[str]
    patient: PatientReference | None
    patients_disagree: bool = False
    accession_issuer: str = ""
    study_at: int | None = None
    modality_family: str | None = None
    procedure_code: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One order a study answers, with its strongest evidence."""

    order: ImagingOrder
    method: str
    key: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a study: `state`, its links (the primary first), or the candidates that disagree."""

    state: str
    links: tuple[Link, ...] = ()
    candidates: tuple[Link, ...] = ()
    reason: str = ""


def _by_study_uid(study: StudyKeys, order: ImagingOrder) -> str | None:
    uid = order.value("study_instance_uid")
    return uid if uid == study.study_instance_uid else None


def _by_header_accession(study: StudyKeys, order: ImagingOrder) -> str | None:
    accession = order.value("accession_number")
    return accession if accession == study.accession_number and _plausible(study, order) else None


def _by_request_accession(study: StudyKeys, order: ImagingOrder) -> str | None:
    accession = order.value("accession_number")
    return accession if accession in study.request_accessions and _plausible(study, order) else None


def _plausible(study: StudyKeys, order: ImagingOrder) -> bool:
    """Whether an accession can mean this order: numbers are recycled, and issuers have their own."""
    issuer = order.value("accession_issuer")
    if issuer and study.accession_issuer and issuer != study.accession_issuer:
        return False
    when = order.when
    if when is None or study.study_at is None:
        return True
    return abs(when - study.study_at) <= order.rules.accession_us


def _by_order_number(study: StudyKeys, order: ImagingOrder) -> str | None:
    placer, filler = order.value("placer_order_number"), order.value("filler_order_number")
    if filler in study.request_fillers:
        return filler
    return placer if placer in study.request_placers else None


# What orders are found by.
NAMES = ("study_instance_uid", "accession_number", "placer_order_number", "filler_order_number")
# Strongest first: method, and how an order is found by it. Decisions stand above, the window below.
LADDER: tuple[tuple[str, Callable[[StudyKeys, ImagingOrder], str | None]], ...] = (
    ("study_uid", _by_study_uid),
    ("accession", _by_header_accession),
    ("accession", _by_request_accession),
    ("order_number", _by_order_number),
)
# Method to its place in the ladder.
RANK = {method: position for position, (method, _) in reversed(list(enumerate(LADDER)))}


class OrderIndex:
    """The orders of a group by what the ladder finds them by, so that a study looks at few of them."""

    def __init__(self, orders: Sequence[ImagingOrder]) -> None:
        self._orders = orders
        self._by_name: dict[tuple[str, str], list[int]] = {}
        # One or two are looked at as fast as looked up.
        for position, order in enumerate(orders if len(orders) > 2 else ()):
            for name in NAMES:
                if value := order.value(name):
                    self._by_name.setdefault((name, value), []).append(position)

    def named_by(self, study: StudyKeys, decisions: StudyDecisions) -> Sequence[ImagingOrder]:
        """The orders some rung of the ladder, or a decision, may find for a study, in their order."""
        if not self._by_name or decisions.linked or decisions.barred:
            return self._orders
        named = [
            ("study_instance_uid", study.study_instance_uid),
            *(("accession_number", a) for a in (study.accession_number, *study.request_accessions)),
            *(("placer_order_number", number) for number in study.request_placers),
            *(("filler_order_number", number) for number in study.request_fillers),
        ]
        found = {position for name in named for position in self._by_name.get(name, ())}
        return [self._orders[position] for position in sorted(found)]


def agrees(study: StudyKeys, order: ImagingOrder, patients: Patients) -> bool:
    """Whether study and order can be about one patient: the same resolved identity, or equal identifiers
    with one authority absent and neither name nor birth date contradicting. Nobody named contradicts nobody."""
    if study.patient is None or not order.identities:
        return True
    identity, said = study.patient.identity, study.patient.demographics
    theirs = {patients.person(p) for p in order.identities}
    if identity.authority:
        return patients.person(identity) in theirs
    for named in order.identities:
        if patients.same_identifier(named, identity.value) and not patients.contradicts(named, said):
            return True
    return any(
        patients.person(p) in theirs and not patients.contradicts(p, said)
        for p in patients.candidates(identity.value)
    )


def decided(orders: Sequence[ImagingOrder], decisions: Sequence[Decision]) -> list[ImagingOrder]:
    """The orders that decisions mean."""
    if not decisions:
        return []
    return [order for order in orders if any(_means(decision, order) for decision in decisions)]


def _means(decision: Decision, order: ImagingOrder) -> bool:
    reference = reference_of(decision)
    given = [(name, value) for name, value in reference._asdict().items() if value]
    return bool(given) and all(order.value(name) == value for name, value in given)


def link(
    study: StudyKeys,
    orders: Sequence[ImagingOrder],
    patients: Patients,
    decisions: StudyDecisions = NOTHING_DECIDED,
) -> Outcome:
    """The outcome for one study among the orders of its group, by decisions and strong evidence."""
    if chosen := decided(orders, decisions.linked):
        links = [Link(order, "decision", order.key) for order in chosen]
        return Outcome("linked", links=tuple(sorted(links, key=_preference)))
    barred = {order.key for order in decided(orders, decisions.barred)}
    possible = [order for order in orders if order.key not in barred] if barred else orders
    found = [
        [Link(order, method, key) for order in possible if (key := finds(study, order))]
        for method, finds in LADDER
    ]
    everyone = _strongest([link for rung in found for link in rung])
    if study.patients_disagree:
        return Outcome("conflict", candidates=everyone, reason="reports name different patients")
    if not everyone:
        return Outcome("waiting")
    links_ = tuple(one for one in everyone if agrees(study, one.order, patients))
    same_patient = {id(one.order) for one in links_}
    rungs = [{id(link.order) for link in rung} for rung in found if rung]
    if any(rung.isdisjoint(same_patient) for rung in rungs):
        return Outcome("conflict", candidates=everyone, reason="the order is another patient's")
    # Where one order was found all rungs found it.
    for one, other in combinations(rungs, 2) if len(links_) > 1 else ():
        if same_patient.isdisjoint(one & other):
            return Outcome("conflict", candidates=everyone, reason="identifiers name different orders")
    if len({patients.person(one.order.identities[0]) for one in links_ if one.order.identities}) > 1:
        return Outcome("ambiguous", candidates=links_, reason="its orders are of several patients")
    if study.patient is None:
        links_ = tuple(
            Link(one.order, "accession_only", one.key) if one.method == "accession" else one for one in links_
        )
    return Outcome("linked", links=links_)


def over(order: ImagingOrder) -> bool:
    """Whether an order ended before it was begun: it is nobody's by time alone. One stopped half-way has its dose."""
    if order.status is None or order.status.status not in ENDED:
        return False
    said = (*(fact.status for fact in order.facts), *(word.status for word in order.performed))
    return BEGUN.isdisjoint(said)


def fits(study: StudyKeys, order: ImagingOrder, patients: Patients) -> bool:
    """Whether an order is a candidate by patient, modality and time alone: nothing stronger says otherwise."""
    accession, uid = order.value("accession_number"), order.value("study_instance_uid")
    accessions = {study.accession_number, *study.request_accessions} - {""}
    if study.patient is None or study.study_at is None or study.modality_family is None:
        return False
    if order.scheduled_at is None or order.modality_family != study.modality_family:
        return False
    if abs(order.scheduled_at - study.study_at) > order.rules.window_us:
        return False
    if over(order):
        return False
    if (accession and accessions and accession not in accessions) or (
        uid and uid != study.study_instance_uid
    ):
        return False
    return bool(order.identities) and agrees(study, order, patients)


def link_weakly(
    outcomes: Mapping[str, Outcome],
    studies: Mapping[str, tuple[StudyKeys, StudyDecisions]],
    orders: Sequence[ImagingOrder],
    patients: Patients,
    window_us: int,
) -> dict[str, Outcome]:
    """Outcomes with window links: for studies that wait, among orders no study has by strong evidence.

    Exactly one order must fit the study, and the order no other waiting study; else all of them are ambiguous.
    A procedure code that both sides name narrows the candidates.
    """
    waiting = [uid for uid, outcome in outcomes.items() if outcome.state == "waiting"]
    if not waiting:
        return dict(outcomes)
    taken = {one.order.key for outcome in outcomes.values() for one in outcome.links}
    free = [order for order in orders if order.key not in taken]
    by_day: dict[tuple[str | None, int], list[ImagingOrder]] = {}
    for order in free:
        if order.scheduled_at is not None:
            by_day.setdefault((order.modality_family, order.scheduled_at // DAY_US), []).append(order)
    candidates: dict[str, list[ImagingOrder]] = {}
    for uid in waiting:
        study, decisions = studies[uid]
        near = [o for day in _days(study, window_us) for o in by_day.get((study.modality_family, day), ())]
        barred = {order.key for order in decided(near, decisions.barred)}
        fitting = [o for o in near if o.key not in barred and fits(study, o, patients)]
        same = [
            o for o in fitting if study.procedure_code and o.value("procedure_code") == study.procedure_code
        ]
        candidates[uid] = same if len(same) == 1 else fitting
    wanted = Counter(order.key for fitting in candidates.values() for order in fitting)
    out = dict(outcomes)
    for uid, fitting in candidates.items():
        found = tuple(Link(order, "window", order.key) for order in fitting)
        if len(found) == 1 and wanted[found[0].order.key] == 1:
            out[uid] = Outcome("linked", links=found)
        elif found:
            reason = "several orders fit" if len(found) > 1 else "several studies fit the order"
            out[uid] = Outcome("ambiguous", candidates=tuple(sorted(found, key=_preference)), reason=reason)
        elif _several_patients(studies[uid][0], patients):
            out[uid] = Outcome("ambiguous", reason="its patient's identifier is known in several authorities")
    return out


def _days(study: StudyKeys, window_us: int) -> range:
    """The days that the window around a study touches, counted from 1970 UTC."""
    if study.study_at is None:
        return range(0)
    return range((study.study_at - window_us) // DAY_US, (study.study_at + window_us) // DAY_US + 1)


def window_keys(
    strong: Mapping[str, Outcome],
    studies: Mapping[str, tuple[StudyKeys, StudyDecisions]],
    orders: Sequence[ImagingOrder],
    patients: Patients,
    window_us: int,
) -> set[str]:
    """What joins a group with others for the window: `w:patient|modality family|day` of every study that waits
    (each day of its window) and of every order that no study has by strong evidence."""
    keys: set[str] = set()
    for uid, outcome in strong.items():
        if outcome.state != "waiting":
            continue
        study, _ = studies[uid]
        days = _days(study, window_us)
        if not days or study.patient is None or study.modality_family is None:
            continue
        whom = {patients.person(p).value for p in meant(study.patient, patients)} or {
            study.patient.identity.value
        }
        keys |= {f"w:{who}|{study.modality_family}|{day}" for who in whom for day in days}
    taken = {one.order.key for outcome in strong.values() for one in outcome.links}
    for order in orders:
        if order.key in taken or order.scheduled_at is None or order.modality_family is None:
            continue
        if over(order):
            continue
        day = order.scheduled_at // DAY_US
        persons = {patients.person(p).value for p in order.identities}
        keys |= {f"w:{who}|{order.modality_family}|{day}" for who in persons}
    return keys


def _several_patients(study: StudyKeys, patients: Patients) -> bool:
    return study.patient is not None and len({patients.person(p) for p in meant(study.patient, patients)}) > 1


def meant(reference: PatientReference, patients: Patients) -> list[PatientId]:
    """The surviving identities a reference may mean: one where it names an authority, else all with its
    identifier that its name and birth date do not contradict."""
    if reference.identity.authority:
        return [patients.survivor(reference.identity)]
    return [
        p
        for p in patients.candidates(reference.identity.value)
        if not patients.contradicts(p, reference.demographics)
    ]


def _preference(one: Link) -> tuple[int, str, str]:
    """Of links with equal evidence: the earliest schedule, then the lowest filler number."""
    scheduled = one.order.scheduled_at
    filler = one.order.value("filler_order_number") or "\uffff"
    return FAR if scheduled is None else scheduled, filler, one.order.key


def _strongest(links: Sequence[Link]) -> tuple[Link, ...]:
    """Each order once, with its strongest evidence; the primary first: strongest evidence, then the earliest
    schedule, then the lowest filler number."""
    best: dict[int, Link] = {}
    for one in links:
        best.setdefault(id(one.order), one)
    if len(best) < 2:
        return tuple(best.values())
    return tuple(sorted(best.values(), key=lambda one: (RANK[one.method], *_preference(one))))
