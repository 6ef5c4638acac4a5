"""Generations: the dose database is a view of the topics, kept in tables that a replay can build anew.

Each generation has a schema of its own, `dosestream_g<N>`; the public views of schema `dose` show the live one.
`dosestream.live_generation` says which that is. Its one row never stops being one: whoever waited for it while the
generations were swapped finds the new one in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable

import orjson
import psycopg
from psycopg import Cursor, sql

from dosestream.db.origin import NEXT_VIEWS as NEXT_VIEWS
from dosestream.db.origin import Origin as Origin
from dosestream.kafka.records import Partition

Row = tuple[object, ...]
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
DO $$
BEGIN
    IF to_regclass('dosestream.live_generation') IS NULL THEN
        -- origin: what it was built from; until: receipt times beyond it were left out, microseconds since 1970 UTC;
        -- stops: offsets at which the building ends, ledger: where applying goes on from there; basis: digest of what it
        -- is built with; views: the schema that shows it beside dose.
        ALTER TABLE dosestream.generation
            ADD COLUMN state text NOT NULL DEFAULT 'live',
            ADD COLUMN origin text NOT NULL DEFAULT 'normalised',
            ADD COLUMN until bigint,
            ADD COLUMN stops jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN ledger jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN basis text NOT NULL DEFAULT '',
            ADD COLUMN views text;
        CREATE TABLE dosestream.live_generation (
            single boolean PRIMARY KEY DEFAULT true CHECK (single),
            number integer NOT NULL
        );
        INSERT INTO dosestream.live_generation (number) SELECT number FROM dosestream.generation WHERE live;
    END IF;
END $$;
"""
# Evaluated again on the row as it is once a swap it waited for is over.
ENTER_LIVE = "SELECT set_config('search_path', 'dosestream_g' || number, true) FROM dosestream.live_generation FOR SHARE"
ENTER = (
    "SELECT set_config('search_path', 'dosestream_g' || number, true) FROM dosestream.generation "
    "WHERE number = %s FOR SHARE"
)


class State(StrEnum):
    """How far a generation has come."""

    BUILDING = "building"
    BUILT = "built"
    CAUGHT_UP = "caught_up"
    LIVE = "live"
    OLD = "old"


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of tables."""

    number: int

    @property
    def schema(self) -> str:
        """The schema its tables live in."""
        return f"dosestream_g{self.number}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A generation as the registry has it.

    Attributes:
        until: receipt times beyond it were left out, microseconds since 1970 UTC; None where nothing was.
        stops: the offsets at which its building ends; `ledger`: the positions from which applying goes on.
        basis: digest of the configuration it is built with.
        views: the schema whose views show it beside `dose`, None where none does.
    """

    generation: Generation
    state: State
    origin: Origin
    until: int | None = None
    stops: Mapping[Partition, int] = field(default_factory=dict)
    ledger: Mapping[Partition, int] = field(default_factory=dict)
    basis: str = ""
    views: str | None = None


def enter(cursor: Cursor[Row], generation: Generation | None = None) -> None:
    """Work on a generation's tables, and hold it to the end of the transaction: on the live one where none is
    named, which a swap waits for."""
    if generation is None:
        cursor.execute(ENTER_LIVE)
    else:
        cursor.execute(ENTER, (generation.number,))


def live_generation(connection: psycopg.Connection[Row]) -> Generation | None:
    """The generation that the public views show, None before the first migration."""
    row = connection.execute("SELECT to_regclass('dosestream.generation') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    found = connection.execute("SELECT number FROM dosestream.generation WHERE live").fetchone()
    return None if found is None else Generation(int(str(found[0])))


def entries(connection: psycopg.Connection[Row]) -> list[Entry]:
    """All generations, the oldest first."""
    rows = connection.execute(
        "SELECT number, state, origin, until, stops::text, ledger::text, basis, views FROM dosestream.generation ORDER BY number"
    )
    return [
        Entry(
            Generation(int(str(number))),
            State(str(state)),
            Origin(str(origin)),
            None if until is None else int(str(until)),
            _offsets(str(stops)),
            _offsets(str(ledger)),
            str(basis),
            None if views is None else str(views),
        )
        for number, state, origin, until, stops, ledger, basis, views in rows
    ]


def _offsets(text: str) -> dict[Partition, int]:
    return {
        Partition(topic, int(number)): int(offset)
        for topic, offsets in orjson.loads(text).items()
        for number, offset in offsets.items()
    }


def _offsets_text(offsets: Mapping[Partition, int]) -> str:
    found: dict[str, dict[str, int]] = {}
    for partition, offset in sorted(offsets.items()):
        found.setdefault(partition.topic, {})[str(partition.number)] = offset
    return orjson.dumps(found).decode()


def create(
    connection: psycopg.Connection[Row],
    origin: Origin,
    stops: Mapping[Partition, int],
    ledger: Mapping[Partition, int],
    until: int | None,
    basis: str,
) -> Entry:
    """Register a new generation and make its tables, empty."""
    row = connection.execute(
        "INSERT INTO dosestream.generation (number, live, state, origin, until, stops, ledger, basis) "
        "SELECT max(number) + 1, false, %s, %s, %s, %s::jsonb, %s::jsonb, %s FROM dosestream.generation RETURNING number",
        (State.BUILDING, origin, until, _offsets_text(stops), _offsets_text(ledger), basis),
    ).fetchone()
    assert row is not None
    generation = Generation(int(str(row[0])))
    migrate_tables(connection, generation)
    return Entry(generation, State.BUILDING, origin, until, dict(stops), dict(ledger), basis)


def set_state(connection: psycopg.Connection[Row], generation: Generation, state: State) -> None:
    """Note how far a generation has come."""
    connection.execute(
        "UPDATE dosestream.generation SET state = %s WHERE number = %s", (state, generation.number)
    )


def drop(connection: psycopg.Connection[Row], entry: Entry) -> None:
    """Take a generation's tables, its views beside `dose` and its registration away.

    Raises:
        psycopg.errors.LockNotAvailable: somebody reads it, where the connection has a `lock_timeout`.
    """
    with connection.transaction():
        if entry.views is not None:
            connection.execute(
                sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(entry.views))
            )
        connection.execute(
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(entry.generation.schema))
        )
        connection.execute("DELETE FROM dosestream.generation WHERE number = %s", (entry.generation.number,))


def make_live(connection: psycopg.Connection[Row], generation: Generation) -> None:
    """Show another generation in `dose`; the one before it is old. Part of the caller's transaction, which holds
    `dosestream.live_generation` FOR UPDATE."""
    connection.execute("UPDATE dosestream.generation SET live = false, state = 'old' WHERE live")
    connection.execute(
        "UPDATE dosestream.generation SET live = true, state = 'live' WHERE number = %s", (generation.number,)
    )
    connection.execute("UPDATE dosestream.live_generation SET number = %s", (generation.number,))
    show(connection, generation)


SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
OURS = re.compile(r"dose|dosestream(_g[0-9]+)?|public|information_schema|pg_.*")


def mistake_in(views: str) -> str:
    """What is wrong with a name for a schema of views; empty where nothing is."""
    if not SCHEMA_NAME.fullmatch(views):
        return "small letters, digits and _ only, and no digit first"
    return "the name of a schema that is there for something else" if OURS.fullmatch(views) else ""


def schema_exists(connection: psycopg.Connection[Row], name: str) -> bool:
    """Whether there is a schema of this name."""
    return bool(connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)).fetchall())


def show_beside(connection: psycopg.Connection[Row], generation: Generation, views: str) -> None:
    """Show a generation in a schema of its own. `dose_next` is replaced, with all that was built on it."""
    with connection.transaction():
        connection.execute("UPDATE dosestream.generation SET views = NULL WHERE views = %s", (views,))
        if views == NEXT_VIEWS:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(views)))
        show(connection, generation, views)
        connection.execute(
            "UPDATE dosestream.generation SET views = %s WHERE number = %s", (views, generation.number)
        )


def steps() -> list[Traversable]:
    """The steps of this release, in their order."""
    found = files("dosestream.db").joinpath("migrations").iterdir()
    return sorted((step for step in found if step.name.endswith(".sql")), key=lambda step: step.name)


def steps_of_later_releases(connection: psycopg.Connection[Row], generation: Generation) -> list[str]:
    """Names of steps that a generation has and this release does not know."""
    table = f"{generation.schema}.migration"
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    if row is None or not row[0]:
        return []
    known = [step.name for step in steps()]
    found = connection.execute(
        sql.SQL("SELECT name FROM {}.migration WHERE name <> ALL(%s) ORDER BY name").format(
            sql.Identifier(generation.schema)
        ),
        (known,),
    )
    return [str(name) for (name,) in found]


def migrate_tables(connection: psycopg.Connection[Row], generation: Generation) -> list[str]:
    """Bring a generation's tables up to this release; returns the names of the steps applied."""
    schema = sql.Identifier(generation.schema)
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(schema))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
    )
    done = {str(row[0]) for row in connection.execute("SELECT name FROM migration")}
    applied = []
    for step in steps():
        if step.name not in done:
            connection.execute(step.read_text(encoding="utf-8").encode())
            connection.execute("INSERT INTO migration (name) VALUES (%s)", (step.name,))
            applied.append(step.name)
    return applied


def show(connection: psycopg.Connection[Row], generation: Generation, views: str = VIEWS) -> None:
    """Make the public views in schema `views` show a generation; grants and others' views live on."""
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(views)))
    for name in VIEW_FILES:
        text = files("dosestream.db").joinpath(name).read_text(encoding="utf-8")
        connection.execute(text.replace("{views}", views).replace("{tables}", generation.schema).encode())
