"""Row locks on identifiers: two workers never miss a pair that each saw half of, and never wait in a circle.

Keys are locked in sorted order, all that can be foreseen first: with the keys of the facts those of their groups
and of the patients these name. A transaction that finds it needs more takes them only where they can be had at
once; else it rolls back and begins again with the larger set.

Nobody waits in a circle, since everybody waits in one order: for the rows of the ledger, for those of the message
index, for identifiers while they are taken, and at the end for marks and sources; each of these in sorted order.
Between taking and marking a transaction waits for no other: what it finds locked makes it begin again, and a key
that it adds is one of a patient it holds (`MEETING`), so that nobody else can be adding it. Who publishes deletes
marks of the outbox in statements of their own, which wait for nobody.
"""

from collections.abc import Collection, Sequence

from psycopg import Cursor

from dosestream.db.values import bigint_array, text_array

Row = tuple[object, ...]
# Prefixes of keys that are derived, not named by facts: the window's and those of duplicate orders. Each names a
# patient, and whoever derives it has locked that patient.
MEETING = frozenset({"w:", "d:"})

# What may be locked with a key, since whoever derives its group needs it: all of the group and its patients.
NEIGHBOURS = """
WITH touched (grp) AS (
    SELECT grp FROM identifier WHERE key = ANY(%(keys)s::text[]) AND grp IS NOT NULL
    UNION SELECT unnest(%(groups)s::bigint[])
)
SELECT key FROM identifier JOIN touched USING (grp)
UNION SELECT 'b:' || bare FROM patient_group JOIN touched USING (grp)
UNION SELECT unnest(%(keys)s::text[])
"""


class RestartError(Exception):
    """Roll back and begin again, locking these keys from the start."""

    def __init__(self, keys: frozenset[str]) -> None:
        super().__init__(f"{len(keys)} identifiers to lock")
        self.keys = keys


class Locks:
    """The identifiers a transaction has locked, with the group each belongs to."""

    def __init__(self, cursor: Cursor[Row]) -> None:
        self._cursor = cursor
        self.groups: dict[str, int | None] = {}

    def take(self, keys: Collection[str], groups: Collection[int] = ()) -> None:
        """Lock these keys and what belongs to them and to these groups, waiting for who has them; only as the first
        thing a transaction locks.

        What belongs to them is as it was before the locks were had: `members` says what it is now.
        """
        if not keys and not groups:
            return
        ordered = text_array(sorted(keys))
        # To add one of a patient who is not locked yet could mean to wait for whoever has locked that patient.
        self._add([key for key in sorted(keys) if key[:2] not in MEETING])
        self._cursor.execute(
            f"SELECT key, grp FROM identifier WHERE key = ANY(ARRAY({NEIGHBOURS})) ORDER BY key FOR UPDATE",
            {"keys": ordered, "groups": bigint_array(groups)},
        )
        self._note()

    def extend(self, keys: Collection[str]) -> None:
        """Lock further keys without waiting. Those of patients must be there; those of `MEETING` are added.

        Raises:
            RestartError: another transaction has some of them, or they are not there.
        """
        missing = sorted(set(keys) - self.groups.keys())
        if not missing:
            return
        wanted = text_array(missing)
        self._add([key for key in missing if key[:2] in MEETING])
        self._cursor.execute(
            "SELECT key, grp FROM identifier WHERE key = ANY(%s::text[]) ORDER BY key FOR UPDATE SKIP LOCKED",
            (wanted,),
        )
        self._note()
        if any(key not in self.groups for key in missing):
            raise RestartError(frozenset(self.groups) | frozenset(missing))

    def _add(self, keys: Sequence[str]) -> None:
        if keys:
            self._cursor.execute(
                "INSERT INTO identifier (key) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
                (text_array(keys),),
            )

    def _note(self) -> None:
        for key, group in self._cursor.fetchall():
            self.groups[str(key)] = None if group is None else int(str(group))

    def members(self, groups: Collection[int]) -> dict[str, int]:
        """Every identifier of these groups, locked too.

        Raises:
            RestartError: another transaction has some of them.
        """
        if not groups:
            return {}
        self._cursor.execute(
            "SELECT key, grp FROM identifier WHERE grp = ANY(%s::bigint[])", (bigint_array(groups),)
        )
        found = {str(key): int(str(group)) for key, group in self._cursor.fetchall()}
        self.extend(found)
        return found
