"""A generation filled in bulk: its indexes put away while rows are copied in, and made again over all of them.

What was put away is remembered in the database, in the transaction that drops it, so that a build that was interrupted
finds it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import Connection, Cursor, sql

from dosestream.db.generations import Generation

Row = tuple[object, ...]
# The tables that are filled by COPY; those of every event, then those that rows are derived into.
HEARD = ("message",)
PATIENTS = ("patient",)
DERIVED = (
    "identifier",
    "fact",
    "patient_group",
    "study",
    "study_dose",
    "study_order",
    "dose_total",
    "irradiation_event",
    "xray_source",
    "dose_check",
    "administration",
    "organ_dose",
    "unread",
    "imaging_order",
    "scheduled_step",
    "anomaly",
    "report",
    "alert",
)
# What a build leaves as it is: the steps of the migration, and what it remembers itself.
KEPT = frozenset({"migration", "put_away"})
REMEMBERED = (
    "CREATE TABLE IF NOT EXISTS put_away "
    "(number integer GENERATED ALWAYS AS IDENTITY, tbl text NOT NULL, name text PRIMARY KEY, ddl text NOT NULL)"
)
# By one server process that makes an index.
INDEX_MEMORY = "128MB"


class PutAway(NamedTuple):
    """An index or primary key that is to be made again."""

    table: str
    name: str
    ddl: str


def work_on(cursor: Cursor[Row], generation: Generation) -> None:
    """Let a connection's statements mean the tables of this generation."""
    cursor.execute("SELECT set_config('search_path', %s, false)", (generation.schema,))


def empty(cursor: Cursor[Row], generation: Generation, tables: Iterable[str] | None = None) -> None:
    """Take every row out of these tables, of all where none is named."""
    if tables is None:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (generation.schema,))
        tables = [str(row[0]) for row in cursor.fetchall() if row[0] not in KEPT]
    listed = sql.SQL(", ").join(sql.Identifier(generation.schema, table) for table in tables)
    cursor.execute(sql.SQL("TRUNCATE {}").format(listed))


def put_away(connection: Connection[Row], generation: Generation, tables: Sequence[str]) -> None:
    """Drop the indexes and primary keys of these tables, and let them be looked after by nobody meanwhile."""
    with connection.transaction(), connection.cursor() as cursor:
        work_on(cursor, generation)
        cursor.execute(REMEMBERED)
        cursor.execute(
            "SELECT relname, conname, 'ALTER TABLE ' || quote_ident(relname) || ' ADD CONSTRAINT ' || quote_ident(conname) "
            "|| ' ' || pg_get_constraintdef(c.oid) FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid "
            "WHERE connamespace = %(schema)s::regnamespace AND contype IN ('p', 'u') AND relname = ANY(%(tables)s)",
            {"schema": generation.schema, "tables": list(tables)},
        )
        keys = [PutAway(str(t), str(n), str(d)) for t, n, d in cursor.fetchall()]
        cursor.execute(
            "SELECT tablename, indexname, indexdef FROM pg_indexes "
            "WHERE schemaname = %s AND tablename = ANY(%s) AND indexname <> ALL(%s)",
            (generation.schema, list(tables), [key.name for key in keys]),
        )
        indexes = [PutAway(str(t), str(n), str(d)) for t, n, d in cursor.fetchall()]
        cursor.executemany(
            "INSERT INTO put_away (tbl, name, ddl) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [*keys, *indexes],
        )
        for key in keys:
            cursor.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    sql.Identifier(key.table), sql.Identifier(key.name)
                )
            )
        for index in indexes:
            cursor.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index.name)))
        for table in tables:
            cursor.execute(
                sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = false)").format(sql.Identifier(table))
            )


def missing(cursor: Cursor[Row], tables: Sequence[str]) -> list[PutAway]:
    """What is to be made again of these tables, a table's primary key first; nothing where all was forgotten."""
    cursor.execute("SELECT to_regclass('put_away') IS NOT NULL")
    if cursor.fetchall() != [(True,)]:
        return []
    cursor.execute("SELECT tbl, name, ddl FROM put_away WHERE tbl = ANY(%s) ORDER BY number", (list(tables),))
    return [PutAway(str(t), str(n), str(d)) for t, n, d in cursor.fetchall()]


def make_again(connection: Connection[Row], generation: Generation, one: PutAway) -> int:
    """Make an index over the rows that are there; returns how many rows had to go because the same key was there
    twice: of those with a receipt the earliest stays, with the position of the record that was read first."""
    removed = 0
    while True:
        try:
            with connection.transaction(), connection.cursor() as cursor:
                work_on(cursor, generation)
                cursor.execute(f"SET LOCAL maintenance_work_mem = '{INDEX_MEMORY}'")
                cursor.execute(one.ddl.encode())
                cursor.execute("DELETE FROM put_away WHERE name = %s", (one.name,))
            return removed
        except psycopg.errors.UniqueViolation:
            with connection.transaction(), connection.cursor() as cursor:
                work_on(cursor, generation)
                removed += _once(cursor, one)


def _once(cursor: Cursor[Row], one: PutAway) -> int:
    columns = one.ddl[one.ddl.index("KEY (") + 4 :] if "KEY (" in one.ddl else one.ddl[one.ddl.rindex("(") :]
    names = columns.strip("() ").split(", ")
    same = " AND ".join(f"t.{name} = d.{name}" for name in names)
    if one.table in HEARD:
        cursor.execute(
            f"UPDATE {one.table} t SET received_at = d.at FROM (SELECT {', '.join(names)}, min(received_at) AS at "
            f"FROM {one.table} GROUP BY {', '.join(names)} HAVING count(*) > 1) d WHERE {same}"
        )
        order = 'topic, partition, "offset"'
    else:
        order = "t::text"
    cursor.execute(
        f"DELETE FROM {one.table} WHERE ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER "
        f"(PARTITION BY {', '.join(names)} ORDER BY {order}) AS nth FROM {one.table} t) n WHERE nth > 1)"
    )
    return cursor.rowcount


def forget(cursor: Cursor[Row]) -> None:
    """Nothing is put away any more."""
    cursor.execute("DROP TABLE IF EXISTS put_away")


def look_after(connection: Connection[Row], generation: Generation, tables: Sequence[str]) -> None:
    """Let the server look after these tables again, and let its planner know them."""
    with connection.transaction(), connection.cursor() as cursor:
        work_on(cursor, generation)
        for table in tables:
            cursor.execute(sql.SQL("ALTER TABLE {} RESET (autovacuum_enabled)").format(sql.Identifier(table)))
            cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
