"""What is said about one thing, folded: per field and distinct value, the newest version and first receipt.

The fold is commutative, associative and idempotent, so facts may come in any order, any number of times.
A fold is plain data (dicts, lists, text, integers), ready for JSON.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple, TypedDict

from dosestream.reconcile.version import Precedence, Version


class Rank(IntEnum):
    """Authority of who says it, the higher wins."""

    DICOM = 0
    REPORT = 1
    ORDER = 2
    ADT = 3
    DECISION = 4


# Before the name of fields that list identifiers, and the number of values that shows there are too many: of
# more only the lowest are kept, so that what is kept does not depend on the order either.
LIST = "with:"
LIST_CAP = 25

# Receipt, event id, control id; a list, since JSON has no tuples.
First = Any


class Entry(TypedDict):
    """One value of one field.

    Attributes:
        top: authority rank, then precedence: the highest this value was said with.
        said: the events that said it with that, to their first receipt: a repeat keeps the smaller.
        first: earliest receipt of this value, whoever said it, with that event's id and control id: what the
            evidence cites, so that a message that repeats a value changes no row.
    """

    top: list[int]
    said: dict[str, int]
    first: First


Fold = dict[str, dict[str, Entry]]


class Winner(NamedTuple):
    """The value that holds, and why; `control_id` and `first_received_at` are of the first message with it."""

    value: str
    rank: int
    version: Version
    control_id: str
    first_received_at: int

    @property
    def order(self) -> tuple[int, Version]:
        """What two winners are compared by."""
        return self.rank, self.version


def entry(rank: Rank, precedence: Precedence, event_id: str, received_at: int, control_id: str) -> Entry:
    """What one event says of one value."""
    return {
        "top": [int(rank), *precedence],
        "said": {event_id: received_at},
        "first": [received_at, event_id, control_id],
    }


def merge_entries(one: Entry, other: Entry) -> Entry:
    """Both: the higher precedence stays, equals are joined, a repeated event keeps its first receipt."""
    first = one["first"] if one["first"] < other["first"] else other["first"]
    if one["top"] != other["top"]:
        top = one if one["top"] > other["top"] else other
        return {"top": top["top"], "said": top["said"], "first": first}
    if one["said"] == other["said"]:
        return {"top": one["top"], "said": one["said"], "first": first}
    said = dict(one["said"])
    for event_id, receipt in other["said"].items():
        said[event_id] = min(said.get(event_id, receipt), receipt)
    return {"top": one["top"], "said": said, "first": first}


def merge(one: Fold, other: Fold) -> Fold:
    """Both folds as one."""
    out = dict(one)
    for name, values in other.items():
        here = dict(out.get(name, ()))
        for value, said in values.items():
            known = here.get(value)
            here[value] = said if known is None else merge_entries(known, said)
        if len(here) > LIST_CAP and name.startswith(LIST):
            here = {value: here[value] for value in sorted(here)[:LIST_CAP]}
        out[name] = here
    return out


def fold_of(
    values: Mapping[str, str],
    rank: Rank,
    precedence: Precedence,
    event_id: str,
    received_at: int,
    control_id: str,
) -> Fold:
    """The fold of one event: what it leaves empty says nothing."""
    said = entry(rank, precedence, event_id, received_at, control_id)
    return {name: {value: said} for name, value in values.items() if value}


def winner(values: Mapping[str, Entry]) -> Winner | None:
    """The value with the highest (rank, version), None where nothing was said."""
    if len(values) == 1:
        return next(_winner(value, said) for value, said in values.items())
    # Only of the highest is looked who said it: most often one is newer than the others.
    top = max((said["top"] for said in values.values()), default=None)
    highest = (_winner(value, said) for value, said in values.items() if said["top"] == top)
    return max(highest, key=lambda w: w.version, default=None)


def _winner(value: str, said: Entry) -> Winner:
    received_at, event_id = max([(at, event_id) for event_id, at in said["said"].items()])
    rank, *precedence = said["top"]
    first_received_at, _, control_id = said["first"]
    version = Version(Precedence(*precedence), received_at, event_id)
    return Winner(value, rank, version, control_id, first_received_at)


def held(values: Mapping[str, Entry]) -> str | None:
    """The value of the `winner` alone: most often there is one value, and nothing to compare."""
    if len(values) == 1:
        return next(iter(values))
    found = winner(values)
    return None if found is None else found.value


def newest(winners: Iterable[Winner | None]) -> Winner | None:
    """The highest of several winners."""
    return max((w for w in winners if w is not None), key=lambda w: w.order, default=None)
