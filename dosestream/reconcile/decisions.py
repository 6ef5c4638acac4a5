"""What people decided: it outranks evidence until it is withdrawn.

Of decisions about one thing (a study and an order, a study's exclusion, two patients) the newest holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dosestream.events.records import Decision
from dosestream.reconcile.rules import Rules

LINKS = frozenset({"link", "unlink", "reassign"})
EXCLUSIONS = frozenset({"exclude", "include"})


class OrderReference(NamedTuple):
    """The order a decision means: every number given must be the order's; empty ones say nothing."""

    accession_number: str
    placer_order_number: str
    filler_order_number: str


def reference_of(decision: Decision) -> OrderReference:
    """The order a decision means."""
    return OrderReference(
        decision.accession_number, decision.placer_order_number, decision.filler_order_number
    )


def decision_keys(decision: Decision, rules: Rules) -> list[str]:
    """The identifiers that connect a decision to its group; none for decisions about patients alone."""
    named = (
        ("u", decision.study_instance_uid),
        ("a", decision.accession_number),
        ("p", decision.placer_order_number),
        ("f", decision.filler_order_number),
    )
    return [f"{kind}:{value}" for kind, value in named if not rules.stands_for_nobody(value)]


def order_of(decision: Decision) -> tuple[int, str]:
    """What two decisions are compared by: when they were made, then their identity."""
    return decision.received_at, decision.event_id


@dataclass(frozen=True, slots=True)
class StudyDecisions:
    """What holds for one study: orders it answers, orders it does not, whether it counts (against its evidence)."""

    linked: tuple[Decision, ...] = ()
    barred: tuple[Decision, ...] = ()
    exclusion: Decision | None = None
    inclusion: Decision | None = None


NOTHING_DECIDED = StudyDecisions()


def for_study(decisions: Iterable[Decision], study_instance_uid: str) -> StudyDecisions:
    """The decisions that hold for a study."""
    own = sorted((d for d in decisions if d.study_instance_uid == study_instance_uid), key=order_of)
    if not own:
        return NOTHING_DECIDED
    exclusion = _newest([d for d in own if d.kind in EXCLUSIONS])
    held: dict[OrderReference, Decision] = {}
    for decision in own:
        if decision.kind not in LINKS:
            continue
        if decision.withdrawn:
            held.pop(reference_of(decision), None)
            continue
        if decision.kind == "reassign":
            # The study was another order's: what was linked by hand before is taken back.
            held = {ref: d for ref, d in held.items() if d.kind == "unlink"}
        held[reference_of(decision)] = decision
    return StudyDecisions(
        linked=tuple(d for d in held.values() if d.kind != "unlink"),
        barred=tuple(d for d in held.values() if d.kind == "unlink"),
        exclusion=exclusion if exclusion is not None and exclusion.kind == "exclude" else None,
        inclusion=exclusion if exclusion is not None and exclusion.kind == "include" else None,
    )


def _newest(decisions: Sequence[Decision]) -> Decision | None:
    """The newest of decisions in ascending order, None where it was withdrawn."""
    return decisions[-1] if decisions and not decisions[-1].withdrawn else None
