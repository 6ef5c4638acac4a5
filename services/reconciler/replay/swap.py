"""Another generation made the live one, while readers read and the live reconciler writes.

Readers see the one or the other, whole: the views change in one transaction, for which the new generation has
come as far as the live one and has nothing left to derive. Whatever goes wrong before it commits leaves the live
generation as it was.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import Connection

from dosestream.db import generations, ledger, revisions
from dosestream.db.generations import Generation
from dosestream.kafka.records import Partition
from dosestream.settings import Settings
from services.reconciler.replay.follow import Follower, behind

log = logging.getLogger("dosestream.reconciler.replay")

Row = tuple[object, ...]
# Live batches wait while the last records are applied: at most so many, twice as many at each further try up to the
# most (a feed at full speed is never quite caught up with), and then so many groups.
TAIL_RECORDS = 1000
MOST_RECORDS = 64_000
TAIL_GROUPS = 500
# For live batches to end; and for a process that is gone to leave them alone again.
LOCK_TIMEOUT = "3s"
GONE_TIMEOUT = "60s"
# Together under PostgreSQL's deadlock_timeout (1 s): no reader is ever ended for our sake.
VIEWS_TIMEOUT = "500ms"
VIEWS_TRIES = 6
VIEWS_BETWEEN_S = 0.3
BETWEEN_S = 1.0


class SwapError(Exception):
    """The live generation stayed as it was; the message says why, and what to do."""


class _AgainError(Exception):
    """More came meanwhile than live batches may wait for."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a swap did: rows that subscribers will hear of, and how long live batches waited, in seconds."""

    live: Generation
    marked: int
    held_s: float


def swap(
    settings: Settings, follower: Follower, new: Generation, patience_s: float, say: Callable[[str], None]
) -> Swapped:
    """Make `new` the live generation; the one before it is old afterwards.

    Args:
        settings: where the database is.
        follower: an engine on `new`.
        new: whose tables are complete but for the newest records.
        patience_s: how long to wait for readers and batches that are in the way.
        say: told what is waited for.

    Raises:
        SwapError: not within `patience_s`.
        psycopg.Error: the database is away.
    """
    until = time.monotonic() + patience_s
    with psycopg.connect(settings.postgres.url, autocommit=True) as connection:
        live = generations.live_generation(connection)
        if live is None or live == new:
            raise SwapError(f"generation {new.number} is the live one")
        _come_near(connection, follower, live)
        revisions.carry(connection, live, new)
        revisions.carry_orders(connection, live, new)
        _await_old_snapshots(connection, until, say)
        reason, tail = "", TAIL_RECORDS
        while time.monotonic() < until:
            try:
                return _swap(connection, follower, live, new, tail)
            except _AgainError:
                reason = "records come faster than they are applied"
                tail = min(2 * tail, MOST_RECORDS)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
                reason = f"the views or the live generation are held by {_holders(connection)}"
                time.sleep(BETWEEN_S)
            say(f"{reason}; trying again")
            _come_near(connection, follower, live)
    raise SwapError(f"not swapped within {patience_s:.0f} s: {reason}. Try again when that is over.")


def positions_of(connection: Connection[Row], generation: Generation) -> dict[Partition, int]:
    """The ledger of a generation; the transaction's end sets the search path back."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('search_path', %s, true)", (generation.schema,))
        return ledger.read(cursor)


def hold(connection: Connection[Row]) -> None:
    """Let live batches wait until the end of this transaction.

    Raises:
        psycopg.errors.LockNotAvailable: one took too long; roll back and try again.
    """
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'".encode())
    connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{GONE_TIMEOUT}'".encode())
    # The table first: a lock of its own queue, so that batches that come later do not go before us for ever.
    connection.execute("LOCK TABLE dosestream.live_generation IN EXCLUSIVE MODE")
    connection.execute("SELECT number FROM dosestream.live_generation FOR UPDATE")


def _come_near(connection: Connection[Row], follower: Follower, live: Generation) -> None:
    """Up to where the live generation is now, and everything derived."""
    follower.reach(positions_of(connection, live))
    follower.settle()


def _swap(
    connection: Connection[Row], follower: Follower, live: Generation, new: Generation, tail: int
) -> Swapped:
    with connection.transaction():
        hold(connection)
        held_at = time.monotonic()
        goal = follower.within(positions_of(connection, live))
        if sum(behind(follower.positions(), goal).values()) > tail:
            raise _AgainError
        # On a connection of its own: it works on tables that nobody else writes to.
        follower.reach(goal)
        if follower.drain(TAIL_GROUPS) >= TAIL_GROUPS:
            raise _AgainError
        revisions.carry(connection, live, new)
        marked = revisions.mark(connection, live, new)
        _lock_views(connection)
        connection.execute("SET LOCAL search_path TO DEFAULT")
        generations.make_live(connection, new)
    return Swapped(live, marked, time.monotonic() - held_at)


def _lock_views(connection: Connection[Row]) -> None:
    rows = connection.execute(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relkind = 'v' ORDER BY 1",
        (generations.VIEWS,),
    ).fetchall()
    if not rows:
        return
    names = ", ".join(str(row[0]) for row in rows)
    for last in (*(False,) * (VIEWS_TRIES - 1), True):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL statement_timeout = '{VIEWS_TIMEOUT}'".encode())
                connection.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE".encode())
                connection.execute("SET LOCAL statement_timeout = 0")
            return
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
            if last:
                raise
            time.sleep(VIEWS_BETWEEN_S)


def _await_old_snapshots(connection: Connection[Row], until: float, say: Callable[[str], None]) -> None:
    """Wait for transactions that see the database as it was before the new generation was filled: looking at it
    they would find it empty.

    Raises:
        SwapError: some are still there.
    """
    row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
    assert row is not None
    told = False
    while True:
        found = connection.execute(
            "SELECT pid, coalesce(application_name, '') FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
            "AND age(backend_xmin) > age(%s::xid8::xid)",
            row,
        ).fetchall()
        if not found:
            return
        who = ", ".join(f"process {pid} {name}".strip() for pid, name in found[:5])
        if time.monotonic() > until:
            raise SwapError(
                f"not swapped: transactions read an older state of the database ({who}): end them"
            )
        if not told:
            say(f"waiting for transactions that read an older state of the database: {who}")
            told = True
        time.sleep(BETWEEN_S)


def _holders(connection: Connection[Row]) -> str:
    rows = connection.execute(
        "SELECT DISTINCT a.pid, coalesce(a.application_name, '') FROM pg_locks l "
        "JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND (n.nspname = %s OR c.relname = 'live_generation') AND a.pid <> pg_backend_pid() ORDER BY 1 LIMIT 5",
        (generations.VIEWS,),
    ).fetchall()
    return (
        ", ".join(f"process {pid} {name}".strip() for pid, name in rows)
        or "a transaction that has just ended"
    )
