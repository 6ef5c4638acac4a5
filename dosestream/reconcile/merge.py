"""What was merged into what: who survives, whatever order the merges came in."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from dosestream.reconcile.bonds import Bond, Kind
from dosestream.reconcile.fold import Rank
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.version import Version

T = TypeVar("T", bound=Hashable)


class Edge(NamedTuple, Generic[T]):
    """One thing merged into another, and the word that says so."""

    prior: T
    target: T
    bond: Bond

    @property
    def order(self) -> tuple[tuple[int, Version], tuple[str, ...]]:
        """What two are compared by: the merges of one message, equally new, by whom they name."""
        return self.bond.order, self.bond.key


Holding = dict[T, Edge[T]]


def effective(edges: Iterable[Edge[T]]) -> Holding[T]:
    """The merges that hold, by prior, the newest first: the newest of each thing; one that would close a circle
    loses to the newer ones."""
    latest: Holding[T] = {}
    for edge in edges:
        if edge.prior != edge.target and (edge.prior not in latest or edge.order > latest[edge.prior].order):
            latest[edge.prior] = edge
    holding: Holding[T] = {}
    for edge in sorted(latest.values(), key=lambda e: e.order, reverse=True):
        if survivor(holding, edge.target) != edge.prior:
            holding[edge.prior] = edge
    return holding


def path(holding: Mapping[T, Edge[T]], thing: T) -> list[Edge[T]]:
    """The merges that lead from a thing to what survives of it."""
    found = []
    while thing in holding:
        found.append(holding[thing])
        thing = found[-1].target
    return found


def survivor(holding: Mapping[T, Edge[T]], thing: T) -> T:
    """The last one in the chain of merges that hold."""
    while thing in holding:
        thing = holding[thing].target
    return thing


def decided(bonds: Iterable[Bond]) -> list[Bond]:
    """The merges and un-merges by decision that hold: of each pair the newest, unless it was withdrawn."""
    newest: dict[frozenset[PatientId], Bond] = {}
    for bond in bonds:
        if bond.rank is Rank.DECISION and (bond.pair not in newest or bond.order > newest[bond.pair].order):
            newest[bond.pair] = bond
    held = (bond for bond in newest.values() if not bond.withdrawn)
    return sorted(held, key=lambda bond: bond.order, reverse=True)


def merged(bonds: Sequence[Bond], over: Callable[[Bond], bool]) -> Holding[PatientId]:
    """The merges of patients that hold.

    What messages merged of a pair that a decision un-merged is as if never said. Where a chain still leads
    from one of the pair to the other, its first merge is left out.

    Args:
        bonds: everything that was said of the patients.
        over: whether a merge by message has ended since.
    """
    decisions = decided(bonds)
    apart = [bond for bond in decisions if bond.kind is Kind.UNMERGE]
    barred = {bond.pair for bond in apart}
    kept = [bond for bond in decisions if bond.kind is Kind.MERGE]
    kept += [
        bond
        for bond in bonds
        if bond.kind is Kind.MERGE
        and bond.rank is not Rank.DECISION
        and bond.pair not in barred
        and not over(bond)
    ]
    holding = effective(Edge(bond.prior, bond.target, bond) for bond in kept)
    for bond in apart:
        for one, other in ((bond.prior, bond.target), (bond.target, bond.prior)):
            if any(edge.target == other for edge in path(holding, one)):
                del holding[one]
    return holding
