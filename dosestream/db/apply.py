"""One batch of records into the dose database: facts, derived rows, outbox marks and the ledger together.

A crash at any point repeats no effect and loses nothing: the transaction is the unit, the ledger the truth.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg
from psycopg import Connection, Cursor

from dosestream.db import alerts, dose, facts, ledger, patients, reports, rows, sources
from dosestream.db.facts import AtHand, Fact, Filed
from dosestream.db.generations import Generation, enter
from dosestream.db.groups import file_facts, join
from dosestream.db.ledger import Hole
from dosestream.db.locking import Locks, RestartError
from dosestream.db.message_index import Message, note, note_ahead
from dosestream.db.pipeline import PipelineCursor, transaction
from dosestream.db.records import Decoded
from dosestream.db.values import EPOCH, bigint_array, iso_time, text_array
from dosestream.events.codec import Codec
from dosestream.events.records import Appointment, Clock, Decision, Order, Patient, Report, Study
from dosestream.reconcile.bonds import Bond, bonds_of
from dosestream.reconcile.connecting import KEYS
from dosestream.reconcile.derive import Group, derive, patients_named
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.patients import demographics_of
from dosestream.reconcile.rows import GroupRows
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.watermark import marks

Row = tuple[object, ...]
# Groups derived again in one transaction when a patient, the clock or the rules changed: an event behind it
# waits no longer than for these.
BOUNDED = 20


@dataclass(frozen=True, slots=True)
class Applied:
    """What a transaction did."""

    events: int = 0
    groups: int = 0
    studies_changed: int = 0
    quarantined: int = 0
    restarts: int = 0


@dataclass(slots=True)
class _Sorted:
    """A batch by what is done with each kind of event."""

    facts: list[Filed] = field(default_factory=list)
    said: dict[PatientId, Fold] = field(default_factory=dict)
    bonds: list[Bond] = field(default_factory=list)
    unreadable: list[Decoded] = field(default_factory=list)
    tick: int | None = None


class _Said(NamedTuple):
    """What one event says by itself."""

    folds: Sequence[tuple[PatientId, Fold]] = ()
    bonds: Sequence[Bond] = ()
    keys: Sequence[str] = ()


def _said(event: object, rules: Rules) -> _Said:
    return _Said(
        tuple(demographics_of(event, rules)) if isinstance(event, Patient | Order | Report) else (),
        tuple(bonds_of(event, rules)) if isinstance(event, Patient | Decision) else (),
        KEYS[type(event)](event, rules) if isinstance(event, Fact) else (),
    )


def _sort(heard: Iterable[tuple[Decoded, _Said]], fresh: Collection[str]) -> _Sorted:
    out = _Sorted()
    for item, said in heard:
        event = item.event
        if isinstance(event, Clock):
            out.tick = event.at if out.tick is None else max(out.tick, event.at)
            continue
        if event is None:
            out.unreadable.append(item)
            continue
        for identity, fold in said.folds:
            known = out.said.get(identity)
            out.said[identity] = fold if known is None else merge(known, fold)
        out.bonds += said.bonds
        # An order, a study or a report that names nothing is a group of its own.
        if isinstance(event, Fact) and (said.keys or not isinstance(event, Decision | Appointment)):
            out.facts.append(Filed(event, said.keys, item.record.value or b"", event.event_id in fresh))
    return out


def enter_live_generation(cursor: Cursor[Row]) -> None:
    """Work on the live generation's tables, and hold it: a swap waits for this transaction."""
    enter(cursor)


def apply(
    connection: Connection[Row],
    codec: Codec,
    rules: Rules,
    batch: Sequence[Decoded],
    covered: Collection[Hole] = (),
    generation: Generation | None = None,
) -> Applied:
    """Apply a batch in one transaction.

    Args:
        connection: to the dose database; no transaction may be open on it.
        batch: records of any partitions, ascending by offset in each; those below the ledger are dropped.
        covered: holes that were read and found closed.
        generation: whose tables; None for the live one's.

    Raises:
        HoleError: records before some of the batch were not read; nothing was applied.
        ForgottenError: facts of a group were let go; nothing was applied.
        psycopg.Error: the database is away or refused; nothing was applied.
    """
    keys: frozenset[str] = frozenset()
    restarts = 0
    while True:
        try:
            with transaction(connection) as cursor:
                enter(cursor, generation)
                done = _apply(cursor, codec, rules, batch, covered, keys)
            return Applied(done.events, done.groups, done.studies_changed, done.quarantined, restarts)
        except RestartError as restart:
            keys, restarts = restart.keys, restarts + 1
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            restarts += 1


def _apply(
    cursor: PipelineCursor,
    codec: Codec,
    rules: Rules,
    batch: Sequence[Decoded],
    covered: Collection[Hole],
    more_keys: frozenset[str],
) -> Applied:
    partitions = {item.record.partition for item in batch} | {hole.partition for hole in covered}
    due, positions = ledger.due(batch, ledger.lock(cursor, partitions), covered)
    noting = note(cursor, due)
    # Meanwhile: what each event says. Of a repeat it is asked again, as of its first receipt.
    said = [_said(item.event, rules) for item in due]
    heard, fresh = noting.heard()
    note_ahead(cursor, heard, rules)
    for number, (item, before) in enumerate(zip(heard, due, strict=True)):
        if item is not before:
            said[number] = _said(item.event, rules)
    work = _sort(zip(heard, said, strict=True), fresh)
    quarantine(cursor, work.unreadable)
    named = set(work.said) | {p for bond in work.bonds for p in bond.pair}
    locks = Locks(cursor)
    locks.take(
        more_keys
        | {key for fact in work.facts for key in fact.keys}
        | {patients.lock_key(p) for p in named | _named_alone(work.facts, rules)}
    )
    locks.members({group for group in locks.groups.values() if group is not None})
    groups, at_hand = file_facts(cursor, locks, work.facts)
    if work.tick is not None:
        _tick(cursor, work.tick)
    patients.store_bonds(cursor, work.bonds)
    known = patients.Known()
    # Read before the patients' rows are written: the server writes them while rows are derived here.
    now = _now(cursor)
    loaded = _load(cursor, locks, known, codec, rules, groups, at_hand)
    touched = patients.store_patients(cursor, locks, known, work.said, work.bonds, rules)
    derived, changed = _derive(cursor, locks, known, codec, rules, loaded, now, at_hand)
    ledger.advance(cursor, positions)
    _mark(cursor, touched, derived, work.tick is not None)
    sources.advance(cursor, marks(item.event for item in heard if isinstance(item.event, Message)), rules)
    return Applied(len(due), len(groups), changed, len(work.unreadable))


def _named_alone(filed: Iterable[Filed], rules: Rules) -> set[PatientId]:
    """Whom study arrivals name, and orders where these say nothing of patients: they are locked to derive."""
    spoken = [fact.event for fact in filed]
    orders = () if rules.orders_update_patients else tuple(e for e in spoken if isinstance(e, Order))
    return patients_named(Group(orders, tuple(e for e in spoken if isinstance(e, Study))), rules)


def _mark(cursor: Cursor[Row], touched: Collection[str], derived: Collection[int], ticked: bool) -> None:
    """Mark the groups that patients (by bare identifier) or the clock touched, those just derived apart. Late in a
    transaction and in one statement: others may wait for its marks, and it for theirs."""
    due = (
        "UNION SELECT grp FROM study WHERE next_due <= (SELECT at FROM clock) "
        "UNION SELECT grp FROM imaging_order WHERE next_due <= (SELECT at FROM clock) "
    )
    if touched or ticked:
        cursor.execute(
            "INSERT INTO dirty SELECT grp FROM (SELECT grp FROM patient_group WHERE bare = ANY(%s::text[]) "
            f"{due if ticked else ''}) g WHERE grp <> ALL(%s::bigint[]) "
            "GROUP BY grp ORDER BY grp ON CONFLICT DO NOTHING",
            (text_array(touched), bigint_array(derived)),
        )


def derive_dirty(
    connection: Connection[Row],
    codec: Codec,
    rules: Rules,
    limit: int = BOUNDED,
    restarted: Callable[[], None] = lambda: None,
    generation: Generation | None = None,
) -> int:
    """Derive again up to `limit` groups that a patient, the clock or the rules touched; returns how many.

    `restarted` hears of every time the transaction began again; without a `generation` it is the live one.

    Raises:
        ForgottenError: facts of a group were let go; nothing was derived.
    """
    keys: frozenset[str] = frozenset()
    while True:
        try:
            with transaction(connection) as cursor:
                enter(cursor, generation)
                cursor.execute("SELECT grp FROM dirty ORDER BY grp LIMIT %s FOR UPDATE SKIP LOCKED", (limit,))
                groups = {int(str(row[0])) for row in cursor.fetchall()}
                if not groups:
                    return 0
                locks = Locks(cursor)
                locks.take(keys, groups)
                locks.members(groups)
                known, now = patients.Known(), _now(cursor)
                loaded = _load(cursor, locks, known, codec, rules, groups, {})
                _derive(cursor, locks, known, codec, rules, loaded, now, {})
                cursor.execute("DELETE FROM dirty WHERE grp = ANY(%s)", (list(groups),))
            return len(groups)
        except RestartError as restart:
            keys = restart.keys
            restarted()
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            restarted()


def mark_other_rules(connection: Connection[Row], rules: Rules, generation: Generation | None = None) -> None:
    """Mark every group that was derived with other rules."""
    with connection.transaction(), connection.cursor() as cursor:
        enter(cursor, generation)
        cursor.execute(
            "INSERT INTO dirty SELECT grp FROM study WHERE rules_hash <> %(hash)s "
            "UNION SELECT grp FROM imaging_order WHERE rules_hash <> %(hash)s ORDER BY grp ON CONFLICT DO NOTHING",
            {"hash": rules.hash},
        )


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Groups as they stand, with everyone each of them names."""

    groups: dict[int, Group]
    named: dict[int, set[PatientId]]


def _load(
    cursor: Cursor[Row],
    locks: Locks,
    known: patients.Known,
    codec: Codec,
    rules: Rules,
    groups: Collection[int],
    at_hand: Mapping[str, AtHand],
) -> _Loaded:
    """Groups, and into `known` what is known of everyone they name."""
    loaded = facts.load(cursor, codec, groups, at_hand)
    named = {number: patients_named(group, rules) for number, group in loaded.items()}
    known.load_locked(cursor, locks, {p for those in named.values() for p in those})
    return _Loaded(loaded, named)


def _derive(
    cursor: PipelineCursor,
    locks: Locks,
    known: patients.Known,
    codec: Codec,
    rules: Rules,
    fresh: _Loaded,
    now: int,
    at_hand: Mapping[str, AtHand],
) -> tuple[Collection[int], int]:
    """Derive and write the rows of these groups, and of those they meet; returns which groups that came to, and
    how many studies changed."""
    if not fresh.groups:
        return (), 0
    before = rows.Before.ask(cursor, fresh.groups)
    met = False
    loaded: dict[int, Group] = {}
    derived: dict[int, GroupRows] = {}
    depending: dict[int, set[PatientId]] = {}
    while True:
        context = known.patients(rules)
        loaded |= fresh.groups
        derived |= {number: derive(group, context, rules, now) for number, group in fresh.groups.items()}
        depending |= {number: context.related(those) for number, those in fresh.named.items()}
        # Groups met by their window keys are one: its rows are derived from all its facts.
        moved = join(cursor, locks, {number: derived[number].window_keys for number in fresh.groups})
        for gone in moved:
            for kept in (loaded, derived, depending):
                kept.pop(gone, None)
        if not moved:
            break
        met = True
        fresh = _load(cursor, locks, known, codec, rules, set(moved.values()), {})
    if met:
        # Rows of the groups met belong to others now.
        before = rows.Before.ask(cursor, derived)
    doses = dose.summaries(cursor, codec, loaded, rules, at_hand, before.doses)
    alerts.write(cursor, codec, loaded, derived, doses, rules, at_hand, before.alerts)
    reports.write(cursor, codec, loaded, derived)
    return derived.keys(), rows.write(cursor, derived, doses, depending, rules.hash, before)


def _now(cursor: Cursor[Row]) -> int:
    """The newest tick, microseconds since 1970 UTC; 0 before the first."""
    cursor.execute("SELECT at FROM clock")
    row = cursor.fetchone()
    if row is None:
        return 0
    return int((row[0] - EPOCH).total_seconds() * 1_000_000)  # type: ignore[operator]


def _tick(cursor: Cursor[Row], at: int) -> None:
    """Set the clock forward."""
    cursor.execute(
        "INSERT INTO clock (at) VALUES (%s) ON CONFLICT (single) DO UPDATE SET at = excluded.at WHERE excluded.at > clock.at",
        (iso_time(at),),
    )


def quarantine(cursor: Cursor[Row], unreadable: Sequence[Decoded]) -> None:
    """Keep records that say nothing, with why."""
    if unreadable:
        cursor.executemany(
            'INSERT INTO quarantine (topic, partition, "offset", reason, value) VALUES (%s, %s, %s, %s, %s) '
            "ON CONFLICT DO NOTHING",
            [
                (*item.record.partition, item.record.offset, item.problem, item.record.value)
                for item in unreadable
            ],
        )
