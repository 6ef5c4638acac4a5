"""Two generations held against each other: which rows differ, in which columns, and why.

Compared is what the public views show. A study whose rows differ is explained by its facts: those that only one
generation has, those that say something else (their messages were mapped otherwise), those that are connected
otherwise; else by other rules, by what is known of the patient, or by derivation itself.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, Final

from psycopg import Connection, sql

from dosestream.db.digest import NOT_CONTENT, ONLY, digest
from dosestream.db.explain import PATIENT_COLUMNS, FactDifferences, explain
from dosestream.db.generations import Generation
from dosestream.events.codec import Codec

Row = tuple[object, ...]

# What a row of each table is known by.
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "study": ("study_instance_uid",),
    "study_order": ("study_instance_uid", "row_key"),
    "dose_total": ("study_instance_uid",),
    "irradiation_event": ("study_instance_uid", "irradiation_event_uid"),
    "xray_source": ("study_instance_uid", "irradiation_event_uid", "number"),
    "dose_check": ("study_instance_uid", "irradiation_event_uid", "number"),
    "administration": ("study_instance_uid", "number"),
    "organ_dose": ("study_instance_uid", "number"),
    "unread": ("study_instance_uid",),
    "imaging_order": ("row_key",),
    "scheduled_step": ("row_key", "step_key"),
    "report": ("report_key",),
    "patient": ("patient_authority", "patient_id"),
    "alert": ("study_instance_uid", "kind"),
    "anomaly": ("kind", "subject"),
    "source": ("source",),
    "quarantine": ("topic", "partition", "offset"),
    "message": ("event_id",),
}
# Columns that are no content of a row, beside those that never are.
LEFT_OUT: Final[Mapping[str, frozenset[str]]] = {
    "patient": frozenset({"fold"}),
    # Where it was read differs when it was read again from the raw topics.
    "message": frozenset({"topic", "partition", "offset"}),
}
NEVER: Final = NOT_CONTENT | {"content_hash", "rules_hash"}
# Columns of studies whose values are counted by what they were and what they are: few, and about no person.
COUNTED: Final = ("link_state", "link_method", "phase", "order_status", "excluded")
TOGETHER: Final = 200
FETCHED: Final = 2000


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs of one key of one table.

    Attributes:
        only: `live` or `next` where the other has no such row; else empty.
        columns: name to the live and the new value; where a key has several rows, `rows` to both lists.
        facts: of a study, what its facts say of it; else None.
        why: of a study, in words.
    """

    table: str
    key: Mapping[str, Any]
    only: str
    columns: Mapping[str, tuple[Any, Any]]
    facts: FactDifferences | None = None
    why: tuple[str, ...] = ()

    def line(self) -> dict[str, Any]:
        """The difference as a line of the report, JSON values."""
        out: dict[str, Any] = {"table": self.table, "key": dict(self.key)}
        if self.only:
            out["only"] = self.only
        if self.columns:
            out["columns"] = {name: {"live": a, "next": b} for name, (a, b) in self.columns.items()}
        if self.why:
            out["why"] = list(self.why)
        if self.facts is not None:
            out["facts"] = self.facts.line()
        return out


@dataclass(frozen=True, slots=True)
class TableCount:
    """Rows of a table in both generations, and how many keys differ."""

    table: str
    live: int
    next: int
    differing: int


@dataclass(slots=True)
class Comparison:
    """What a comparison found, counted.

    Attributes:
        tables: every table compared.
        columns: of studies that differ, how often each column does.
        changes: column, live and new value to how many studies changed so.
        reasons: why studies differ, to how many.
        other_rules: studies of the same content that were derived with other rules.
        examples: some of the studies that differ.
    """

    tables: list[TableCount] = field(default_factory=list)
    columns: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    other_rules: int = 0
    examples: list[Difference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether the public rows are the same."""
        return not any(one.differing for one in self.tables)


def compare(
    connection: Connection[Row],
    live: Generation,
    new: Generation,
    codec: Codec,
    found: Comparison,
    examples: int = 10,
) -> Iterator[Difference]:
    """Every difference, table by table; `found` is complete when all were taken.

    Args:
        connection: in a transaction that sees both generations at one moment: REPEATABLE READ.
        live, new: the generations.
        codec: reads the facts of both.
        found: counted into.
        examples: how many studies that differ are kept in it.
    """
    digests = digest(connection, live), digest(connection, new)
    for table, key in KEYS.items():
        one, other = (those.get(table) for those in digests)
        if one is None or other is None:
            continue
        differing = 0
        if one != other:
            rows = _differences(connection, live, new, table, key)
            if table == "study":
                rows = _explained(connection, live, new, codec, rows)
            for difference in rows:
                differing += 1
                if table == "study":
                    _count(found, difference, examples)
                yield difference
        found.tables.append(TableCount(table, one.rows, other.rows, differing))
    found.other_rules = _other_rules(connection, live, new)


def _count(found: Comparison, difference: Difference, examples: int) -> None:
    found.columns.update(difference.columns.keys() or [f"only in {difference.only}"])
    for name in COUNTED:
        if name in difference.columns:
            before, after = difference.columns[name]
            found.changes[name, str(before), str(after)] += 1
    found.reasons.update(difference.why)
    if len(found.examples) < examples:
        found.examples.append(difference)


def _differences(
    connection: Connection[Row], live: Generation, new: Generation, table: str, key: Sequence[str]
) -> Iterator[Difference]:
    names = [name for name in _columns(connection, live, table) if name in _columns(connection, new, table)]
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    sides = [
        sql.SQL(
            "SELECT {side} AS side, d.* FROM (SELECT {c} FROM {a} {w} EXCEPT ALL SELECT {c} FROM {b} {w}) d"
        ).format(
            side=sql.Literal(side),
            c=listed,
            w=sql.SQL(ONLY.get(table, "")),
            a=sql.Identifier(one.schema, table),
            b=sql.Identifier(other.schema, table),
        )
        for side, one, other in ((0, live, new), (1, new, live))
    ]
    ordered = sql.SQL(", ").join(map(sql.Identifier, (*key, "side")))
    query = sql.SQL("SELECT side, to_jsonb(x) - 'side' FROM ({} UNION ALL {}) x ORDER BY {}").format(
        *sides, ordered
    )
    with connection.cursor(name=f"differences_{table}") as cursor:
        cursor.itersize = FETCHED
        cursor.execute(query)

        def of(item: Row) -> tuple[Any, ...]:
            values: Any = item[1]
            return tuple(values[name] for name in key)

        for found, rows in groupby(cursor, of):
            yield _difference(table, dict(zip(key, found, strict=True)), list(rows))


def _difference(table: str, key: Mapping[str, Any], rows: Sequence[Row]) -> Difference:
    values: tuple[list[Any], list[Any]] = ([], [])
    for side, row in rows:
        values[int(str(side))].append(row)
    live, new = values
    if len(live) == 1 and len(new) == 1:
        one, other = live[0], new[0]
        columns = {name: (one[name], other[name]) for name in one if one[name] != other[name]}
        return Difference(table, key, "", columns)
    if live and new:
        return Difference(table, key, "", {"rows": (live, new)})
    return Difference(table, key, "live" if live else "next", {})


def _columns(connection: Connection[Row], generation: Generation, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum",
        (f"{generation.schema}.{table}",),
    ).fetchall()
    return [str(row[0]) for row in rows if row[0] not in NEVER | LEFT_OUT.get(table, frozenset())]


def _explained(
    connection: Connection[Row],
    live: Generation,
    new: Generation,
    codec: Codec,
    differences: Iterator[Difference],
) -> Iterator[Difference]:
    while some := list(islice(differences, TOGETHER)):
        uids = [str(one.key["study_instance_uid"]) for one in some]
        facts = explain(connection, live, new, codec, uids)
        for one, uid in zip(some, uids, strict=True):
            told = facts[uid]
            yield Difference(one.table, one.key, one.only, one.columns, told, _why(one, told))


def _why(difference: Difference, facts: FactDifferences) -> tuple[str, ...]:
    reasons = []
    if facts.only_live:
        reasons.append("facts that only the live generation has")
    if facts.only_next:
        reasons.append("facts that only the new generation has")
    fields = {name for one in facts.changed for name in one.fields}
    # Where a value was read from says less than the value, where that changed too.
    reasons += [f"messages mapped otherwise: {name}" for name in sorted(fields - {"paths"} or fields)]
    if facts.other_rules:
        reasons.append("other rules")
    if not reasons and difference.columns and difference.columns.keys() <= PATIENT_COLUMNS | {"evidence"}:
        reasons.append("what is known of the patient")
    if not reasons and facts.connected_otherwise:
        reasons.append("facts connected otherwise")
    return tuple(reasons) or ("derived otherwise",)


def _other_rules(connection: Connection[Row], live: Generation, new: Generation) -> int:
    query = sql.SQL(
        "SELECT count(*) FROM {} l JOIN {} n USING (study_instance_uid) "
        "WHERE l.content_hash = n.content_hash AND l.rules_hash <> n.rules_hash"
    ).format(sql.Identifier(live.schema, "study"), sql.Identifier(new.schema, "study"))
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(str(row[0]))
