"""Statements sent without waiting: whose rows come when, and that an error is not passed over."""

from collections.abc import Iterator

import psycopg
import pytest

from dosestream.db.pipeline import transaction

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


def test_rows_that_are_here_are_fetched_while_later_statements_are_under_way(connection: Connection) -> None:
    with transaction(connection) as cursor:
        early = cursor.ask("SELECT 1")
        late = cursor.ask("SELECT 2")
        assert early.fetchall() == [(1,)]
        cursor.execute("SET LOCAL statement_timeout = '1s'")
        cursor.execute("SELECT pg_sleep(60)")
        assert late.fetchall() == [(2,)]
        with pytest.raises(psycopg.errors.QueryCanceled):
            cursor.fetchall()
        raise psycopg.Rollback


def test_an_error_shows_at_the_latest_when_it_would_commit(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), transaction(connection) as cursor:
        cursor.ask("SELECT 1 / 0")
        cursor.execute("SELECT 1")
