"""Scheduled procedure steps written: only those that changed, and those no longer offered taken away."""

import hashlib
from collections.abc import Mapping
from typing import Final

import orjson
from psycopg import Cursor

from dosestream.db.values import bigint_array, columns, iso_date, iso_time, text_array, without_nul
from dosestream.reconcile.rows import GroupRows, StepRow
from dosestream.worklist.names import name_keys

Row = tuple[object, ...]
# Of these groups: the steps that are stored.
HELD: Final = "SELECT grp, row_key, step_key, content_hash FROM scheduled_step WHERE grp = ANY(%s::bigint[])"
# What is matched as a name.
NAMES: Final = ("patient_name", "performing_physician", "requesting_physician", "referring_physician")


def write(cursor: Cursor[Row], derived: Mapping[int, GroupRows], before: Cursor[Row]) -> None:
    """Bring the steps of these groups up to what was derived. `before` was asked for `HELD`."""
    wanted = {
        (group, row.row_key, row.step_key): step_content(row)
        for group, found in derived.items()
        for row in found.steps
    }
    held = {(int(str(g)), str(r), str(s)): str(h) for g, r, s, h in before.fetchall()}
    fresh = {key: row for key, row in wanted.items() if held.get(key) != row["content_hash"]}
    if gone := [key for key in held if key not in wanted or key in fresh]:
        cursor.execute(
            "DELETE FROM scheduled_step s USING unnest(%s::bigint[], %s::text[], %s::text[]) AS n (g, r, k) "
            "WHERE s.grp = n.g AND s.row_key = n.r AND s.step_key = n.k",
            (
                bigint_array(g for g, _, _ in gone),
                text_array(r for _, r, _ in gone),
                text_array(s for _, _, s in gone),
            ),
        )
    if fresh:
        rows = [{**row, "grp": group} for (group, _, _), row in fresh.items()]
        cursor.execute(
            "INSERT INTO scheduled_step SELECT * FROM jsonb_populate_recordset(NULL::scheduled_step, %s::jsonb)",
            (without_nul(rows),),
        )


def step_content(row: StepRow) -> dict[str, object]:
    """A row of the table, its group left out."""
    out = columns(row)
    out["scheduled_at"] = iso_time(row.scheduled_at)
    out["ordered_at"] = iso_time(row.ordered_at)
    out["patient_birth_date"] = iso_date(row.patient_birth_date)
    out |= {f"{name}_key": name_keys(getattr(row, name)) for name in NAMES}
    out["content_hash"] = hashlib.sha256(orjson.dumps(out, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
    return out
