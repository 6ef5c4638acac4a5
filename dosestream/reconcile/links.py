"""Which orders a study answers: the evidence ladder, and when to say that evidence disagrees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dosestream.events.records import Demographics
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.orders import ImagingOrder
from dosestream.reconcile.patients import Patients

FAR = 2**62


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
    return accession if accession and accession == study.accession_number else None


def _by_request_accession(study: StudyKeys, order: ImagingOrder) -> str | None:
    accession = order.value("accession_number")
    return accession if accession in study.request_accessions else None


def _by_order_number(study: StudyKeys, order: ImagingOrder) -> str | None:
    placer, filler = order.value("placer_order_number"), order.value("filler_order_number")
    if filler in study.request_fillers:
        return filler
    return placer if placer in study.request_placers else None


# Strongest first: method, and how an order is found by it.
LADDER: tuple[tuple[str, Callable[[StudyKeys, ImagingOrder], str | None]], ...] = (
    ("study_uid", _by_study_uid),
    ("accession", _by_header_accession),
    ("accession", _by_request_accession),
    ("order_number", _by_order_number),
)


def agrees(study: StudyKeys, order: ImagingOrder, patients: Patients) -> bool:
    """Whether study and order can be about one patient: the same resolved identity, or equal identifiers
    with one authority absent and neither name nor birth date contradicting. Nobody named contradicts nobody."""
    if study.patient is None or not order.identities:
        return True
    reference = study.patient
    theirs = {patients.survivor(identity) for identity in order.identities}
    if reference.identity.authority:
        return patients.survivor(reference.identity) in theirs
    known = patients.candidates(reference.identity.value)
    mine = [p for p in theirs if p.value == reference.identity.value or p in known]
    return any(not patients.contradicts(identity, reference.demographics) for identity in mine)


def link(study: StudyKeys, orders: Sequence[ImagingOrder], patients: Patients) -> Outcome:
    """The outcome for one study among the orders of its group."""
    found: list[list[Link]] = []
    for method, finds in LADDER:
        found.append([Link(order, method, key) for order in orders if (key := finds(study, order))])
    everyone = _strongest([link for rung in found for link in rung])
    if study.patients_disagree:
        return Outcome("conflict", candidates=everyone, reason="reports name different patients")
    agreeing = [[link for link in rung if agrees(study, link.order, patients)] for rung in found]
    if any(rung and not good for rung, good in zip(found, agreeing, strict=True)):
        return Outcome("conflict", candidates=everyone, reason="the order is another patient's")
    rungs = [{id(link.order) for link in rung} for rung in agreeing if rung]
    if any(one.isdisjoint(other) for i, one in enumerate(rungs) for other in rungs[i + 1 :]):
        return Outcome("conflict", candidates=everyone, reason="identifiers name different orders")
    links = _strongest([link for rung in agreeing for link in rung])
    if not links:
        return Outcome("waiting")
    if study.patient is None:
        if len({patients.survivor(one.order.identities[0]) for one in links if one.order.identities}) > 1:
            reason = "the report names no patient and its orders are of several"
            return Outcome("conflict", candidates=links, reason=reason)
        links = tuple(
            Link(one.order, "accession_only", one.key) if one.method == "accession" else one for one in links
        )
    return Outcome("linked", links=links)


def _strongest(links: Sequence[Link]) -> tuple[Link, ...]:
    """Each order once, with its strongest evidence; the primary first: strongest evidence, then the earliest
    schedule, then the lowest filler number."""
    best: dict[int, tuple[int, Link]] = {}
    rank = {method: position for position, (method, _) in reversed(list(enumerate(LADDER)))}
    for one in links:
        best.setdefault(id(one.order), (rank[one.method], one))

    def order(item: tuple[int, Link]) -> tuple[int, int, str, str]:
        position, one = item
        scheduled = one.order.scheduled_at
        filler = one.order.value("filler_order_number") or "\uffff"
        return position, FAR if scheduled is None else scheduled, filler, one.order.key

    return tuple(one for _, one in sorted(best.values(), key=order))
