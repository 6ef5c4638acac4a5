"""What one message or one decision says of two patients, as a value.

Facts stay filed under the identifiers that messages name; a bond copies nothing. What bonds come to is in
`merge.py` (who survives), `person.py` (who is one person) and `visits.py` (whose visit it is).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from dosestream.events.records import Decision, Patient
from dosestream.reconcile.fold import Rank
from dosestream.reconcile.identity import PatientId, hl7_identities, resolve, resolved
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.version import ABSENT, Precedence, Version, version_of


class Kind(StrEnum):
    """What is said of the pair."""

    MERGE = "merge"  # prior is now target
    UNMERGE = "unmerge"  # prior is not target, whatever was merged
    LINK = "link"  # both are one person, each with its own record
    UNLINK = "unlink"  # they are not
    VISIT = "visit"  # a visit (or account) of prior is now one of target


class Bond(NamedTuple):
    """One word about two patients.

    Attributes:
        prior, target: from whom, and into whom; without direction for links.
        version: when it was said.
        control_id: of the message, or the id of the decision: what the evidence cites.
        rank: of who says it; a decision is above all messages.
        withdrawn: the decision was taken back.
        prior_visit, target_visit: visit numbers of a VISIT.
    """

    prior: PatientId
    target: PatientId
    version: Version
    control_id: str
    kind: Kind = Kind.MERGE
    rank: Rank = Rank.ADT
    withdrawn: bool = False
    prior_visit: str = ""
    target_visit: str = ""

    @property
    def order(self) -> tuple[int, Version]:
        """What two bonds are compared by."""
        return self.rank, self.version

    @property
    def pair(self) -> frozenset[PatientId]:
        """Both patients, whatever the direction."""
        return frozenset((self.prior, self.target))

    @property
    def key(self) -> tuple[str, ...]:
        """Identity: a repeat of the message has the same."""
        return self.version.event_id, self.kind, *self.prior, *self.target, self.prior_visit


Pair = tuple[Kind, PatientId, PatientId]
Identities = tuple[PatientId, ...]


def _into(kind: Kind, priors: Identities, targets: Identities) -> Iterator[Pair]:
    """Each prior with the target of the same authority, else with the first."""
    by_authority = {target.authority: target for target in reversed(targets)}
    for prior in priors:
        yield kind, prior, by_authority.get(prior.authority, targets[0])


def _merge(priors: Identities, targets: Identities) -> Iterator[Pair]:
    return _into(Kind.MERGE, priors, targets)


def _link(priors: Identities, targets: Identities) -> Iterator[Pair]:
    return _into(Kind.LINK, priors, targets)


def _unlink(priors: Identities, targets: Identities) -> Iterator[Pair]:
    for prior in priors:
        yield from ((Kind.UNLINK, prior, target) for target in targets)


def _move(priors: Identities, targets: Identities) -> Iterator[Pair]:
    """A43: an identifier that stands in MRG and PID leaves one person for another; where none stands in both,
    all that is filed under MRG's is now PID's, which is a merge."""
    moved = [p for p in priors if p in targets]
    if not moved:
        yield from _merge(priors, targets)
    for who in moved:
        yield from ((Kind.UNLINK, who, p) for p in priors if p not in targets)
        yield from ((Kind.LINK, who, p) for p in targets if p not in priors)


# `action` of a patient event to the pairs it speaks of. Visits are read apart, whatever the action.
PAIRS: Mapping[str, Callable[[Identities, Identities], Iterable[Pair]]] = {
    "merge": _merge,
    "change_id": _merge,
    "link": _link,
    "unlink": _unlink,
}
# Of the moves the one that is not about a visit or account.
MOVES_PATIENT = "A43"


def bonds_of(event: Patient | Decision, rules: Rules) -> Iterator[Bond]:
    """What an ADT message or a decision says of pairs of patients; nothing where it speaks of one alone."""
    found = _decided(event, rules) if isinstance(event, Decision) else _said(event, rules)
    return (bond for bond in found if (bond.prior, bond.prior_visit) != (bond.target, bond.target_visit))


def _said(event: Patient, rules: Rules) -> Iterator[Bond]:
    pairs = _move if event.trigger == MOVES_PATIENT else PAIRS.get(event.action)
    visit = event.visit_number
    # Only messages about visits name what the visit was called before.
    visits = bool(event.prior_visit_number) and not rules.stands_for_nobody(visit)
    if not (pairs or visits):
        return
    targets = hl7_identities(rules, event.source, event.patient)
    if not targets:
        return
    version = version_of(event, rules.future_tolerance_us)
    priors = resolved(rules, event.source, event.prior_identifiers)
    for kind, prior, target in pairs(priors, targets) if pairs else ():
        yield Bond(prior, target, version, event.control_id, kind)
    if visits and not rules.stands_for_nobody(event.prior_visit_number):
        for _, prior, target in _into(Kind.VISIT, priors or targets[:1], targets):
            yield Bond(
                prior,
                target,
                version,
                event.control_id,
                Kind.VISIT,
                prior_visit=event.prior_visit_number,
                target_visit=visit,
            )


def _decided(event: Decision, rules: Rules) -> Iterator[Bond]:
    if event.kind not in (Kind.MERGE, Kind.UNMERGE) or event.patient is None or event.prior is None:
        return
    version = Version(
        Precedence(event.received_at, event.received_at, ABSENT, ABSENT), event.received_at, event.event_id
    )
    prior, target = (resolve(rules, "", identifier) for identifier in (event.prior, event.patient))
    if not (rules.stands_for_nobody(prior.value) or rules.stands_for_nobody(target.value)):
        yield Bond(
            prior, target, version, event.event_id, Kind(event.kind), Rank.DECISION, withdrawn=event.withdrawn
        )
