"""Which identities are one person, for *agrees*: merged, linked, or listed side by side.

A link (A24) holds until an unlink (A37, A43, an un-merge by decision) of the same pair that is newer, and so does
a listing. Values of linked identities are not mixed: each keeps its own record.
"""

from collections.abc import Callable, Iterable, Mapping

from dosestream.reconcile.bonds import Bond, Kind
from dosestream.reconcile.components import Components
from dosestream.reconcile.fold import Rank
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.merge import decided
from dosestream.reconcile.version import Version

TOGETHER: Mapping[Kind, bool] = {Kind.LINK: True, Kind.UNLINK: False}


def linked(
    bonds: Iterable[Bond], listed: Mapping[frozenset[PatientId], Version]
) -> list[frozenset[PatientId]]:
    """The pairs that are one person although neither was merged into the other."""
    bonds = list(bonds)
    newest: dict[frozenset[PatientId], tuple[Rank, Version, bool]] = {
        pair: (Rank.ADT, version, True) for pair, version in listed.items()
    }
    said = [(b, TOGETHER[b.kind]) for b in bonds if b.kind in TOGETHER]
    said += [(b, False) for b in decided(bonds) if b.kind is Kind.UNMERGE]
    for bond, together in said:
        word = bond.rank, bond.version, together
        if bond.pair not in newest or word > newest[bond.pair]:
            newest[bond.pair] = word
    return [pair for pair, (_, _, together) in newest.items() if together]


def persons(
    everyone: Iterable[PatientId],
    survivor: Callable[[PatientId], PatientId],
    pairs: Iterable[frozenset[PatientId]],
) -> dict[PatientId, PatientId]:
    """Each identity to the one that stands for its person: the lowest of the survivors."""
    everyone = sorted(everyone)
    joined: Components[PatientId] = Components()
    for who in everyone:
        joined.join((who, survivor(who)))
    for pair in pairs:
        joined.join(sorted(pair))
    stands: dict[PatientId, PatientId] = {}
    for who in sorted({survivor(who) for who in everyone}):
        stands.setdefault(joined.find(who), who)
    return {who: stands[joined.find(who)] for who in everyone}
