"""The audit trail of one process: a record for what it did, into Kafka, never awaited and never lost in silence.

librdkafka is the queue: it is bounded, gathers records for a while, and tries each again until the broker has
it. Where the queue is full, or the broker refuses a record for good, it is counted, and a record of kind `gap`
says how many are missing as soon as one can be stored. Numbers rise by one in each process, so a reader sees
gaps too. Until a schema registry gave the schema its id, records are held here. What a killed process had in its
queue (LINGER_MS) is missing without a gap: its `started` is followed by no `stopped`.
"""

import logging
import threading
import time
from collections import deque
from enum import StrEnum
from typing import Any

from confluent_kafka import KafkaException, Producer

from dosestream.events.cloudevents import headers
from dosestream.events.codec import Codec, NotRegisteredError
from dosestream.events.records import Audit
from dosestream.kafka.client import producer_config
from dosestream.kafka.topics import Topic
from dosestream.life import Life
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.audit")

# Records gather for so long: nobody waits for them.
LINGER_MS = 100.0
# Records that wait for the broker; one takes about a kilobyte with what librdkafka adds.
QUEUED = 50_000
# Records that wait for their schema's id.
HELD = 5_000
# How often `poll` is to be called.
POLL_S = 0.1
# After a gap could not be told, and after the log said that records are lost, the next is tried so much later.
AGAIN_S = 5.0
SAY_AGAIN_S = 60.0
# What a sender writes may be of any length.
LONGEST = 199
TOPIC = str(Topic.AUDIT)


class Kind(StrEnum):
    """What happened."""

    RECEIPT = "receipt"
    OPENED = "connection_opened"
    REFUSED = "connection_refused"
    CLOSED = "connection_closed"
    CONFIGURATION = "configuration"
    CERTIFICATE = "certificate"
    STARTED = "started"
    STOPPED = "stopped"
    GAP = "gap"


def now() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Trail:
    """May be written to from any thread. `poll` is to be called every POLL_S seconds."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, service: str, *, queued: int = QUEUED) -> None:
        """`service` is its name; `queued` how many records may wait for the broker."""
        self._codec = codec
        self._service = service
        self._life = Life.mine().name
        self._lock = threading.Lock()
        self._number = 0
        # Not idempotent: a record stored twice says so by its id, and no error is fatal.
        config = producer_config(kafka, linger_ms=LINGER_MS, delivery_timeout_ms=0) | {
            "enable.idempotence": False,
            "queue.buffering.max.messages": queued,
            "delivery.report.only.error": True,
            "on_delivery": self._failed,
        }
        self._producer: Any = Producer(config)
        # Records that are missing and of which no gap tells yet; and those of all the time.
        self._missing = 0
        self.lost = 0
        self._queued = queued
        self._held: deque[dict[str, Any]] = deque()
        self._gap_from = self._say_from = 0.0
        self.write(Kind.STARTED, now())

    def write(
        self,
        kind: Kind,
        at: int,
        source: str = "",
        peer: str = "",
        *,
        tls_subject: str = "",
        transport: str = "",
        message_type: str = "",
        control_id: str = "",
        content_hash: str = "",
        answer: str = "",
        raw_partition: int = -1,
        raw_offset: int = -1,
        repeat: bool = False,
        code: str = "",
        detail: str = "",
        count: int = 1,
    ) -> None:
        """One record, with the fields of `schemas/audit.avsc`. `at` is microseconds since 1970 UTC."""
        if self._missing and kind is not Kind.GAP:
            self._tell_gap()
        with self._lock:
            self._number += 1
            number = self._number
        event_id = f"{self._life}-{number}"
        fields: dict[str, Any] = {
            "event_id": event_id,
            "kind": kind,
            "received_at": at,
            "service": self._service,
            "source": source[:LONGEST],
            "peer": peer,
            "tls_subject": tls_subject[:LONGEST],
            "transport": transport,
            "message_type": message_type[:LONGEST],
            "control_id": control_id[:LONGEST],
            "content_hash": content_hash,
            "answer": answer,
            "raw_partition": raw_partition,
            "raw_offset": raw_offset,
            "repeat": repeat,
            "code": code,
            "detail": detail,
            "count": count,
        }
        if not self._put(fields):
            self._lose(count if kind is Kind.GAP else 1)

    def poll(self) -> None:
        """Hear what became of the records; tell a gap where there is room again."""
        self._producer.poll(0)
        if self._held and self._codec.is_registered:
            self._release()
        if self._missing:
            self._tell_gap()

    def close(self, timeout_s: float) -> None:
        """Say that the process stops, and wait until the records are stored; what is left is told in the log."""
        self.write(Kind.STOPPED, now())
        self.poll()
        self._producer.flush(timeout_s)
        left = len(self._producer) + len(self._held) + self._missing
        if left:
            log.error(
                "%d audit records are lost: Kafka or the schema registry was not there before the service ended",
                left,
            )

    def _put(self, fields: dict[str, Any]) -> bool:
        """Whether the record is in the queue, or held until it may be written."""
        source = fields["source"] or self._service
        try:
            value = self._codec.encode_parts(Audit, fields)
        except NotRegisteredError:
            if len(self._held) >= min(HELD, self._queued):
                return False
            self._held.append(fields)
            return True
        try:
            self._producer.produce(
                TOPIC,
                value,
                source,
                headers=headers(
                    event_id=fields["event_id"], source=source, kind="audit", at=fields["received_at"]
                ),
            )
        except (BufferError, KafkaException):
            return False
        return True

    def _release(self) -> None:
        """Write what was held. Only whoever polls takes from it."""
        while self._held:
            fields = self._held.popleft()
            if not self._put(fields):
                self._lose(fields["count"] if fields["kind"] is Kind.GAP else 1)

    def _tell_gap(self) -> None:
        with self._lock:
            at = time.monotonic()
            if at < self._gap_from or self._held or len(self._producer) > self._queued // 2:
                return
            self._gap_from = at + AGAIN_S
            missing, self._missing = self._missing, 0
        if missing:
            detail = f"audit records lost; {self.lost} since the process began"
            self.write(Kind.GAP, now(), count=missing, detail=detail)

    def _lose(self, count: int) -> None:
        with self._lock:
            at = time.monotonic()
            say = at >= self._say_from
            if say:
                self._say_from = at + SAY_AGAIN_S
            self._missing += count
            self.lost += 1
            missing = self._missing
        if say:
            log.error(
                "%d audit records are lost: Kafka is away for long, or refuses them; a record of kind gap will"
                " say how many there were",
                missing,
            )

    def _failed(self, error: Any, _message: Any) -> None:
        """Only of records that the broker will never take: all others are tried until it does."""
        if error is not None:
            self._lose(1)
