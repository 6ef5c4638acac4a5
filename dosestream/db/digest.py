"""What the tables of a generation hold, as a few digits: equal contents have equal digests, in whatever order rows lie.

A row is taken as text, in UTC; of a table the digests of its rows are added up, which PostgreSQL does by itself.
Left out is what says when or how rows were written, and the numbers of groups, which stand for the facts in them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from psycopg import Connection

from dosestream.db.generations import Generation

Row = tuple[object, ...]
# Written beside the content.
NOT_CONTENT = frozenset({"revision", "updated_at", "applied_at", "quarantined_at", "loaded_at", "grp"})
# No content: the migration, locks and marks of work, and what only a generation that is filled in bulk has.
NOT_COMPARED = frozenset({"migration", "put_away", "dirty", "outbox", "alert_outbox", "ledger"})
# Expressions for columns whose text may differ where they say the same.
SAID: Mapping[tuple[str, str], str] = {("patient", "fold"): "fold::jsonb"}
# Rows that are content: others are room for a lock and belong to nothing, or alerts that no longer hold.
ONLY: Mapping[str, str] = {"identifier": "WHERE grp IS NOT NULL", "alert": "WHERE NOT withdrawn"}


class TableDigest(NamedTuple):
    """How many rows a table has, and 32 hex digits over them."""

    rows: int
    digest: str


def digest(
    connection: Connection[Row], generation: Generation, without: Mapping[str, frozenset[str]] | None = None
) -> dict[str, TableDigest]:
    """The digest of each table of a generation, by its name.

    Args:
        connection: to the dose database.
        generation: whose tables.
        without: columns that are left out beside those that are never content, by table.
    """
    found: dict[str, TableDigest] = {}
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL timezone = 'UTC'")
        cursor.execute(
            "SELECT relname, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid "
            "WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition "
            "AND attnum > 0 AND NOT attisdropped ORDER BY relname, attname",
            (generation.schema,),
        )
        columns: dict[str, list[str]] = {}
        for table, name in cursor.fetchall():
            columns.setdefault(str(table), []).append(str(name))
        for table, names in columns.items():
            if table in NOT_COMPARED:
                continue
            left = NOT_CONTENT | (without or {}).get(table, frozenset())
            row = ", ".join(SAID.get((table, n), f'"{n}"') for n in names if n not in left)
            cursor.execute(
                f"SELECT count(*), sum(hashtextextended(r, 0)::numeric), sum(hashtextextended(r, 1)::numeric) "
                f'FROM (SELECT ROW({row})::text AS r FROM {generation.schema}."{table}" {ONLY.get(table, "")}) rows'
            )
            ((count, one, other),) = cursor.fetchall()
            halves = (f"{int(str(half or 0)) % 2**64:016x}" for half in (one, other))
            found[table] = TableDigest(int(str(count)), "".join(halves))
    return found
