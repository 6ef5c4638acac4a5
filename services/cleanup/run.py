"""One run of cleanup, from the oldest facts to the newest that may go, and what goes by its age alone."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg

from dosestream.db.generations import enter
from dosestream.db.retention import BY_AGE, PAGES, count_page, delete_page, newest_tick, pages
from dosestream.db.snapshots import Fetch, recall, with_old_texts
from dosestream.events.codec import Codec
from dosestream.reconcile.retention import Limits, before
from dosestream.reconcile.rules import Rules
from dosestream.settings import RetentionSettings
from services.cleanup.forget import Forgetting, Tally, Writer

log = logging.getLogger("dosestream.cleanup")

Row = tuple[object, ...]
ADVISORY_LOCK: Final = 0x636C6E75
LOCK_TIMEOUT: Final = "2s"
# After a page the run waits as long as the page took, so that it takes no more than half of anything.
SHARE: Final = 1.0
# Groups of which old texts are brought back at a time, to be written without them.
TEXTS_AT_A_TIME: Final = 50
# Tables that lose rows: their room is given back for the rows to come, and none of it to the system, which would lock
# them.
VACUUMED: Final = ("fact", "message", "report", "quarantine", "snapshot")


class BusyError(Exception):
    """Another cleanup is running: one at a time."""


class StoppedError(Exception):
    """The service was asked to stop; what was done stays done."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `pause` waits for so many seconds and raises `StoppedError` where the service is to stop.

    Attributes:
        connect: a new connection to the dose database, in autocommit.
    """

    connect: Callable[[], psycopg.Connection[Row]]
    codec: Codec
    rules: Rules
    retention: RetentionSettings
    writer: Writer
    fetch: Fetch
    pause: Callable[[float], None]

    def once(self, *, dry: bool) -> Tally:
        """Clean up; returns what went, or with `dry` what would go, and why the rest stays.

        Raises:
            BusyError: another run is under way.
            StoppedError: it was asked to stop.
            psycopg.Error, PublishError, ReadError: a server is away; what was done stays done.
        """
        with self.connect() as connection:
            connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'".encode())
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,)).fetchone()
            if row is None or not row[0]:
                raise BusyError("another cleanup is running")
            tally = Tally()
            number = None if dry else _begin(connection)
            outcome = "interrupted"
            try:
                self._clean(connection, tally, dry=dry)
                outcome = "done"
            finally:
                if number is not None:
                    self._end(number, outcome, tally)
            return tally

    def _clean(self, connection: psycopg.Connection[Row], tally: Tally, *, dry: bool) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            enter(cursor)
            now = newest_tick(cursor)
        kept = self.retention
        if kept.report_text_days:
            limit = before(now, kept.report_text_days)
            self._by_age(connection, "report_text", limit, tally, dry=dry)
            self._by_age(connection, "report_fact_text", limit, tally, dry=dry)
            if not dry:
                self._rewrite_texts(connection, limit, tally)
        limits = Limits(before(now, kept.facts_days), before(now, kept.unsettled_days))
        if limits.facts:
            self._forget(connection, limits, tally, dry=dry)
        for kind, days in (("message_index", kept.message_index_days), ("quarantine", kept.quarantine_days)):
            if days:
                self._by_age(connection, kind, before(now, days), tally, dry=dry)
        if not dry and any(tally.removed.values()):
            self._vacuum(connection)

    def _forget(
        self, connection: psycopg.Connection[Row], limits: Limits, tally: Tally, *, dry: bool
    ) -> None:
        work = Forgetting(connection, self.codec, self.rules, self.writer, limits, tally)
        seen: set[int] = set()
        after: int | None = -1
        while after is not None:
            begun = time.monotonic()
            after = _patiently(lambda after=after: work.page(after, seen, dry=dry))  # type: ignore[misc]
            self.pause((time.monotonic() - begun) * SHARE)

    def _by_age(
        self, connection: psycopg.Connection[Row], kind: str, limit: int, tally: Tally, *, dry: bool
    ) -> None:
        step = count_page if dry else delete_page
        first = 0
        while True:
            begun = time.monotonic()

            def page(first: int = first) -> tuple[int, int]:
                with connection.transaction(), connection.cursor() as cursor:
                    enter(cursor)
                    end = pages(cursor, BY_AGE[kind].table)
                    return (step(cursor, kind, limit, first), end) if first < end else (0, end)

            done, end = _patiently(page)
            tally.removed[kind] += done
            first += PAGES
            if first >= end:
                return
            self.pause((time.monotonic() - begun) * SHARE)

    def _rewrite_texts(self, connection: psycopg.Connection[Row], limit: int, tally: Tally) -> None:
        """Bring back what was let go with texts that are old by now: it is written again without them."""
        while True:
            with connection.transaction(), connection.cursor() as cursor:
                enter(cursor)
                found = with_old_texts(cursor, limit, TEXTS_AT_A_TIME)
            if not found:
                return
            recall(connection, self.codec, found, self.fetch)
            tally.removed["snapshot_texts"] += len(found)
            self._by_age(connection, "report_fact_text", limit, tally, dry=False)
            self.pause(0)

    def _vacuum(self, connection: psycopg.Connection[Row]) -> None:
        row = connection.execute("SELECT number FROM dosestream.generation WHERE live").fetchone()
        for table in VACUUMED if row is not None else ():
            assert row is not None
            connection.execute(
                f"VACUUM (SKIP_LOCKED, TRUNCATE off, PARALLEL 0) dosestream_g{row[0]}.{table}".encode()
            )
            self.pause(0)

    def _end(self, number: int, outcome: str, tally: Tally) -> None:
        """Note what came of it, on a connection of its own: that of the run may be the reason it ends."""
        log.info("%s: removed %s; kept %s", outcome, dict(+tally.removed), dict(+tally.kept))
        try:
            with self.connect() as connection:
                connection.execute(
                    "UPDATE dosestream.cleanup_run SET ended_at = clock_timestamp(), outcome = %s, "
                    "removed = %s::jsonb, kept = %s::jsonb WHERE number = %s",
                    (outcome, _json(tally.removed), _json(tally.kept), number),
                )
        except psycopg.OperationalError as away:
            log.warning("the run is not noted: %s", str(away).strip().splitlines()[0])


def _begin(connection: psycopg.Connection[Row]) -> int:
    """A row for this run; those that were cut off before are told so, since only one runs at a time."""
    connection.execute(
        "UPDATE dosestream.cleanup_run SET outcome = 'interrupted' WHERE outcome = 'running' AND ended_at IS NULL"
    )
    row = connection.execute("INSERT INTO dosestream.cleanup_run DEFAULT VALUES RETURNING number").fetchone()
    assert row is not None
    return int(str(row[0]))


def _json(counts: Any) -> str:
    return orjson.dumps({k: v for k, v in counts.items() if v}).decode()


def _patiently(step: Callable[[], Any], times: int = 20) -> Any:
    """A step again where a lock was not to be had in time, or two waited for each other."""
    for left in range(times, -1, -1):
        try:
            return step()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if not left:
                raise
            time.sleep(0.2)
    raise AssertionError
