"""The site's diagnostic reference levels in the database, as its configuration has them."""

import hashlib
from collections.abc import Iterable

import orjson
from psycopg import Cursor

from dosestream.db.values import without_nul
from dosestream.knowledge.reference_levels import ReferenceLevelSettings, row

Row = tuple[object, ...]
NAME = "reference_level"


def load(cursor: Cursor[Row], levels: Iterable[ReferenceLevelSettings]) -> bool:
    """Put these levels in the place of those that are there; returns whether they differ. Comparisons are views of
    them: they show at once what the transaction commits."""
    rows = [row(number, level) for number, level in enumerate(levels, start=1)]
    found = hashlib.sha256(orjson.dumps(rows)).hexdigest()[:16]
    # The row is locked: of several reconcilers that start together one follows the other.
    cursor.execute(
        "INSERT INTO configured (name, hash, loaded_at) VALUES (%s, '', clock_timestamp()) ON CONFLICT DO NOTHING",
        (NAME,),
    )
    cursor.execute("SELECT hash FROM configured WHERE name = %s FOR UPDATE", (NAME,))
    before = cursor.fetchone()
    if before is not None and before[0] == found:
        return False
    cursor.execute("DELETE FROM reference_level")
    cursor.execute(
        "INSERT INTO reference_level SELECT * FROM jsonb_populate_recordset(NULL::reference_level, %s::jsonb)",
        (without_nul(rows),),
    )
    cursor.execute(
        "UPDATE configured SET hash = %s, loaded_at = clock_timestamp() WHERE name = %s", (found, NAME)
    )
    return True
