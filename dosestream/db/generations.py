"""Generations: the dose database is a view of the topics, kept in tables that a replay can build anew.

Each generation has a schema of its own, `dosestream_g<N>`; the public views of schema `dose` show the live one.
"""

from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg import sql

VIEWS = "dose"
# What makes the views, in this order.
VIEW_FILES = ("views.sql", "knowledge.sql")
REGISTRY = """
CREATE SCHEMA IF NOT EXISTS dosestream;
CREATE TABLE IF NOT EXISTS dosestream.generation (
    number integer PRIMARY KEY,
    live boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX IF NOT EXISTS one_live_generation ON dosestream.generation (live) WHERE live;
"""


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of tables."""

    number: int

    @property
    def schema(self) -> str:
        """The schema its tables live in."""
        return f"dosestream_g{self.number}"


def live_generation(connection: psycopg.Connection[tuple[object, ...]]) -> Generation | None:
    """The generation that the public views show, None before the first migration."""
    row = connection.execute("SELECT to_regclass('dosestream.generation') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    found = connection.execute("SELECT number FROM dosestream.generation WHERE live").fetchone()
    return None if found is None else Generation(int(str(found[0])))


def migrate_tables(connection: psycopg.Connection[tuple[object, ...]], generation: Generation) -> list[str]:
    """Bring a generation's tables up to this release; returns the names of the steps applied."""
    schema = sql.Identifier(generation.schema)
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(schema))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
    )
    done = {str(row[0]) for row in connection.execute("SELECT name FROM migration")}
    applied = []
    steps = sorted(
        (
            step
            for step in files("dosestream.db").joinpath("migrations").iterdir()
            if step.name.endswith(".sql")
        ),
        key=lambda step: step.name,
    )
    for step in steps:
        if step.name not in done:
            connection.execute(step.read_text(encoding="utf-8").encode())
            connection.execute("INSERT INTO migration (name) VALUES (%s)", (step.name,))
            applied.append(step.name)
    return applied


def show(
    connection: psycopg.Connection[tuple[object, ...]], generation: Generation, views: str = VIEWS
) -> None:
    """Make the public views in schema `views` show a generation; grants and others' views live on."""
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(views)))
    for name in VIEW_FILES:
        text = files("dosestream.db").joinpath(name).read_text(encoding="utf-8")
        connection.execute(text.replace("{views}", views).replace("{tables}", generation.schema).encode())
