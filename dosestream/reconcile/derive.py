"""Facts to rows: `derive(group, patients, rules, now)`.

A group is everything joined by order and study identifiers; its patients are context. The result depends on
the set of facts alone: not on their order, their number of repeats, or when they came to be read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dosestream.events.records import Appointment, Decision, Order, Report, Study
from dosestream.reconcile.anomalies import clock_ahead, of_orders, of_study, shared_instances
from dosestream.reconcile.decisions import for_study
from dosestream.reconcile.duplicates import duplicate_keys, duplicates, number_of, repeatable
from dosestream.reconcile.facts import order_fact, study_fact
from dosestream.reconcile.identity import PatientId, bare_forms, dicom_identity, resolved
from dosestream.reconcile.links import OrderIndex, link, link_weakly, window_keys
from dosestream.reconcile.orders import ImagingOrder, imaging_orders
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.progress import moved
from dosestream.reconcile.rejection import NOTHING_REJECTED, rejected
from dosestream.reconcile.reports import Archive, report_rows
from dosestream.reconcile.rows import AnomalyRow, GroupRows, OrderRow, ReportRow, StudyOrderRow, StudyRow
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.status import CANCELED, DISCONTINUED, PROGRESS
from dosestream.reconcile.steps import step_rows
from dosestream.reconcile.studies import ArrivedStudy, arrived_studies
from dosestream.reconcile.study_row import study_orders, study_row
from dosestream.reconcile.waiting import why_waiting

E = TypeVar("E", Order, Study, Decision, Appointment, Report)


@dataclass(frozen=True, slots=True)
class Group:
    """The facts of one group: messages about orders, appointments and reports, study arrivals, decisions; in any
    order, repeats allowed."""

    orders: tuple[Order, ...] = ()
    studies: tuple[Study, ...] = ()
    decisions: tuple[Decision, ...] = ()
    appointments: tuple[Appointment, ...] = ()
    reports: tuple[Report, ...] = ()
    # Of dose reports whose dose was left out, what `dose_words.written` made of it, by event id.
    dose_words: Mapping[str, Sequence[str]] = field(default_factory=dict)


def patients_named(group: Group, rules: Rules) -> set[PatientId]:
    """Every identity the group's facts name; those without issuer have an empty authority."""
    spoken: tuple[Order | Report, ...] = (*group.orders, *group.reports)
    # The messages of a group mostly name one patient alike.
    said = {(event.source, event.patient.identifiers) for event in spoken if event.patient is not None}
    named = {p for source, identifiers in said for p in resolved(rules, source, identifiers)}
    for study in group.studies:
        identity = dicom_identity(rules, study.source, study.patient, study.institution)
        if identity is not None:
            named.add(identity)
            if not identity.authority:
                named |= {PatientId("", form) for form in bare_forms(rules, identity.value)}
    return named


def derive(group: Group, patients: Patients, rules: Rules, now: int) -> GroupRows:
    """The rows of a group.

    Args:
        group: its facts.
        patients: what is known of everyone `patients_named` returns, through all their merges.
        rules: the site's configuration.
        now: the newest tick, microseconds since 1970 UTC.
    """
    if len(group.orders) + len(group.studies) + len(group.reports) > rules.group_cap:
        return GroupRows(anomalies=(_too_large(group, rules),))
    facts = [order_fact(event, rules) for event in _once(group.orders)]
    appointments = _once(group.appointments)
    orders = [_with_presences(order, patients) for order in imaging_orders(facts, rules, appointments)]
    instances = [study_fact(event, rules) for event in _once(group.studies)]
    arrived = arrived_studies(instances, rules)
    decided = _once(group.decisions)
    decisions_of: dict[str, list[Decision]] = {}
    for decision in decided:
        decisions_of.setdefault(decision.study_instance_uid, []).append(decision)
    known = {
        (uid := study.study_instance_uid): (
            study.keys(patients),
            for_study(decisions_of.get(uid, ()), uid),
        )
        for study in arrived
    }
    orders = moved(orders, arrived, {uid: decisions for uid, (_, decisions) in known.items()}, patients)
    index = OrderIndex(orders)
    strong = {
        uid: link(keys, index.named_by(keys, decisions), patients, decisions)
        for uid, (keys, decisions) in known.items()
    }
    # A parent order is performed through its children: by time alone nothing is its.
    performable = [order for order in orders if not order.is_parent]
    outcomes = link_weakly(strong, known, performable, patients, rules.window_us)
    notes = rejected({study.study_instance_uid: study.facts for study in arrived}, decided)
    outcomes = {
        uid: replace(found, reason=why_waiting(*known[uid])) if found.state == "waiting" else found
        for uid, found in outcomes.items()
    }
    studies: list[StudyRow] = []
    links: list[StudyOrderRow] = []
    answered: dict[str, str] = {}
    performed: dict[str, list[ArrivedStudy]] = {}
    anomalies: list[AnomalyRow] = []
    for study in arrived:
        outcome = outcomes[study.study_instance_uid]
        uid = study.study_instance_uid
        taken_back = notes.get(uid, NOTHING_REJECTED)
        studies.append(study_row(study, outcome, known[uid][1], patients, now, taken_back, group.dose_words))
        links += study_orders(study, outcome)
        for one in outcome.links:
            answered.setdefault(one.order.key, study.study_instance_uid)
            performed.setdefault(one.order.key, []).append(study)
        anomalies += of_study(study, outcome)
    open_orders = repeatable(orders, patients)
    repeated = duplicates(open_orders)
    anomalies += shared_instances(arrived)
    anomalies += of_orders(orders, repeated)
    anomalies += clock_ahead([*facts, *instances], rules.future_tolerance_us)
    reports: list[ReportRow] = []
    if group.reports:
        archive = Archive(orders, arrived, answered, patients, rules)
        reports, doubtful = report_rows(_once(group.reports), archive, rules)
        anomalies += doubtful
    return GroupRows(
        studies=tuple(studies),
        orders=tuple(
            _order_row(order, answered.get(order.key), repeated.get(order.key), patients, now)
            for order in orders
            if order.key in answered or _is_kept(order)
        ),
        links=tuple(links),
        anomalies=tuple(anomalies),
        window_keys=frozenset(
            (
                *window_keys(strong, known, performable, patients, rules.window_us),
                *duplicate_keys(open_orders),
            )
        ),
        reports=tuple(reports),
        steps=tuple(step_rows(orders, performed, patients)),
    )


def _once(events: Iterable[E]) -> list[E]:
    """Each event once, with its first receipt."""
    events = list(events)
    if len(events) < 2:
        return events
    first: dict[str, E] = {}
    for event in events:
        known = first.get(event.event_id)
        if known is None or event.received_at < known.received_at:
            first[event.event_id] = event
    return list(first.values())


def _with_presences(order: ImagingOrder, patients: Patients) -> ImagingOrder:
    if not order.identities:
        return order
    visit = order.value("visit_number")
    assert order.patient is not None
    moves = patients.moves_of(order.identities, visit, order.patient.version)
    presences = tuple(patients.presences(order.identities, visit))
    if moves:
        last = moves[-1]
        presences += tuple(patients.presences([last.target], last.target_visit))
    # What was looked up of an order whose patient neither came nor moved stays good.
    return replace(order, moves=moves, presences=presences) if moves or presences else order


def _is_kept(order: ImagingOrder) -> bool:
    """Whether an order without study has a row: the site may keep orders only once they got as far as some
    status. One that a study answers has got there, whatever was said of it: its links have a row to stand on."""
    wanted = order.rules.keep_from_status
    return not wanted or (order.progress is not None and order.progress >= PROGRESS[wanted])


def _order_row(
    order: ImagingOrder, study: str | None, repeats: ImagingOrder | None, patients: Patients, now: int
) -> OrderRow:
    status = None if order.status is None else order.status.status
    rules = order.rules
    closes = None
    if order.scheduled_at is not None and not order.is_parent:
        closes = order.scheduled_at + rules.window_us + rules.grace_us
    next_due = None
    if study is not None:
        state = "performed"
    elif status in (CANCELED, DISCONTINUED):
        state = "cancelled"
    elif closes is not None and now > closes:
        state = "overdue"
    else:
        state = "expected"
        next_due = None if closes is None else closes + 1
    patient = patients.survivor(order.identities[0]) if order.identities else None
    procedure = None if order.procedure is None else order.procedure.event
    return OrderRow(
        row_key=order.key,
        placer_order_number=order.value("placer_order_number"),
        filler_order_number=order.value("filler_order_number"),
        accession_number=order.value("accession_number"),
        study_instance_uid=study,
        patient_authority=None if patient is None else patient.authority,
        patient_id=None if patient is None else patient.value,
        procedure_code=None if procedure is None else procedure.procedure_code or None,
        procedure_meaning=None if procedure is None else procedure.procedure_meaning or None,
        modality=order.value("modality"),
        scheduled_at=order.scheduled_at,
        ordered_at=order.ordered_at,
        status=status,
        state=state,
        duplicate_of=None if repeats is None else number_of(repeats),
        next_due=next_due,
        closes_at=closes,
    )


def _too_large(group: Group, rules: Rules) -> AnomalyRow:
    events: tuple[Order | Study | Report, ...] = (*group.orders, *group.studies, *group.reports)
    first = min(events, key=lambda e: e.event_id)
    return AnomalyRow(
        kind="group_too_large",
        subject=first.event_id,
        detail={"facts": len(events), "cap": rules.group_cap},
        first_seen_at=min(e.received_at for e in events),
    )
