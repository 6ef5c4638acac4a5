"""Statements sent without waiting: whose rows come when, and that an error is not passed over."""

import select
from collections.abc import Callable, Iterator

import psycopg
import pytest

from dosestream.db.pipeline import PipelineCursor, transaction

Connection = psycopg.Connection[tuple[object, ...]]
pytestmark = pytest.mark.stack


@pytest.fixture
def connection(postgres: str) -> Iterator[Connection]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


def test_what_is_asked_early_is_fetched_late_as_it_was_when_asked(connection: Connection) -> None:
    with transaction(connection) as cursor:
        cursor.execute("CREATE TEMP TABLE kept (n int) ON COMMIT DROP")
        cursor.execute("INSERT INTO kept VALUES (1)")
        first, second = cursor.ask("SELECT n FROM kept"), cursor.ask("SELECT n + %s FROM kept", (10,))
        cursor.execute("UPDATE kept SET n = 2")
        cursor.execute("SELECT n FROM kept")
        assert cursor.fetchall() == [(2,)]
        assert (second.fetchall(), first.fetchall()) == ([(11,)], [(1,)])


def rows(cursor: psycopg.Cursor[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return cursor.fetchall()


def row(cursor: psycopg.Cursor[tuple[object, ...]]) -> list[tuple[object, ...]]:
    found = cursor.fetchone()
    return [] if found is None else [found]


Fetch = Callable[[psycopg.Cursor[tuple[object, ...]]], list[tuple[object, ...]]]
ALL_OR_ONE = pytest.mark.parametrize("fetch", [rows, row], ids=["all", "one"])


@ALL_OR_ONE
def test_rows_that_are_here_are_fetched_while_later_statements_are_under_way(
    connection: Connection, fetch: Fetch
) -> None:
    with transaction(connection) as cursor:
        early = cursor.ask("SELECT 1")
        late = cursor.ask("SELECT 2")
        assert fetch(early) == [(1,)]
        cursor.execute("SET LOCAL statement_timeout = '1s'")
        cursor.execute("SELECT pg_sleep(60)")
        assert fetch(late) == [(2,)]
        with pytest.raises(psycopg.errors.QueryCanceled):
            fetch(cursor)
        raise psycopg.Rollback


@ALL_OR_ONE
def test_rows_are_those_of_the_last_statement_though_those_of_the_one_before_came_meanwhile(
    connection: Connection, fetch: Fetch
) -> None:
    with transaction(connection) as cursor:
        # So large that the server sends them unasked: the first's end, too, with the second's beginning.
        cursor.execute("SELECT repeat('x', 1000000)")
        cursor.execute("SELECT repeat('y', 1000000)")
        read_what_came(cursor)
        cursor.execute("SELECT 2")
        assert fetch(cursor) == [(2,)]


def read_what_came(cursor: PipelineCursor) -> None:
    """As libpq has it at any later statement, whenever the server's answer is there by then.

    What is left of an answer when a second has brought nothing is with the server, until a later statement asks for it.
    """
    server = cursor.connection.pgconn
    while server.is_busy() and select.select([server.socket], [], [], 1)[0]:
        server.consume_input()


def test_an_error_shows_at_the_latest_when_it_would_commit(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), transaction(connection) as cursor:
        cursor.ask("SELECT 1 / 0")
        cursor.execute("SELECT 1")
