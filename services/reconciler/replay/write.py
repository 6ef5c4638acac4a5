"""The fifth stage: rows that were put aside go into their tables."""

import marshal
from collections.abc import Callable, Mapping
from pathlib import Path

from psycopg import Connection

from dosestream.db.bulk import DERIVED
from dosestream.db.copy import BEGIN, END, columns_of, send
from dosestream.db.generations import Generation
from services.reconciler.replay.groups import FACT
from services.reconciler.replay.spill import frames

Row = tuple[object, ...]
# Bytes of one table that are held before they are sent.
HELD = 1 << 22


def write(
    connection: Connection[Row],
    generation: Generation,
    path: Path,
    valid: Callable[[int], bool],
    told: Callable[[int], None],
) -> tuple[int, int, int]:
    """Send the rows of a bucket to their tables.

    Args:
        path: the rows as `Deriver.derive` put them aside.
        valid: by root, whether its rows are the last derived of it.
        told: hears of groups written.

    Returns how many groups and facts there were, and the highest number of a group.
    """
    held: dict[str, list[bytes]] = {table: [] for table in DERIVED}
    sizes, written = dict.fromkeys(DERIVED, 0), dict.fromkeys(DERIVED, 0)
    groups = highest = new = 0
    with connection.transaction(), connection.cursor() as cursor:
        statements: Mapping[str, str] = {
            table: FACT if table == "fact" else columns_of(cursor, generation.schema, table).statement
            for table in DERIVED
        }

        def flush(table: str) -> None:
            if held[table]:
                rows = (BEGIN, *held[table], END) if table == "fact" else held[table]
                send(cursor, statements[table], b"".join(rows))
                written[table] += cursor.rowcount
                held[table].clear()
                sizes[table] = 0

        for frame in frames(path):
            root, number, tables = marshal.loads(frame)
            if not valid(root):
                continue
            groups, highest, new = groups + 1, max(highest, number), new + 1
            for table, lines in tables.items():
                held[table].append(lines)
                sizes[table] += len(lines)
                if sizes[table] > HELD:
                    flush(table)
            if new == 1000:
                told(new)
                new = 0
        for table in DERIVED:
            flush(table)
    told(new)
    return groups, written["fact"], highest
