"""The dose database held against the true answer."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dosestream.simulate.truth import Line, Value

Row = Mapping[str, object]


class Difference(NamedTuple):
    """One cell that is not as the truth says; `column` is `row` where a whole row is missing or too many."""

    key: str
    column: str
    expected: Value
    found: object

    def __str__(self) -> str:
        return f"{self.key}: {self.column} is {self.found!r}, but the truth is {self.expected!r}"


class Kind(NamedTuple):
    """How the lines of one kind are found among the rows of a view.

    Attributes:
        view: name of the public view.
        names: columns a row is found by, the surest first: the first of them that the line values must agree.
        exclusive: every row that shares one of `names` with the truth must be one of its lines.
        narrow: columns that tell rows of one name apart: two hospitals may give one number.
    """

    view: str
    names: tuple[str, ...]
    exclusive: bool
    narrow: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "study": Kind("study", ("study_instance_uid",), True),
    "order": Kind(
        "imaging_order",
        ("accession_number", "filler_order_number", "placer_order_number"),
        True,
        ("filler_order_number", "placer_order_number"),
    ),
    "patient": Kind("patient", ("patient_id",), False, ("patient_authority",)),
    "report": Kind(
        "report",
        ("accession_number", "study_instance_uid"),
        True,
        ("study_instance_uid", "text_sha256"),
    ),
}


def compare(url: str, lines: Iterable[Line], schema: str = "dose") -> list[Difference]:
    """Every difference between the truth and the public views, empty where they agree.

    Args:
        url: of the dose database.
        lines: of `truth.jsonl`. Only rows that share an identifier with them are looked at.
        schema: where the views are: `dose`, or a generation that is not shown yet.

    Raises:
        psycopg.OperationalError: the database is away.
    """
    lines = list(lines)
    found: list[Difference] = []
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for name, kind in KINDS.items():
            wanted = [line for line in lines if line["kind"] == name]
            found += differences(kind, wanted, _rows(connection, schema, kind, wanted))
    return found


def _rows(
    connection: psycopg.Connection[dict[str, object]], schema: str, kind: Kind, lines: Sequence[Line]
) -> list[dict[str, object]]:
    """The rows of the view that share an identifier with any line."""
    values = {name: [line[name] for line in lines if line.get(name)] for name in kind.names}
    condition = sql.SQL(" OR ").join(
        sql.SQL("{} = ANY({})").format(sql.Identifier(name), sql.Placeholder(name)) for name in kind.names
    )
    query = sql.SQL("SELECT * FROM {} WHERE {}").format(sql.Identifier(schema, kind.view), condition)
    return [_digested(row) for row in connection.execute(query, values).fetchall()]


def _digested(row: dict[str, object]) -> dict[str, object]:
    """The truth gives the hash of a report's text."""
    if isinstance(text := row.get("text"), str):
        row["text_sha256"] = sha256(text.encode()).hexdigest()
    return row


def differences(kind: Kind, lines: Sequence[Line], rows: Sequence[Row]) -> list[Difference]:
    """The pure part of `compare`, for one kind."""
    found: list[Difference] = []
    taken: set[int] = set()
    index: dict[tuple[str, object], list[int]] = {}
    for number, row in enumerate(rows):
        for name in kind.names:
            index.setdefault((name, row[name]), []).append(number)
    for line in lines:
        name = next(name for name in kind.names if line.get(name) is not None)
        key = f"{kind.view} {line[name]}"
        numbers = index.get((name, line[name]), [])
        if len(numbers) > 1:
            alike = [n for n in numbers if all(rows[n].get(c) == line[c] for c in kind.narrow if c in line)]
            numbers = alike if len(alike) == 1 else numbers
        taken.update(numbers)
        if not numbers:
            found.append(Difference(key, "row", "one row", "none"))
        elif len(numbers) > 1:
            found.append(Difference(key, "row", "one row", f"{len(numbers)} rows"))
        else:
            found += _cells(key, line, rows[numbers[0]])
    if kind.exclusive:
        for number in sorted(set(range(len(rows))) - taken):
            names = {name: rows[number][name] for name in kind.names if rows[number][name] is not None}
            found.append(Difference(f"{kind.view} {names}", "row", "no such row", "one"))
    return found


def _cells(key: str, line: Line, row: Row) -> list[Difference]:
    return [
        Difference(key, column, expected, row[column])
        for column, expected in line.items()
        if column != "kind" and not _equal(expected, row[column])
    ]


def _equal(expected: Value, found: object) -> bool:
    if isinstance(found, date):
        found = found.isoformat()
    if isinstance(found, Decimal):
        found = float(found)
    if isinstance(expected, float) and isinstance(found, int | float):
        return math.isclose(expected, found, rel_tol=1e-6, abs_tol=1e-12)
    return expected == found
