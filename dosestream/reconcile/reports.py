"""Radiology reports (ORU, MDM; HL7 v2.5.1 chapters 7 and 9): one row per report, as its messages come to stand.

A report is an order's, found by accession, filler, placer number or study UID; its messages (preliminary, final,
corrected) are one row, of each field the newest word. It says nothing of the order or the study themselves.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dosestream.events.records import Report
from dosestream.reconcile.identity import PatientId, hl7_identities
from dosestream.reconcile.links import meant
from dosestream.reconcile.orders import CLEARED, ImagingOrder
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.rows import AnomalyRow, ReportRow
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.studies import ArrivedStudy
from dosestream.reconcile.version import ABSENT, Version, version_of

# Result status (table 0123, and 0085 of one observation) and document completion (table 0271) to how late in a
# report's life it is: it decides only between messages of one time.
LIFECYCLE: Mapping[str, int] = {
    **dict.fromkeys(("O", "S", "I", "DI", "IN", "IP"), 0),
    **dict.fromkeys(("A", "R", "P", "DO", "PA"), 1),
    **dict.fromkeys(("F", "AU"), 2),
    "LA": 3,
    **dict.fromkeys(("C", "M"), 4),
    **dict.fromkeys(("X", "D", "W"), 5),
}
# With these a report is out: final, corrected; authenticated, legally authenticated.
FINAL = frozenset({"F", "C", "AU", "LA"})
NUMBERS = ("accession_number", "filler_order_number", "placer_order_number", "study_instance_uid")
PREFIXES: Mapping[str, str] = dict(zip(NUMBERS, "afpu", strict=True))
DIGEST = "sha256:"


@dataclass(frozen=True, slots=True)
class ReportFact:
    """One message about a report. `about`: the time it speaks of, microseconds since 1970 UTC."""

    event: Report
    version: Version
    about: int


def report_keys(event: Report, rules: Rules) -> list[str]:
    """The identifiers that connect a report to its group."""
    named = ((PREFIXES[name], getattr(event, name)) for name in NUMBERS)
    return [f"{kind}:{value}" for kind, value in named if not rules.stands_for_nobody(value)]


def without_text(event: Report) -> Report:
    """The report as derivation reads it: of its text, which may be long, a digest."""
    if event.text in ("", CLEARED) or event.text.startswith(DIGEST):
        return event
    return replace(event, text=DIGEST + hashlib.sha256(event.text.encode()).hexdigest())


def report_fact(event: Report, rules: Rules) -> ReportFact:
    """A report message as a fact."""
    version = version_of(event, rules.future_tolerance_us, LIFECYCLE.get(event.status))
    return ReportFact(without_text(event), version, _said_at(event, version))


def _said_at(event: Report, version: Version) -> int:
    """When it was reported: as the message says, else its own time, else its receipt."""
    if event.reported_at is not None:
        return event.reported_at
    at = version.precedence.event_time
    return event.received_at if at == ABSENT else at


class Archive:
    """The orders and studies of a group, by what a report may name them."""

    def __init__(
        self,
        orders: Iterable[ImagingOrder],
        studies: Iterable[ArrivedStudy],
        answered: Mapping[str, str],
        patients: Patients,
        rules: Rules,
    ) -> None:
        self._patients, self._rules, self._answered = patients, rules, answered
        self._orders: dict[tuple[str, str], list[ImagingOrder]] = {}
        for order in orders:
            for name in NUMBERS:
                if value := order.value(name):
                    self._orders.setdefault((name, value), []).append(order)
        self._studies = {study.study_instance_uid: study for study in studies}
        self._accessions: dict[str, list[ArrivedStudy]] = {}
        for study in self._studies.values():
            for accession in {study.accession, *study.request_accessions} - {""}:
                self._accessions.setdefault(accession, []).append(study)

    def orders_named(self, fact: ReportFact) -> list[ImagingOrder]:
        """The orders a message names by its surest number, whosever they are."""
        event = fact.event
        for name in NUMBERS:
            value: str = getattr(event, name)
            if self._rules.stands_for_nobody(value):
                continue
            found = [o for o in self._orders.get((name, value), ()) if self._may_be(o, fact)]
            if found:
                exact = [o for o in found if o.value("filler_order_number") == event.filler_order_number]
                return exact or found
        return []

    def _may_be(self, order: ImagingOrder, fact: ReportFact) -> bool:
        accession = order.value("accession_number")
        if accession and not self._rules.stands_for_nobody(fact.event.accession_number):
            if accession != fact.event.accession_number:
                return False
            return order.when is None or abs(order.when - fact.about) <= self._rules.accession_us
        return True

    def same_patient(self, fact: ReportFact, order: ImagingOrder) -> bool:
        """Whether report and order can be one patient's; who names nobody contradicts nobody."""
        mine = self._identities(fact)
        theirs = {self._patients.person(p) for p in order.identities}
        return not mine or not theirs or any(self._patients.person(p) in theirs for p in mine)

    def _identities(self, fact: ReportFact) -> tuple[PatientId, ...]:
        return hl7_identities(self._rules, fact.event.source, fact.event.patient)

    def study_of(self, facts: Sequence[ReportFact], orders: Iterable[ImagingOrder]) -> str | None:
        """The study a report is about: the one it names, else its order's, else the only one with its accession."""
        for fact in reversed(facts):
            study = self._studies.get(fact.event.study_instance_uid)
            if study is not None and self._is_of(study, fact):
                return study.study_instance_uid
        found = {self._answered[order.key] for order in orders if order.key in self._answered}
        if not found:
            found = {
                study.study_instance_uid
                for fact in facts
                for study in self._accessions.get(fact.event.accession_number, ())
                if self._is_near(study, fact) and self._is_of(study, fact)
            }
        return found.pop() if len(found) == 1 else None

    def _is_near(self, study: ArrivedStudy, fact: ReportFact) -> bool:
        at = study.study_at if study.study_at is not None else study.first_received_at
        return abs(at - fact.about) <= self._rules.accession_us

    def _is_of(self, study: ArrivedStudy, fact: ReportFact) -> bool:
        mine = self._identities(fact)
        if not mine or not study.references:
            return True
        reference = study.references[0]
        persons = {self._patients.person(p) for p in meant(reference, self._patients)}
        return any(
            self._patients.person(p) in persons
            or (
                not reference.identity.authority
                and self._patients.same_identifier(p, reference.identity.value)
            )
            for p in mine
        )


def report_rows(
    events: Iterable[Report], archive: Archive, rules: Rules
) -> tuple[list[ReportRow], list[AnomalyRow]]:
    """The rows of a group's report messages, and those that name another patient's order.

    Args:
        events: each message once, with its first receipt.
        archive: the group's orders and studies.
        rules: the site's configuration.
    """
    facts = sorted((report_fact(event, rules) for event in events), key=lambda f: f.version)
    accession_of = _accessions(facts, rules)
    reports: dict[str, list[ReportFact]] = {}
    orders_of: dict[str, dict[str, ImagingOrder]] = {}
    anomalies = []
    for fact in facts:
        named = archive.orders_named(fact)
        orders = [order for order in named if archive.same_patient(fact, order)]
        if named and not orders:
            anomalies.append(_conflict(fact, named))
        own = len(orders) == 1
        key = orders[0].key if own else _own_key(fact, rules, accession_of)
        reports.setdefault(key, []).append(fact)
        orders_of.setdefault(key, {}).update({order.key: order for order in orders})
    rows = []
    for key, said in sorted(reports.items()):
        for nth, use in enumerate(_uses(said, rules.accession_us), 1):
            name = key if nth == 1 else f"{key}#{nth}"
            rows.append(_row(name, use, archive, orders_of[key].values()))
    return rows, anomalies


def _accessions(facts: Iterable[ReportFact], rules: Rules) -> dict[tuple[str, str], set[str]]:
    """The accession numbers that messages name beside each other number."""
    found: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        accession = fact.event.accession_number
        if not rules.stands_for_nobody(accession):
            for name in NUMBERS[1:]:
                found.setdefault((name, getattr(fact.event, name)), set()).add(accession)
    return found


def _own_key(fact: ReportFact, rules: Rules, accession_of: Mapping[tuple[str, str], set[str]]) -> str:
    """What a report is known by that no one order tells apart: its accession, also where only another of its
    messages names it, else its surest number."""
    for name in NUMBERS:
        value: str = getattr(fact.event, name)
        if rules.stands_for_nobody(value):
            continue
        accessions = accession_of.get((name, value), set())
        if len(accessions) == 1:
            name, value = NUMBERS[0], min(accessions)
        return f"{name}={value}"
    return f"event_id={fact.event.event_id}"


def _uses(facts: Iterable[ReportFact], plausible_us: int) -> Iterator[list[ReportFact]]:
    """Messages known by one number, apart where more than the plausible period lies between: it was recycled.
    The oldest first, each with its oldest message first."""
    use: list[ReportFact] = []
    for fact in sorted(facts, key=lambda f: (f.about, f.version)):
        if use and fact.about - use[-1].about > plausible_us:
            yield sorted(use, key=lambda f: f.version)
            use = []
        use.append(fact)
    yield sorted(use, key=lambda f: f.version)


def _row(
    key: str, facts: Sequence[ReportFact], archive: Archive, orders: Iterable[ImagingOrder]
) -> ReportRow:
    orders = list(orders)
    text = next((f.event for f in reversed(facts) if f.event.text), None)
    if text is not None and text.text == CLEARED:
        text = None
    accession = _newest(facts, "accession_number")
    if accession is None and len(orders) == 1:
        accession = orders[0].value("accession_number")
    final = [at for f in facts if f.event.status in FINAL and (at := _reported_at(f)) is not None]
    return ReportRow(
        report_key=key,
        study_instance_uid=archive.study_of(facts, orders),
        accession_number=accession,
        status=_newest(facts, "status"),
        text_of=None if text is None else text.event_id,
        text_digest=None if text is None else text.text,
        reported_at=next((at for f in reversed(facts) if (at := _reported_at(f)) is not None), None),
        finalized_at=min(final, default=None),
    )


def _reported_at(fact: ReportFact) -> int | None:
    """When a message says the report was made, else the message's own time."""
    return fact.event.reported_at if fact.event.reported_at is not None else fact.event.event_time


def _newest(facts: Sequence[ReportFact], name: str) -> str | None:
    value = next((v for f in reversed(facts) if (v := getattr(f.event, name))), None)
    return None if value == CLEARED else value


def _conflict(fact: ReportFact, orders: Iterable[ImagingOrder]) -> AnomalyRow:
    event = fact.event
    return AnomalyRow(
        kind="report_conflict",
        subject=event.accession_number or event.filler_order_number or event.placer_order_number,
        detail={"reason": "the order is another patient's", "message": event.control_id},
        first_seen_at=max(
            event.received_at,
            min(f.event.received_at for order in orders for f in order.facts),
        ),
    )
