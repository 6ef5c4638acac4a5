"""What one generation hands to the next: revisions, and which rows subscribers have to hear of.

A study whose content is the same keeps its revision and its `updated_at`; one whose content changed gets a higher
revision. Content is what `content_hash` is made of; the hash of the rules is not. So with alerts; one that only the
old generation knows is withdrawn in the new one, so that its revision goes on.
"""

from psycopg import Connection, sql

from dosestream.db.generations import Generation

Row = tuple[object, ...]

SAME = """
UPDATE {new}.study n SET revision = l.revision, updated_at = l.updated_at FROM {live}.study l
WHERE l.study_instance_uid = n.study_instance_uid AND l.content_hash = n.content_hash
  AND (n.revision <> l.revision OR n.updated_at <> l.updated_at)
"""
CHANGED = """
UPDATE {new}.study n SET revision = l.revision + 1, updated_at = clock_timestamp() FROM {live}.study l
WHERE l.study_instance_uid = n.study_instance_uid AND l.content_hash <> n.content_hash AND n.revision <= l.revision
"""
# Rows of orders have no revision.
ORDERS = """
UPDATE {new}.imaging_order n SET updated_at = l.updated_at FROM {live}.imaging_order l
WHERE l.row_key = n.row_key AND l.content_hash = n.content_hash AND n.updated_at <> l.updated_at
"""
# What the live generation has not published yet stays to be published.
MARKS = (
    "DELETE FROM {new}.outbox",
    """
INSERT INTO {new}.outbox SELECT n.study_instance_uid, n.revision
FROM {new}.study n LEFT JOIN {live}.study l USING (study_instance_uid)
WHERE l.content_hash IS DISTINCT FROM n.content_hash
   OR EXISTS (SELECT 1 FROM {live}.outbox o WHERE o.study_instance_uid = n.study_instance_uid)
""",
    # Revision 0: the row is gone.
    """
INSERT INTO {new}.outbox SELECT gone.study_instance_uid, 0
FROM (SELECT study_instance_uid FROM {live}.study UNION SELECT study_instance_uid FROM {live}.outbox) gone
WHERE NOT EXISTS (SELECT 1 FROM {new}.study n WHERE n.study_instance_uid = gone.study_instance_uid)
""",
)

# What an alert says; of one that no longer holds nothing.
ALERT = "CASE WHEN NOT {0}.withdrawn THEN ROW({0}.value, {0}.threshold, {0}.unit, {0}.first_triggered_at)::text END"
ALERTS_ALIKE = f"{ALERT.format('l')} IS NOT DISTINCT FROM {ALERT.format('n')}"
ALERTS = (
    f"""
UPDATE {{new}}.alert n SET revision = l.revision, updated_at = l.updated_at FROM {{live}}.alert l
WHERE l.study_instance_uid = n.study_instance_uid AND l.kind = n.kind AND {ALERTS_ALIKE}
  AND (n.revision <> l.revision OR n.updated_at <> l.updated_at)
""",
    f"""
UPDATE {{new}}.alert n SET revision = l.revision + 1, updated_at = clock_timestamp() FROM {{live}}.alert l
WHERE l.study_instance_uid = n.study_instance_uid AND l.kind = n.kind AND NOT {ALERTS_ALIKE}
  AND n.revision <= l.revision
""",
)
ALERT_MARKS = (
    "DELETE FROM {new}.alert_outbox",
    # No group has the number 0: the study is gone.
    """
INSERT INTO {new}.alert (study_instance_uid, kind, value, threshold, unit, first_triggered_at, revision, withdrawn, grp)
SELECT l.study_instance_uid, l.kind, l.value, l.threshold, l.unit, l.first_triggered_at,
       l.revision + (NOT l.withdrawn)::int, true, coalesce(s.grp, 0)
FROM {live}.alert l LEFT JOIN {new}.study s USING (study_instance_uid)
ON CONFLICT (study_instance_uid, kind) DO NOTHING
""",
    f"""
INSERT INTO {{new}}.alert_outbox SELECT n.study_instance_uid, n.kind, n.revision
FROM {{new}}.alert n LEFT JOIN {{live}}.alert l USING (study_instance_uid, kind)
WHERE NOT {ALERTS_ALIKE}
   OR EXISTS (SELECT 1 FROM {{live}}.alert_outbox o
              WHERE o.study_instance_uid = n.study_instance_uid AND o.kind = n.kind)
""",
)


def carry(connection: Connection[Row], live: Generation, new: Generation) -> int:
    """Give the studies and alerts of the new generation the revisions they go on with; returns how many got another.

    May be called again: the last time no live batch may be under way.
    """
    return sum(_run(connection, statement, live, new) for statement in (SAME, CHANGED, *ALERTS))


def carry_orders(connection: Connection[Row], live: Generation, new: Generation) -> None:
    """Let orders whose rows are the same keep their `updated_at`."""
    _run(connection, ORDERS, live, new)


def mark(connection: Connection[Row], live: Generation, new: Generation) -> int:
    """Mark in the new generation's outboxes what subscribers have to hear of; returns how many studies that are.

    Revisions must have been carried.
    """
    cleared, rows, gone = (_run(connection, statement, live, new) for statement in MARKS)
    del cleared
    for statement in ALERT_MARKS:
        _run(connection, statement, live, new)
    return rows + gone


def _run(connection: Connection[Row], statement: str, live: Generation, new: Generation) -> int:
    query = sql.SQL(statement).format(live=sql.Identifier(live.schema), new=sql.Identifier(new.schema))
    return connection.execute(query).rowcount
