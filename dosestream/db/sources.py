"""How far each source has come, kept in the database: one statement a batch, the last before it commits."""

from collections.abc import Mapping
from datetime import timedelta

from psycopg import Cursor

from dosestream.db.values import iso_time
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.watermark import Mark

Row = tuple[object, ...]


def advance(cursor: Cursor[Row], heard: Mapping[str, Mark], rules: Rules) -> None:
    """Join the marks of a batch to those that are known. Sources are many workers' rows: in sorted order, and
    held only until the transaction that ends here commits."""
    if not heard:
        return
    ordered = sorted(heard.items())
    cursor.execute(
        "INSERT INTO source (source, spoken_of, last_received_at, lateness, silence) "
        "SELECT n.source, n.spoken_of, n.received_at, %s::interval, %s::interval "
        "FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS n (source, spoken_of, received_at) "
        "ORDER BY n.source ON CONFLICT (source) DO UPDATE SET "
        "spoken_of = greatest(source.spoken_of, excluded.spoken_of), "
        "last_received_at = greatest(source.last_received_at, excluded.last_received_at), "
        "lateness = excluded.lateness, silence = excluded.silence",
        (
            timedelta(microseconds=rules.lateness_us),
            timedelta(microseconds=rules.idle_us),
            [source.replace("\x00", "") for source, _ in ordered],
            [iso_time(left.spoken_of) or iso_time(left.received_at) for _, left in ordered],
            [iso_time(left.received_at) for _, left in ordered],
        ),
    )
