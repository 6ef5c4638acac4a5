"""Identifiers that stand side by side in one PID-3: one person, as the newest message of each lists them.

A listing is folded under every identifier it names, a field per authority of the others. It holds where both
sides name each other in their newest lists, so that a corrected identifier leaves the old one behind. One that
was listed beside too many others of one authority (999999999) stands for nobody here.
"""

from collections.abc import Iterable, Mapping, Sequence

from dosestream.reconcile.fold import LIST, LIST_CAP, Entry, Fold, Rank, entry, winner
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.version import Precedence, Version

# Fields of a fold that list nobody: most folds have no others.
PLAIN = frozenset({"name", "birth_date", "sex"})


def folded(
    identities: Sequence[PatientId],
    rank: Rank,
    precedence: Precedence,
    event_id: str,
    received_at: int,
    control_id: str,
) -> Iterable[tuple[PatientId, Fold]]:
    """What one list of identifiers adds to the fold of each of them."""
    said: Entry = entry(rank, precedence, event_id, received_at, control_id)
    for identity in identities:
        fold: Fold = {}
        for other in identities:
            if other != identity:
                fold.setdefault(f"{LIST}{other.authority}", {})[other.value] = said
        yield identity, fold


def beside(fold: Fold) -> dict[PatientId, Version]:
    """Whom the newest lists name beside this identifier, and when."""
    found: dict[PatientId, Version] = {}
    if fold.keys() <= PLAIN:
        return found
    for name, values in fold.items():
        if name.startswith(LIST) and len(values) < LIST_CAP:
            held = [said for value in values if (said := winner({value: values[value]})) is not None]
            newest = max(said.order for said in held)
            authority = name.removeprefix(LIST)
            found |= {PatientId(authority, s.value): s.version for s in held if s.order == newest}
    return found


def mutual(folds: Mapping[PatientId, Fold]) -> dict[frozenset[PatientId], Version]:
    """The pairs that name each other, and the newest word of it."""
    lists = {
        who: those for who, fold in folds.items() if not fold.keys() <= PLAIN and (those := beside(fold))
    }
    return {
        frozenset((who, other)): max(version, lists[other][who])
        for who, others in lists.items()
        for other, version in others.items()
        if other in lists and who in lists[other]
    }
