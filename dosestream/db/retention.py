"""What is due to leave the database: old groups page by page and their standing, rows deleted in bounded batches.

No statement here locks or deletes more than a page, and none waits for a lock for long where the caller's connection
has a `lock_timeout`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from psycopg import Cursor

from dosestream.db.values import bigint_array, iso_time
from dosestream.reconcile.retention import Standing

Row = tuple[object, ...]
# Pages (8 KiB) of a table that one statement looks through.
PAGES: Final = 128
# Modalities without ionising radiation or without images: as in the view `missing_report`.
DARK: Final = ("MR", "US", "IVUS", "ES", "OP", "OPT", "GM", "SM", "XC", "ECG", "HD", "SR", "KO", "PR", "DOC")

STANDING: Final = """
SELECT g.grp,
       greatest(f.newest, s.newest, o.newest),
       NOT EXISTS (SELECT FROM identifier i WHERE i.grp = g.grp AND left(i.key, 2) NOT IN ('w:', 'd:')),
       EXISTS (SELECT FROM dirty d WHERE d.grp = g.grp),
       coalesce(s.missing, false),
       coalesce(s.doubtful, false),
       coalesce(s.open, false) OR coalesce(o.open, false),
       coalesce(o.outstanding, false)
FROM unnest(%(groups)s::bigint[]) AS g (grp)
CROSS JOIN LATERAL (SELECT max(received_at) AS newest FROM fact WHERE fact.grp = g.grp) f
LEFT JOIN LATERAL (
    SELECT (extract(epoch FROM max(study_datetime)) * 1000000)::bigint AS newest,
           bool_or(link_state IN ('waiting', 'ambiguous', 'conflict')) AS doubtful,
           bool_or(phase = 'provisional' OR next_due IS NOT NULL) AS open,
           -- What dose.missing_report shows is read from the facts.
           bool_or(NOT excluded AND closes_at IS NOT NULL AND coalesce(modality, '') <> ALL(%(dark)s) AND NOT EXISTS (
               SELECT FROM fact f WHERE f.grp = g.grp AND f.kind = 'study' AND f.header->>'kind' = 'dose_report'
               AND f.header->>'study_instance_uid' = study.study_instance_uid)) AS missing
    FROM study WHERE study.grp = g.grp
) s ON true
LEFT JOIN LATERAL (
    SELECT (extract(epoch FROM max(scheduled_at)) * 1000000)::bigint AS newest,
           bool_or(next_due IS NOT NULL) AS open,
           bool_or(state IN ('expected', 'overdue')) AS outstanding
    FROM imaging_order WHERE imaging_order.grp = g.grp
) o ON true
"""


def oldest_groups(cursor: Cursor[Row], after: int, before: int, limit: int) -> tuple[set[int], int]:
    """Groups of the oldest facts received after one time and before another (microseconds since 1970 UTC), of some
    `limit` facts, and the receipt of the last of these; no groups and `before` at the end."""
    cursor.execute(
        "SELECT grp, received_at FROM fact WHERE received_at > %s AND received_at < %s "
        "ORDER BY received_at FETCH FIRST %s ROWS WITH TIES",
        (after, before, limit),
    )
    found = [(int(str(group)), int(str(at))) for group, at in cursor.fetchall()]
    return {group for group, _ in found}, found[-1][1] if found else before


def standings(cursor: Cursor[Row], groups: Collection[int]) -> dict[int, Standing]:
    """What the rows of these groups say of them; a group without facts has none."""
    if not groups:
        return {}
    cursor.execute(STANDING, {"groups": bigint_array(groups), "dark": list(DARK)})
    return {
        int(str(group)): Standing(int(str(newest)), *map(bool, flags))
        for group, newest, *flags in cursor.fetchall()
        if newest is not None
    }


def newest_tick(cursor: Cursor[Row]) -> int:
    """The newest tick, microseconds since 1970 UTC; 0 before the first."""
    cursor.execute("SELECT (extract(epoch FROM at) * 1000000)::bigint FROM clock")
    row = cursor.fetchone()
    return 0 if row is None else int(str(row[0]))


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows of a table that go by their age alone.

    Attributes:
        due: which rows, by `%(before)s`.
        change: what is done with them.
    """

    table: str
    due: str
    change: str = "DELETE FROM {table} t"


# A row of the index stays as long as its fact is here, which takes its receipt from it, or where the first receipt
# of a message decides its version. A bond keeps its first receipt by itself, and so does what is let go.
BY_AGE: Final[dict[str, Deleted]] = {
    "message_index": Deleted(
        "message",
        "t.received_at < %(before)s AND NOT EXISTS (SELECT FROM fact f WHERE f.event_id = t.event_id) "
        "AND NOT EXISTS (SELECT FROM ahead a WHERE a.event_id = t.event_id)",
    ),
    "quarantine": Deleted("quarantine", "t.quarantined_at < %(before)s"),
    # A text leaves the row and the fact: what was derived of it is a digest.
    "report_text": Deleted(
        "report",
        "t.text IS NOT NULL AND coalesce(t.reported_at, t.finalized_at, "
        "(SELECT 'epoch'::timestamptz + max(f.received_at) * interval '1 microsecond' FROM fact f WHERE f.grp = t.grp)) "
        "< %(before)s",
        "UPDATE {table} t SET text = NULL",
    ),
    "report_fact_text": Deleted(
        "fact",
        "t.kind = 'report' AND t.value IS NOT NULL AND t.received_at < extract(epoch FROM %(before)s::timestamptz) * 1000000",
        "UPDATE {table} t SET value = NULL",
    ),
}


def pages(cursor: Cursor[Row], table: str) -> int:
    """How many pages a table has."""
    cursor.execute("SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int", (table,))
    row = cursor.fetchone()
    assert row is not None
    return int(str(row[0]))


def delete_page(cursor: Cursor[Row], kind: str, before: int, first: int) -> int:
    """Do what is due with the rows on `PAGES` pages of a table, from page `first` on; returns with how many. A row
    that somebody works on is left for the next time."""
    one = BY_AGE[kind]
    cursor.execute(
        f"{one.change.format(table=one.table)} {_where(one, locked=True)}".encode(),
        _parameters(before, first),
    )
    return cursor.rowcount


def count_page(cursor: Cursor[Row], kind: str, before: int, first: int) -> int:
    """How many rows `delete_page` would find there."""
    one = BY_AGE[kind]
    cursor.execute(
        f"SELECT count(*) FROM {one.table} t {_where(one, locked=False)}".encode(), _parameters(before, first)
    )
    row = cursor.fetchone()
    assert row is not None
    return int(str(row[0]))


def _where(one: Deleted, *, locked: bool) -> str:
    found = f"t.ctid >= %(first)s::tid AND t.ctid < %(last)s::tid AND {one.due}"
    if not locked:
        return f"WHERE {found}"
    return f"WHERE t.ctid = ANY(ARRAY(SELECT t.ctid FROM {one.table} t WHERE {found} FOR UPDATE OF t SKIP LOCKED))"


def _parameters(before: int, first: int) -> dict[str, object]:
    return {"before": iso_time(before), "first": f"({first},0)", "last": f"({first + PAGES},0)"}
