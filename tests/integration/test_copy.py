"""COPY puts a row where `jsonb_populate_recordset` puts it: both are made from the same values."""

from collections.abc import Callable

import psycopg
import pytest

from dosestream.db.copy import columns_of, send
from dosestream.db.values import without_nul

ROWS: list[dict[str, object]] = [
    {},
    {"name": ""},
    {"name": "plain", "number": 7, "size": 1.5, "flag": True, "said": {"a": 1}, "many": ["x", "y"]},
    {"name": "tab\tline\nreturn\rback\\slash \\N \\. end", "flag": False, "many": []},
    {
        "name": "NUL\0here",
        "said": {"NUL\0": "in\0side"},
        "many": ["with\0NUL", 'quo"te', "back\\slash", "a,b", "{}"],
    },
    {"name": "Müller^Zoë 日本\u2028\x1f", "said": ["\t", "\\", '"', None, 1e300]},
    {"name": "numbers", "number": -(2**40), "size": 0.1 + 0.2, "at": "2026-03-02T08:00:00.000001+00:00"},
    {"name": "no number", "size": float("nan"), "said": {"size": float("inf")}},
    {"name": 5, "size": 3, "day": "1970-01-01"},
    {"name": True, "unknown column": "left out"},
]


@pytest.mark.parametrize("row", ROWS, ids=[str(n) for n in range(len(ROWS))])
def test_a_row_is_the_same_by_copy_and_by_json(
    fresh_database: Callable[[], str], row: dict[str, object]
) -> None:
    with psycopg.connect(fresh_database()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE thing (name text, number bigint, size double precision, flag boolean, said jsonb, "
            "many text[], at timestamptz, day date, made_at timestamptz DEFAULT clock_timestamp())"
        )
        columns = columns_of(cursor, "public", "thing")
        assert "made_at" not in columns.names
        send(cursor, columns.statement, columns.lines([row]))
        listed = ", ".join(columns.names)
        cursor.execute(
            f"SELECT ({listed})::text, (SELECT ROW({listed})::text FROM jsonb_populate_recordset(NULL::thing, %s::jsonb)) "
            "FROM thing",
            (without_nul([row]),),
        )
        ((copied, populated),) = cursor.fetchall()
        assert copied == populated
