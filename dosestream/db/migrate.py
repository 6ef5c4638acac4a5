"""The database made ready: schema steps applied in order, public views shown."""

import psycopg

from dosestream.db.generations import (
    REGISTRY,
    Generation,
    live_generation,
    migrate_tables,
    show,
    steps_of_later_releases,
)

# Any number: one migration at a time over all who might start one.
ADVISORY_LOCK = 0x646F7365


class DatabaseAwayError(Exception):
    """PostgreSQL did not answer: check the address and that it runs, then try again."""


def migrate(url: str) -> list[str]:
    """Bring the database at `url` up to this release; returns the names of the steps applied.

    One that a later release has expanded is left as it is: its views may have columns that ours would take away.

    Raises:
        DatabaseAwayError: no connection could be made.
    """
    try:
        connection = psycopg.connect(url)
    except psycopg.OperationalError as error:
        raise DatabaseAwayError(f"PostgreSQL cannot be reached: {error}") from error
    with connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        connection.execute(REGISTRY)
        generation = live_generation(connection)
        if generation is None:
            generation = Generation(1)
            connection.execute("INSERT INTO dosestream.generation (number, live) VALUES (1, true)")
            connection.execute("INSERT INTO dosestream.live_generation (number) VALUES (1)")
        if steps_of_later_releases(connection, generation):
            return []
        applied = migrate_tables(connection, generation)
        show(connection, generation)
    return applied
