"""Facts that were let go and brought back: the pointers to their snapshots, and the two transactions that
exchange one for the other.

`let_go` replaces the facts of groups by pointers, `recall` does the opposite; neither touches a derived row. A group
has either facts or pointers, never both: whoever derives it meets its pointers first (`facts.load`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import orjson
import psycopg
from psycopg import Connection, Cursor

from dosestream.db import facts
from dosestream.db.facts import CLASS_OF, WORDS, Filed
from dosestream.db.generations import Generation, enter
from dosestream.db.locking import Locks
from dosestream.db.pipeline import transaction
from dosestream.db.retention import standings
from dosestream.db.values import bigint_array, iso_time, text_array
from dosestream.events.codec import Codec
from dosestream.events.records import Decision, EntitySnapshot, Report, SnapshotFact
from dosestream.kafka.records import Pointer
from dosestream.kafka.topics import TOPICS
from dosestream.reconcile.reports import DIGEST
from dosestream.reconcile.retention import Limits, why_kept
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.snapshot import Fact, entity_of, fact_of, keys_of

Row = tuple[object, ...]
TOPIC_OF: Mapping[str, str] = {spec.schema: str(spec.name) for spec in TOPICS if spec.schema in CLASS_OF}


# Reads the snapshots of pointers; raises `ReadError` where the broker is away.
Fetch = Callable[[Sequence[Pointer]], Mapping[str, EntitySnapshot]]


@dataclass(frozen=True, slots=True)
class Stored:
    """The facts of one group, as the snapshot topic is to hold them.

    Attributes:
        kept: entity to its facts.
        receipts: event id to first receipt: what must still be so when the facts are let go.
        size: bytes of their records.
        nameless: one of them names nothing, so that no repeat of it would find the group.
        texts: the entities that a report's text is in.
    """

    group: int
    kept: Sequence[tuple[str, SnapshotFact]]
    receipts: Mapping[str, int]
    size: int
    nameless: bool
    texts: Collection[str]


@dataclass(frozen=True, slots=True)
class Written:
    """A snapshot in the topic, of one entity of a group."""

    group: int
    pointer: Pointer
    facts: int
    size: int
    texts: bool


def stored(cursor: Cursor[Row], codec: Codec, rules: Rules, groups: Collection[int]) -> list[Stored]:
    """The facts of these groups.

    Raises:
        MalformedRecordError, UnknownSchemaError: one of them cannot be read; such a group must stay.
    """
    cursor.execute(
        "SELECT f.grp, f.event_id, f.kind, f.received_at, f.value, CASE WHEN f.value IS NULL THEN f.header::text END, "
        'm.partition, m."offset", (extract(epoch FROM m.applied_at) * 1000000)::bigint '
        "FROM fact f LEFT JOIN message m USING (event_id) WHERE f.grp = ANY(%s::bigint[]) ORDER BY f.grp, f.event_id",
        (bigint_array(groups),),
    )
    found: dict[int, list[tuple[Fact, SnapshotFact]]] = {}
    for (
        number,
        event_id,
        kind,
        received_at,
        value,
        header,
        partition,
        offset,
        applied_at,
    ) in cursor.fetchall():
        kept = SnapshotFact(
            event_id=str(event_id),
            kind=str(kind),
            received_at=int(str(received_at)),
            value=bytes(cast(bytes, value))
            if value is not None
            else _from_header(codec, str(kind), str(header)),
            partition=-1 if partition is None else int(str(partition)),
            offset=-1 if offset is None else int(str(offset)),
            applied_at=0 if applied_at is None else int(str(applied_at)),
        )
        found.setdefault(int(str(number)), []).append((fact_of(kept, codec), kept))
    return [_stored(group, those, rules) for group, those in found.items()]


def _stored(group: int, those: Iterable[tuple[Fact, SnapshotFact]], rules: Rules) -> Stored:
    named = [(fact, keys_of(fact, rules), kept) for fact, kept in those]
    return Stored(
        group=group,
        kept=[(entity_of(fact, keys), kept) for fact, keys, kept in named],
        receipts={kept.event_id: kept.received_at for _, _, kept in named},
        size=sum(len(kept.value) for _, _, kept in named),
        nameless=any(not keys for _, keys, _ in named),
        texts={entity_of(fact, keys) for fact, keys, _ in named if _has_text(fact)},
    )


def _has_text(fact: Fact) -> bool:
    return isinstance(fact, Report) and bool(fact.text) and not fact.text.startswith(DIGEST)


def _from_header(codec: Codec, kind: str, header: str) -> bytes:
    """The record of a fact whose own was let go: a report with a digest in place of its text."""
    datum = orjson.loads(header)
    datum.pop(WORDS, None)
    return codec.encode(CLASS_OF[kind].from_datum(datum))


def pointed(cursor: Cursor[Row], entities: Collection[str]) -> set[str]:
    """Which of these entities have a snapshot that counts."""
    cursor.execute("SELECT entity FROM snapshot WHERE entity = ANY(%s::text[])", (text_array(entities),))
    return {str(row[0]) for row in cursor.fetchall()}


def let_go(
    cursor: Cursor[Row], groups: Mapping[int, Stored], written: Sequence[Written], limits: Limits
) -> dict[int, int]:
    """Replace the facts of groups by pointers to their snapshots, of those that nobody works on, that have the very
    facts that were written, and whose rows still let them go; returns how many facts went, by group. Part of the
    caller's transaction, which holds the groups' identifiers from here on.
    """
    free = _free(cursor, groups)
    cursor.execute(
        "SELECT grp, event_id, received_at FROM fact WHERE grp = ANY(%s::bigint[])", (bigint_array(free),)
    )
    now: dict[int, dict[str, int]] = {}
    for group, event_id, received_at in cursor.fetchall():
        now.setdefault(int(str(group)), {})[str(event_id)] = int(str(received_at))
    same = [group for group in free if now.get(group) == groups[group].receipts]
    newest = {
        group: standing.newest
        for group, standing in standings(cursor, same).items()
        if why_kept(standing, limits) is None
    }
    cursor.execute("DELETE FROM fact WHERE grp = ANY(%s::bigint[])", (bigint_array(newest),))
    rows = [one for one in written if one.group in newest]
    cursor.execute(
        'INSERT INTO snapshot (entity, grp, partition, "offset", facts, bytes, texts, newest) SELECT * FROM '
        "unnest(%s::text[], %s::bigint[], %s::int[], %s::bigint[], %s::int[], %s::int[], %s::boolean[], %s::bigint[])",
        (
            text_array(one.pointer.entity for one in rows),
            bigint_array(one.group for one in rows),
            [one.pointer.partition for one in rows],
            bigint_array(one.pointer.offset for one in rows),
            [one.facts for one in rows],
            [one.size for one in rows],
            [one.texts for one in rows],
            bigint_array(newest[one.group] for one in rows),
        ),
    )
    return {group: len(groups[group].receipts) for group in newest}


def _free(cursor: Cursor[Row], groups: Collection[int]) -> list[int]:
    """Those of the groups all of whose identifiers could be locked at once."""
    wanted = bigint_array(groups)
    cursor.execute(
        "SELECT grp FROM identifier WHERE grp = ANY(%s::bigint[]) ORDER BY key FOR UPDATE SKIP LOCKED",
        (wanted,),
    )
    locked = Counter(int(str(row[0])) for row in cursor.fetchall())
    cursor.execute(
        "SELECT grp, count(*) FROM identifier WHERE grp = ANY(%s::bigint[]) GROUP BY grp", (wanted,)
    )
    return [group for group, count in map(_pair, cursor.fetchall()) if locked[group] == count]


def _pair(row: Row) -> tuple[int, int]:
    one, other = row
    return int(str(one)), int(str(other))


def recall(
    connection: Connection[Row],
    codec: Codec,
    entities: Collection[str],
    fetch: Fetch,
    generation: Generation | None = None,
) -> int:
    """Bring the facts of these entities back, with all of the groups they are of; returns how many facts. No row
    changes: afterwards the groups are as they were before their facts were let go. What is back already is left.

    Raises:
        ReadError: the broker is away; try again.
        MalformedRecordError, UnknownSchemaError: a snapshot cannot be read; nothing was brought back.
    """
    with connection.transaction(), connection.cursor() as cursor:
        enter(cursor, generation)
        wanted = _pointers(cursor, entities)
    if not wanted:
        return 0
    # Read before anything is locked.
    found = fetch(list(wanted))
    while True:
        try:
            with transaction(connection) as cursor:
                enter(cursor, generation)
                return _bring_back(cursor, codec, wanted, found)
        except psycopg.errors.DeadlockDetected:
            continue


def _pointers(cursor: Cursor[Row], entities: Collection[str]) -> dict[Pointer, int]:
    """The pointers of every group that one of the entities is of, each with its group."""
    cursor.execute(
        'SELECT entity, partition, "offset", grp FROM snapshot WHERE grp IN '
        "(SELECT grp FROM snapshot WHERE entity = ANY(%s::text[]))",
        (text_array(entities),),
    )
    return {
        Pointer(str(entity), int(str(partition)), int(str(offset))): int(str(group))
        for entity, partition, offset, group in cursor.fetchall()
    }


def _bring_back(
    cursor: Cursor[Row], codec: Codec, wanted: Mapping[Pointer, int], found: Mapping[str, EntitySnapshot]
) -> int:
    facts_of = {
        one.event_id: fact_of(one, codec) for pointer in wanted for one in found[pointer.entity].facts
    }
    # The index before the identifiers, as whoever hears these messages again just now: nobody waits in a circle.
    # Of those that turn out to be back, or to have been written anew, the rows are or may be there.
    _index(
        cursor, [(one, facts_of[one.event_id]) for pointer in wanted for one in found[pointer.entity].facts]
    )
    cursor.execute(
        "SELECT key FROM identifier WHERE grp = ANY(%s::bigint[])", (bigint_array(set(wanted.values())),)
    )
    Locks(cursor).take({str(row[0]) for row in cursor.fetchall()})
    # As they are now that they are locked: another worker may have been here.
    now = _pointers(cursor, [pointer.entity for pointer in wanted])
    back = {pointer: group for pointer, group in now.items() if pointer in wanted}
    kept = [(group, one) for pointer, group in back.items() for one in found[pointer.entity].facts]
    if not kept:
        return 0
    _move_home(cursor, {one.event_id: group for group, one in kept})
    filed = [Filed(facts_of[one.event_id], (), one.value) for _, one in kept]
    facts.store(cursor, filed, {one.event_id: group for group, one in kept})
    cursor.execute(
        "DELETE FROM snapshot WHERE entity = ANY(%s::text[])",
        (text_array(pointer.entity for pointer in back),),
    )
    return len(kept)


def _move_home(cursor: Cursor[Row], home: Mapping[str, int]) -> None:
    """Facts that were heard again meanwhile under other rules, and filed elsewhere, go where they were."""
    cursor.execute(
        "WITH n AS (SELECT * FROM unnest(%s::text[], %s::bigint[]) AS n (event_id, grp)), "
        "old AS (SELECT f.event_id, f.grp FROM fact f JOIN n USING (event_id) WHERE f.grp <> n.grp), "
        "moved AS (UPDATE fact f SET grp = n.grp FROM n WHERE f.event_id = n.event_id AND f.grp <> n.grp) "
        "INSERT INTO dirty SELECT DISTINCT grp FROM old ORDER BY grp ON CONFLICT DO NOTHING",
        (text_array(home), bigint_array(home.values())),
    )


def _index(cursor: Cursor[Row], kept: Sequence[tuple[SnapshotFact, Fact]]) -> None:
    """The rows of the message index that went with the facts. A decision has none."""
    rows = [(one, fact) for one, fact in kept if not isinstance(fact, Decision)]
    rows.sort(key=lambda row: row[0].event_id)
    cursor.execute(
        'INSERT INTO message (event_id, topic, partition, "offset", source, control_id, message_type, received_at, '
        "applied_at) SELECT * FROM unnest(%s::text[], %s::text[], %s::int[], %s::bigint[], %s::text[], %s::text[], "
        "%s::text[], %s::timestamptz[], %s::timestamptz[]) ON CONFLICT (event_id) DO UPDATE "
        "SET received_at = excluded.received_at WHERE excluded.received_at < message.received_at",
        (
            text_array(one.event_id for one, _ in rows),
            text_array(TOPIC_OF[one.kind] for one, _ in rows),
            [one.partition for one, _ in rows],
            bigint_array(one.offset for one, _ in rows),
            text_array(fact.source for _, fact in rows),
            text_array(fact.control_id for _, fact in rows),
            text_array(fact.message_type for _, fact in rows),
            text_array(iso_time(one.received_at) for one, _ in rows),
            text_array(iso_time(one.applied_at) for one, _ in rows),
        ),
    )


def with_old_texts(cursor: Cursor[Row], before: int, limit: int) -> list[str]:
    """Some entities that were let go with reports' texts, of groups older than a time (microseconds since 1970)."""
    cursor.execute("SELECT entity FROM snapshot WHERE texts AND newest < %s LIMIT %s", (before, limit))
    return [str(row[0]) for row in cursor.fetchall()]
