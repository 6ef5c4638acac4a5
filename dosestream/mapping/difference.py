"""What differs between two outcomes: of one message under two configurations, or of two that should agree. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dosestream.mapping.explain import Outcome, ReadEvent

# A field that has the same value from another place.
PATH_ONLY = "path"
# What differs of a message as a whole; told first, and without patient data.
WHOLE = ("outcome", "source", "events")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs.

    Attributes:
        what: `outcome`, `source` (its name is part of an event's identity), `events` (how many of a kind), or event and
            field such as `order.accession_number`.
        kind: `appears`, `disappears`, `changes`, or `path` where the value is the same from another place.
        old, new: in words; of a field these are values, which may be patient data.
    """

    what: str
    kind: str
    old: str
    new: str

    @property
    def harmless_to_tell(self) -> bool:
        """Whether `old` and `new` hold no patient data."""
        return self.what in WHOLE or self.kind == PATH_ONLY


def differences(old: Outcome, new: Outcome, ignore: Collection[str] = ()) -> list[Difference]:
    """What differs, the message as a whole first; `ignore` names fields that are not looked at."""
    found: list[Difference] = []
    if old.told != new.told:
        found.append(Difference("outcome", "changes", old.told, new.told))
    if old.source != new.source:
        found.append(Difference("source", "changes", old.source, new.source))
    ours, theirs = ({(one.event, one.index): one for one in side.events} for side in (old, new))
    if ours.keys() != theirs.keys():
        found.append(Difference("events", "changes", _events(old.events), _events(new.events)))
    for key in ours.keys() & theirs.keys():
        found += _fields(ours[key], theirs[key], ignore)
    return sorted(found, key=lambda one: (one.what not in WHOLE, one.what))


def _fields(old: ReadEvent, new: ReadEvent, ignore: Collection[str]) -> Iterator[Difference]:
    ours, theirs = ({one.field: one for one in side.readings} for side in (old, new))
    for field in (ours.keys() | theirs.keys()) - set(ignore):
        before, after = ours.get(field), theirs.get(field)
        what = f"{old.event}.{field}"
        if before is None or after is None:
            kind = "appears" if before is None else "disappears"
            yield Difference(what, kind, before.value if before else "", after.value if after else "")
        elif before.value != after.value:
            yield Difference(what, "changes", before.value, after.value)
        elif before.path != after.path:
            yield Difference(what, PATH_ONLY, before.path, after.path)


def _events(events: Sequence[ReadEvent]) -> str:
    kinds = [one.event for one in events]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "none"


# What tells of two messages that they are about the same thing, where their control ids differ.
_SAME = (
    *("identifiers", "accession_number", "placer_order_number", "filler_order_number", "control_code"),
    *("scheduled_step_id", "placer_appointment_id", "filler_appointment_id", "document_number", "trigger"),
)


def pairs(
    old: Iterable[tuple[str, Outcome]], new: Iterable[tuple[str, Outcome]]
) -> tuple[list[tuple[tuple[str, Outcome], tuple[str, Outcome]]], list[str], list[str]]:
    """Messages of two corpora that belong together: by type and control id, else by what they are about; and
    the names of those that have no counterpart, old and new."""
    left, right = list(old), list(new)
    found: list[tuple[tuple[str, Outcome], tuple[str, Outcome]]] = []
    for key_of in (_by_control_id, _by_subject):
        waiting: dict[tuple[str, ...], list[tuple[str, Outcome]]] = {}
        for one in right:
            waiting.setdefault(key_of(one[1]), []).append(one)
        lonely = []
        for one in left:
            if others := waiting.get(key_of(one[1])):
                found.append((one, others.pop(0)))
            else:
                lonely.append(one)
        left, right = lonely, [one for rest in waiting.values() for one in rest]
    return found, [name for name, _ in left], [name for name, _ in right]


def _by_control_id(one: Outcome) -> tuple[str, ...]:
    return one.message_type, one.control_id


def _by_subject(one: Outcome) -> tuple[str, ...]:
    said = [f"{r.field}={r.value}" for event in one.events for r in event.readings if r.field in _SAME]
    return one.message_type, *(said or [f"control id {one.control_id}"])
