"""Performed procedure steps (MPPS, PS3.4 annex F) move the status of the orders they name.

A step names an order as a study does by strong evidence, or by a decision on its study; by patient and time alone
it moves none. Several steps of an order count together: it is STARTED while one of them is in progress or a
scheduled step is still to be performed, afterwards COMPLETED if any of them was, else DISCONTINUED. They move an
order only from where the table of transitions allows: a cancel stands, and the step is flagged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from dosestream.dose import step_header
from dosestream.reconcile.decisions import StudyDecisions
from dosestream.reconcile.facts import StudyFact
from dosestream.reconcile.links import Link, OrderIndex, StudyKeys, link
from dosestream.reconcile.orders import ImagingOrder
from dosestream.reconcile.patients import Patients
from dosestream.reconcile.performed import KIND
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.standing import Word
from dosestream.reconcile.status import CANCELED, COMPLETED, DISCONTINUED, LIFECYCLE, STARTED
from dosestream.reconcile.studies import ArrivedStudy
from dosestream.reconcile.version import Version, version_of

# Performed Procedure Step Status (PS3.3 C.4.14) to what it says of an order.
STATUS_OF: Final[Mapping[str, str]] = {
    step_header.IN_PROGRESS: STARTED,
    step_header.COMPLETED: COMPLETED,
    step_header.DISCONTINUED: DISCONTINUED,
}
# Where it is read, for the evidence.
PATH: Final = "(0040,0252)"
# The messages of one step, each completed by the earlier ones.
Step = Sequence[StudyFact]


def moved(
    orders: Sequence[ImagingOrder],
    studies: Iterable[ArrivedStudy],
    decided: Mapping[str, StudyDecisions],
    patients: Patients,
) -> list[ImagingOrder]:
    """The orders with what performed steps say of them; `decided` by Study Instance UID."""
    steps = [(study, newest) for study in studies for newest in study.facts if newest.event.kind == KIND]
    if not steps:
        return list(orders)
    index = OrderIndex(orders)
    named: dict[int, list[Step]] = {}
    for study, newest in steps:
        messages = [f for f in study.heard if f.event.sop_instance_uid == newest.event.sop_instance_uid]
        alone = replace(study, facts=(newest,), heard=tuple(messages))
        keys, decisions = alone.keys(patients), decided[study.study_instance_uid]
        for one in _named(keys, link(keys, index.named_by(keys, decisions), patients, decisions).links):
            named.setdefault(id(one.order), []).append(messages)
    return [
        replace(order, performed=words(named[id(order)], _scheduled(order), order.rules))
        if id(order) in named
        else order
        for order in orders
    ]


def _named(step: StudyKeys, links: Sequence[Link]) -> Sequence[Link]:
    """Of the orders of one study those whose numbers the step names, else all."""
    accessions = {step.accession_number, *step.request_accessions}
    numbered = [
        one
        for one in links
        if one.order.value("accession_number") in accessions
        or one.order.value("placer_order_number") in step.request_placers
        or one.order.value("filler_order_number") in step.request_fillers
    ]
    return numbered or links


def _scheduled(order: ImagingOrder) -> frozenset[str]:
    """The scheduled step ids that an order names, without those of which its newest word is that they are off."""
    last: dict[str, str | None] = {}
    for fact in order.facts:
        if (step := fact.event.scheduled_step_id) and step != '""':
            last[step] = fact.status or last.get(step)
    return frozenset(step for step, status in last.items() if status not in (CANCELED, DISCONTINUED))


def words(steps: Iterable[Step], scheduled: frozenset[str], rules: Rules) -> tuple[Word, ...]:
    """What the steps of one order say of its status, one word for each of their messages that has one.

    Args:
        steps: each with its messages in any order.
        scheduled: ids of the scheduled steps that are to be performed.
        rules: the site's configuration.
    """
    said = sorted(
        (_version(fact, step, status, rules), number, status, fact)
        for number, step in enumerate(steps)
        for fact in step
        if (status := STATUS_OF.get(fact.event.step_status))
    )
    found: list[Word] = []
    states: dict[int, str] = {}
    covered: set[str] = set()
    for version, number, status, fact in said:
        # A step that has ended is no longer updated (PS3.4 F.7.2.2.2).
        if states.get(number, STARTED) == STARTED:
            states[number] = status
            if status != STARTED:
                named = {request.scheduled_step_id for request in fact.event.requests} & scheduled
                covered |= named or scheduled
            together = _together(states.values(), scheduled <= covered)
            event = fact.event
            word = Word(together, version, event.control_id, PATH, event.received_at, _from(together, rules))
            found.append(word)
    return tuple(found)


def _version(fact: StudyFact, step: Step, status: str, rules: Rules) -> Version:
    """By the step's own times: its end, else its start, which the first message tells."""
    event = fact.event
    if event.event_time is None:
        begun = [f.event.study_at for f in step if f.event.study_at is not None]
        event = replace(event, event_time=min(begun, default=None))
    return version_of(event, rules.future_tolerance_us, LIFECYCLE[status])


def _together(states: Iterable[str], all_performed: bool) -> str:
    said = set(states)
    if STARTED in said or not all_performed:
        return STARTED
    return COMPLETED if COMPLETED in said else DISCONTINUED


def _from(status: str, rules: Rules) -> frozenset[str | None]:
    """The statuses from which an order may come to this one."""
    return frozenset({None, status, *(before for before, to in rules.transitions.items() if status in to)})
