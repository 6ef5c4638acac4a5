"""Why a study's row differs between two generations, as far as its facts tell."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from psycopg import Connection, sql

from dosestream.db.facts import CLASS_OF
from dosestream.db.generations import Generation
from dosestream.events.codec import Codec, MalformedRecordError

Row = tuple[object, ...]
PATIENT_COLUMNS: Final = frozenset(
    {
        "patient_authority",
        "patient_id",
        "patient_name",
        "patient_birth_date",
        "patient_sex",
        "merged_into_authority",
        "merged_into_id",
    }
)
# What an event says of its way here, not of its message: repeats differ in it.
ENVELOPE: Final = frozenset({"received_at", "raw_partition", "raw_offset"})


@dataclass(frozen=True, slots=True)
class FactName:
    """A fact as a person finds it again."""

    event_id: str
    kind: str
    source: str
    control_id: str
    message_type: str

    def line(self) -> dict[str, Any]:
        """JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class ChangedFact:
    """A fact that says something else: field to the live and the new value."""

    name: FactName
    fields: Mapping[str, tuple[Any, Any]]

    def line(self) -> dict[str, Any]:
        """JSON values."""
        told = {field: {"live": a, "next": b} for field, (a, b) in self.fields.items()}
        return {**self.name.line(), "fields": told}


@dataclass(frozen=True, slots=True)
class FactDifferences:
    """How the facts of a study's group differ; `connected_otherwise`: facts that are the same, but of the group in
    one generation only."""

    only_live: tuple[FactName, ...] = ()
    only_next: tuple[FactName, ...] = ()
    changed: tuple[ChangedFact, ...] = ()
    connected_otherwise: int = 0
    other_rules: tuple[str, str] | None = None

    def line(self) -> dict[str, Any]:
        """JSON values."""
        out: dict[str, Any] = {
            "only_live": [one.line() for one in self.only_live],
            "only_next": [one.line() for one in self.only_next],
            "changed": [one.line() for one in self.changed],
            "connected_otherwise": self.connected_otherwise,
        }
        if self.other_rules is not None:
            out["rules_hash"] = dict(zip(("live", "next"), self.other_rules, strict=True))
        return out


@dataclass(frozen=True, slots=True)
class _Group:
    rules_hash: str
    facts: frozenset[str]


def explain(
    connection: Connection[Row], live: Generation, new: Generation, codec: Codec, uids: Sequence[str]
) -> dict[str, FactDifferences]:
    """What the facts of these studies' groups say of their differences, by study.

    Where cleanup took facts of the live generation away, they count as facts that only the new one has.
    """
    groups = _groups(connection, live, uids), _groups(connection, new, uids)
    ids = {event for those in groups for group in those.values() for event in group.facts}
    digests = _digests(connection, live, ids), _digests(connection, new, ids)
    suspect = {e for e in ids if e in digests[0] and e in digests[1] and digests[0][e] != digests[1][e]}
    changed = _changed(connection, live, new, codec, suspect)
    missing = _names(connection, live, ids - digests[1].keys()) | _names(
        connection, new, ids - digests[0].keys()
    )
    nothing = _Group("", frozenset())
    found = {}
    for uid in uids:
        one, other = (those.get(uid, nothing) for those in groups)
        both = sorted(one.facts | other.facts)
        moved = [
            e for e in one.facts ^ other.facts if e in digests[0] and e in digests[1] and e not in changed
        ]
        rules = (one.rules_hash, other.rules_hash)
        found[uid] = FactDifferences(
            tuple(missing[e] for e in both if e not in digests[1] and e in missing),
            tuple(missing[e] for e in both if e not in digests[0] and e in missing),
            tuple(changed[e] for e in both if e in changed),
            len(moved),
            rules if all(rules) and rules[0] != rules[1] else None,
        )
    return found


def _table(generation: Generation, name: str) -> sql.Identifier:
    return sql.Identifier(generation.schema, name)


def _groups(connection: Connection[Row], generation: Generation, uids: Sequence[str]) -> dict[str, _Group]:
    query = sql.SQL(
        "SELECT s.study_instance_uid, s.rules_hash, array_agg(f.event_id) FILTER (WHERE f.event_id IS NOT NULL) "
        "FROM {} s LEFT JOIN {} f ON f.grp = s.grp WHERE s.study_instance_uid = ANY(%s) GROUP BY 1, 2"
    ).format(_table(generation, "study"), _table(generation, "fact"))
    rows = connection.execute(query, (list(uids),)).fetchall()
    return {
        str(uid): _Group(str(rules), frozenset(cast("list[str]", events or [])))
        for uid, rules, events in rows
    }


def _digests(
    connection: Connection[Row], generation: Generation, ids: Collection[str]
) -> dict[str, str | None]:
    query = sql.SQL("SELECT event_id, md5(value) FROM {} WHERE event_id = ANY(%s)").format(
        _table(generation, "fact")
    )
    rows = connection.execute(query, (list(ids),)).fetchall()
    return {str(event_id): None if value is None else str(value) for event_id, value in rows}


def _names(connection: Connection[Row], generation: Generation, ids: Collection[str]) -> dict[str, FactName]:
    if not ids:
        return {}
    query = sql.SQL(
        "SELECT f.event_id, f.kind, coalesce(m.source, ''), coalesce(m.control_id, ''), coalesce(m.message_type, '') "
        "FROM {} f LEFT JOIN {} m USING (event_id) WHERE f.event_id = ANY(%s)"
    ).format(_table(generation, "fact"), _table(generation, "message"))
    rows = connection.execute(query, (list(ids),)).fetchall()
    return {str(row[0]): FactName(*map(str, row)) for row in rows}


def _changed(
    connection: Connection[Row], live: Generation, new: Generation, codec: Codec, ids: Collection[str]
) -> dict[str, ChangedFact]:
    if not ids:
        return {}
    names = _names(connection, new, ids)
    query = sql.SQL(
        "SELECT event_id, l.kind, l.value, n.value FROM {} l JOIN {} n USING (event_id) WHERE event_id = ANY(%s)"
    ).format(_table(live, "fact"), _table(new, "fact"))
    found = {}
    for event_id, kind, one, other in connection.execute(query, (list(ids),)).fetchall():
        values = [None if v is None else bytes(cast(bytes, v)) for v in (one, other)]
        if (fields := _fields(codec, str(kind), values)) and str(event_id) in names:
            found[str(event_id)] = ChangedFact(names[str(event_id)], fields)
    return found


def _fields(codec: Codec, kind: str, values: Sequence[bytes | None]) -> dict[str, tuple[Any, Any]]:
    """Which fields of an event differ, and how; none where bytes are not kept."""
    if None in values:
        return {}
    try:
        one, other = (codec.decode(value or b"", CLASS_OF[kind]).to_datum() for value in values)
    except MalformedRecordError:
        return {}
    return {
        name: (one[name], other[name]) for name in one if name not in ENVELOPE and one[name] != other[name]
    }
