"""Facts of a group: order messages and study arrivals with their versions, and what connects them."""

from dataclasses import dataclass

from dosestream.events.records import Order, Study
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.status import LIFECYCLE, status_of
from dosestream.reconcile.version import Version, version_of

# A number that names an order: `p` (placer) or `f` (filler), the number, who issued it (empty: unsaid).
OrderNumber = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class OrderFact:
    """One order message about one procedure. `status` is None where the message moves no status; of `numbers`
    one that stands for nobody (cleared, on the stop list) is left out."""

    event: Order
    version: Version
    status: str | None
    numbers: tuple[OrderNumber, ...]


@dataclass(frozen=True, slots=True)
class StudyFact:
    """One instance that arrived; `event.dose` may be left out, derivation of links does not read it."""

    event: Study
    version: Version


def order_fact(event: Order, rules: Rules) -> OrderFact:
    """An order event as a fact."""
    status = status_of(rules.status_table, event.control_code, event.order_status)
    lifecycle = None if status is None else LIFECYCLE.get(status)
    version = version_of(event, rules.future_tolerance_us, lifecycle)
    placer, filler = event.placer_order_number, event.filler_order_number
    numbers: list[OrderNumber] = []
    if not rules.stands_for_nobody(placer):
        numbers.append(("p", placer, event.placer_issuer))
    if not rules.stands_for_nobody(filler):
        numbers.append(("f", filler, event.filler_issuer))
    return OrderFact(event, version, status, tuple(numbers))


def study_fact(event: Study, rules: Rules) -> StudyFact:
    """A study arrival as a fact."""
    return StudyFact(event, version_of(event, rules.future_tolerance_us))


def order_keys(event: Order, rules: Rules) -> list[str]:
    """The identifiers that connect an order message to its group."""
    named = (
        ("p", event.placer_order_number),
        ("f", event.filler_order_number),
        ("a", event.accession_number),
        ("u", event.study_instance_uid),
    )
    keys = [f"{kind}:{value}" for kind, value in named if not rules.stands_for_nobody(value)]
    if not keys and not rules.stands_for_nobody(event.requested_procedure_id):
        return [f"r:{event.requested_procedure_id}"]
    return keys


def study_keys(event: Study, rules: Rules) -> list[str]:
    """The identifiers that connect a study arrival to its group."""
    named = [
        ("u", event.study_instance_uid),
        ("s", event.sop_instance_uid),
        ("a", event.accession_number),
        *(
            pair
            for request in event.requests
            for pair in (
                ("u", request.study_instance_uid),
                ("a", request.accession_number),
                ("p", request.placer_order_number),
                ("f", request.filler_order_number),
            )
        ),
        # A rejection note belongs to what it names.
        *(("s", instance) for instance in event.rejected_instances),
    ]
    keys = (f"{kind}:{value}" for kind, value in named if not rules.stands_for_nobody(value))
    return list(dict.fromkeys(keys))
