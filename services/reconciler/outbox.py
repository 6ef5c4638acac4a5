"""One publisher for all reconcilers: changed rows to `radiology.dose.v1` and `radiology.alert.v1`, and the ticks of
the clock.

Whoever holds the advisory lock publishes. A mark is deleted only where the row's revision is still the one
that was sent, so delivery is at least once and subscribers keep the highest revision per key.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import orjson
import psycopg
from psycopg.rows import dict_row

from dosestream.db.apply import enter_live_generation
from dosestream.db.values import EPOCH
from dosestream.events.cloudevents import headers
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import Alert, Clock, Dose
from dosestream.kafka.errors import BrokerAwayError
from dosestream.kafka.publisher import Position, Publisher, PublishError
from dosestream.kafka.topics import Topic
from dosestream.settings import Settings

log = logging.getLogger("dosestream.reconciler.outbox")

ADVISORY_LOCK = 0x6F757462
PAGE = 500
IDLE_S = 0.2
AWAY_S = 1.0
TIMES = frozenset({"study_datetime", "updated_at"})
COLUMNS = tuple(Dose.__dataclass_fields__)
Row = dict[str, object]


def _micros(value: object) -> int | None:
    return None if value is None else int((value - EPOCH).total_seconds() * 1_000_000)  # type: ignore[operator]


def dose_record(row: Row) -> Dose:
    """The current row of a study as the topic carries it."""
    values: dict[str, object] = {}
    for name in COLUMNS:
        value = row[name]
        if name in TIMES:
            value = _micros(value)
        elif name == "evidence":
            value = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        elif name == "patient_birth_date" and value is not None:
            value = str(value)
        values[name] = value
    return Dose(**values)  # type: ignore[arg-type]


def alert_record(row: Row) -> Alert:
    """An alert as the topic carries it."""
    times = {
        "updated_at": _micros(row["updated_at"]),
        "first_triggered_at": _micros(row["first_triggered_at"]),
    }
    return Alert(**{name: row[name] for name in Alert.__dataclass_fields__} | times)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows of one table on their way to one topic.

    Attributes:
        kind: of its events.
        marks: SQL of a page of marks, ascending by `key`: that, the revision `marked`, whether the row is `gone`, and
            the row.
        settle: SQL that deletes the marks with these keys whose revision is still the one given. It waits for no
            mark that a worker is writing, whose revision is another by then.
        record: what the topic carries of a row.
    """

    topic: Topic
    kind: str
    marks: str
    settle: str
    record: Callable[[Row], Dose | Alert]


STREAMS = (
    Stream(
        Topic.DOSE,
        "dose",
        "SELECT o.study_instance_uid AS key, o.revision AS marked, s.study_instance_uid IS NULL AS gone, s.* "
        "FROM outbox o LEFT JOIN study s USING (study_instance_uid) ORDER BY 1 LIMIT %s",
        "WITH sent AS MATERIALIZED (SELECT o.study_instance_uid FROM outbox o "
        "JOIN unnest(%s::text[], %s::bigint[]) AS n (key, revision) "
        "ON o.study_instance_uid = n.key AND o.revision = n.revision FOR UPDATE OF o SKIP LOCKED) "
        "DELETE FROM outbox o USING sent s WHERE o.study_instance_uid = s.study_instance_uid",
        dose_record,
    ),
    Stream(
        Topic.ALERT,
        "alert",
        "SELECT o.study_instance_uid || '/' || o.kind AS key, o.revision AS marked, a.withdrawn AS gone, a.* "
        "FROM alert_outbox o JOIN alert a USING (study_instance_uid, kind) ORDER BY 1 LIMIT %s",
        "WITH sent AS MATERIALIZED (SELECT o.study_instance_uid, o.kind FROM alert_outbox o "
        "JOIN unnest(%s::text[], %s::bigint[]) AS n (key, revision) "
        "ON o.study_instance_uid || '/' || o.kind = n.key AND o.revision = n.revision FOR UPDATE OF o SKIP LOCKED) "
        "DELETE FROM alert_outbox o USING sent s "
        "WHERE o.study_instance_uid = s.study_instance_uid AND o.kind = s.kind",
        alert_record,
    ),
)


class Outbox(threading.Thread):
    """Publishes while it holds the lock; a database or broker away is waited for."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        super().__init__(name="outbox", daemon=True)
        self._settings, self._codec = settings, codec
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Finish the page at hand and end."""
        self._stopping.set()

    def run(self) -> None:
        publisher = Publisher(self._settings.kafka, linger_ms=5.0)
        try:
            while not self._stopping.is_set():
                try:
                    with psycopg.connect(self._settings.postgres.url, autocommit=True) as connection:
                        self._serve(connection, publisher)
                except (psycopg.OperationalError, psycopg.InterfaceError) as away:
                    log.warning("database away: %s", str(away).strip().splitlines()[0])
                    self._stopping.wait(AWAY_S)
                except BrokerAwayError as away:
                    log.warning("%s", away)
                    self._stopping.wait(AWAY_S)
                except Exception:
                    log.exception("publishing interrupted; the marks stay")
                    self._stopping.wait(AWAY_S)
        finally:
            publisher.close()

    def _serve(self, connection: psycopg.Connection[tuple[object, ...]], publisher: Publisher) -> None:
        self._codec.register()
        next_tick = 0.0
        holding = False
        while not self._stopping.is_set():
            if not holding:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,)).fetchone()
                holding = bool(row and row[0])
                if not holding:
                    self._stopping.wait(AWAY_S)
                    continue
            if time.monotonic() >= next_tick:
                self._tick(publisher)
                next_tick = time.monotonic() + self._settings.clock.interval_s
            if max(self._publish_page(connection, publisher, stream) for stream in STREAMS) < PAGE:
                self._stopping.wait(IDLE_S)

    def _tick(self, publisher: Publisher) -> None:
        at = time.time_ns() // 1000
        clock = Clock(at=at, ticker=f"reconciler-{os.getpid()}")
        meta = headers(event_id=f"tick-{at}", source="reconciler", kind="clock", at=at)
        publisher.publish(str(Topic.CLOCK), b"clock", self._codec.encode(clock), meta, lambda _: None)

    def _publish_page(
        self, connection: psycopg.Connection[tuple[object, ...]], publisher: Publisher, stream: Stream
    ) -> int:
        """Send the current rows of one page of marks; returns how many marks there were."""
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            enter_live_generation(cast("psycopg.Cursor[tuple[object, ...]]", cursor))
            cursor.execute(stream.marks.encode(), (PAGE,))
            marks = cursor.fetchall()
        if not marks:
            return 0
        sent = self._send(marks, publisher, stream)
        with connection.transaction(), connection.cursor() as cursor:
            enter_live_generation(cursor)
            cursor.execute(
                stream.settle.encode(), ([key for key, _ in sent], [revision for _, revision in sent])
            )
        if len(sent) < len(marks):
            self._stopping.wait(AWAY_S)
        return len(marks)

    def _send(self, marks: Sequence[Row], publisher: Publisher, stream: Stream) -> list[tuple[str, int]]:
        """The marks whose rows are stored in the topic; a row that is gone is a tombstone."""
        outcome: dict[int, Position | PublishError] = {}
        done = threading.Event()

        def settle(index: int, result: Position | PublishError) -> None:
            outcome[index] = result
            if len(outcome) == len(marks):
                done.set()

        for index, row in enumerate(marks):
            key = str(row["key"])
            value: bytes | None
            if row["gone"]:
                value, revision, at = None, int(str(row["marked"])), 0
            else:
                record = stream.record(row)
                value, revision, at = self._codec.encode(record), record.revision, record.updated_at
            meta = headers(
                event_id=content_hash(f"{key}@{revision}".encode())[:32],
                source="reconciler",
                kind=stream.kind,
                at=at,
            )
            publisher.publish(
                str(stream.topic),
                key.encode(),
                value,
                meta,
                lambda result, index=index: settle(index, result),  # type: ignore[misc]
            )
        done.wait(self._settings.kafka.delivery_timeout_ms / 1000 + 5)
        failed = [r for r in outcome.values() if isinstance(r, PublishError)]
        if failed:
            log.warning("%d rows not published, tried again: %s", len(failed), failed[0])
        return [
            (str(marks[i]["key"]), int(str(marks[i]["marked"])))
            for i, result in outcome.items()
            if isinstance(result, Position)
        ]
