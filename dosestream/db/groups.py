"""Groups of facts: joined where events share identifiers; identifiers and facts are relabelled when groups meet."""

from collections.abc import Collection, Mapping, Sequence

from psycopg import Cursor

from dosestream.db.facts import AtHand, Filed, store
from dosestream.db.locking import MEETING, Locks
from dosestream.db.values import bigint_array, text_array
from dosestream.reconcile.components import Components

Row = tuple[object, ...]
# Tables whose rows carry their group. Marks of groups that are gone (`dirty`) stay: to delete one here could mean
# to wait for who works on it.
GROUPED = (
    "fact",
    "snapshot",
    "study",
    "study_dose",
    "imaging_order",
    "scheduled_step",
    "anomaly",
    "alert",
    "report",
)


def file_facts(
    cursor: Cursor[Row], locks: Locks, facts: Sequence[Filed]
) -> tuple[set[int], dict[str, AtHand]]:
    """Store facts in their groups, joining groups that now belong together; returns the groups touched and the
    facts that need not be loaded.

    The facts' keys must be locked.
    """
    if not facts:
        return set(), {}
    joined: Components[str | int] = Components()
    for fact in facts:
        # An event that names nothing is a group of its own, known by its id.
        joined.join([f"e:{fact.event.event_id}", *fact.keys])
        joined.join(
            [item for key in fact.keys if (group := locks.groups[key]) is not None for item in (key, group)]
        )
    members: dict[str | int, set[int]] = {}
    for fact in facts:
        for key in fact.keys:
            if (group := locks.groups[key]) is not None:
                members.setdefault(joined.find(key), set()).add(group)
    roots = {joined.find(f"e:{fact.event.event_id}") for fact in facts}
    fresh = _new_groups(cursor, len([root for root in roots if root not in members]))
    group_of = {
        root: min(members[root]) if root in members else fresh.pop() for root in sorted(roots, key=str)
    }
    _relabel(cursor, locks, {old: group_of[root] for root, olds in members.items() for old in olds})
    keys = {key: group_of[joined.find(key)] for fact in facts for key in fact.keys}
    changed = {key: group for key, group in keys.items() if locks.groups[key] != group}
    if changed:
        cursor.execute(
            "UPDATE identifier i SET grp = n.grp FROM unnest(%s::text[], %s::bigint[]) AS n (key, grp) WHERE i.key = n.key",
            (text_array(changed), bigint_array(changed.values())),
        )
        locks.groups.update(changed)
    home = {fact.event.event_id: group_of[joined.find(f"e:{fact.event.event_id}")] for fact in facts}
    return set(group_of.values()), store(cursor, facts, home)


def join(cursor: Cursor[Row], locks: Locks, wanted: Mapping[int, Collection[str]]) -> dict[int, int]:
    """Join groups by further identifiers; returns groups that were moved, to the one they are now.

    Raises:
        RestartError: another transaction has some of the identifiers.
    """
    locks.extend({key for keys in wanted.values() for key in keys})
    joined: Components[str | int] = Components()
    for group, keys in wanted.items():
        # The keys too: groups that meet by one that is new to all of them belong together as well.
        joined.join([group, *keys, *(other for key in keys if (other := locks.groups[key]) is not None)])
    others = {other for keys in wanted.values() for key in keys if (other := locks.groups[key]) is not None}
    locks.members(others - wanted.keys())
    sets: dict[str | int, set[int]] = {}
    for group in (*wanted, *others):
        sets.setdefault(joined.find(group), set()).add(group)
    moved = {old: min(olds) for olds in sets.values() for old in olds if old != min(olds)}
    _relabel(cursor, locks, moved)
    changed: dict[str, int | None] = {
        key: moved.get(group, group)
        for group, keys in wanted.items()
        for key in keys
        if locks.groups[key] is None
    }
    # A key by which a group need not be met any more is let go, or all days of a patient become one group.
    settled = wanted.keys() - moved.keys() - set(moved.values())
    changed |= {
        key: None
        for key, group in locks.groups.items()
        if group in settled and key[:2] in MEETING and key not in wanted[group]
    }
    if changed:
        cursor.execute(
            "UPDATE identifier i SET grp = n.grp FROM unnest(%s::text[], %s::bigint[]) AS n (key, grp) WHERE i.key = n.key",
            (text_array(changed), bigint_array(changed.values())),
        )
        locks.groups.update(changed)
    return moved


def _new_groups(cursor: Cursor[Row], count: int) -> list[int]:
    if not count:
        return []
    cursor.execute("SELECT nextval('group_id') FROM generate_series(1, %s)", (count,))
    return [int(str(row[0])) for row in cursor.fetchall()]


def _relabel(cursor: Cursor[Row], locks: Locks, renamed: Mapping[int, int]) -> None:
    """Move everything of groups that met into one of them."""
    moved = {old: new for old, new in renamed.items() if old != new}
    if not moved:
        return
    pairs = (list(moved), list(moved.values()))
    for table in ("identifier", *GROUPED):
        cursor.execute(
            f"UPDATE {table} t SET grp = n.new FROM unnest(%s::bigint[], %s::bigint[]) AS n (old, new) WHERE t.grp = n.old",
            pairs,
        )
    cursor.execute("DELETE FROM patient_group WHERE grp = ANY(%s)", (list(moved),))
    for key, group in locks.groups.items():
        if group in moved:
            locks.groups[key] = moved[group]
