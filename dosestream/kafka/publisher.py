"""Publishing with an answer: every record ends in its position or in an error, within a bounded time."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from dosestream.events.cloudevents import Headers
from dosestream.kafka.client import producer_config
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.publisher")

POLL_S = 0.2


class Position(NamedTuple):
    """Where a record lies in its topic."""

    partition: int
    offset: int


class Publication(NamedTuple):
    """One record about to be published."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers


class PublishError(Exception):
    """A record that is not known to be stored.

    Attributes:
        retriable: the same record may pass later (broker away, queue full); else it never will (too large).
            After a timeout the record may be stored all the same, so a retry may double it.
    """

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


Done = Callable[[Position | PublishError], None]


class Publisher:
    """An idempotent producer, acks from all in-sync replicas, with one poll thread.

    A record fails within `kafka.delivery_timeout_ms` (and the second librdkafka takes to notice) when the
    broker is away; the publisher works again by itself when it is back. May be used from any thread.
    """

    def __init__(self, kafka: KafkaSettings, linger_ms: float = 0.0) -> None:
        self._kafka = kafka
        self._linger_ms = linger_ms
        self._fatal = False
        self._closing = threading.Event()
        self._producer = self._connect()
        self._thread = threading.Thread(target=self._serve, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, topic: str, key: bytes, value: bytes | None, headers: Headers, done: Done) -> None:
        """Hand one record over; `done` hears its position or its error exactly once.

        `done` runs on the poll thread (on the caller's where the record cannot even be queued): it must be
        quick, must not raise and must not publish and wait.
        """

        def delivered(error: Any, message: Any) -> None:
            if error is None:
                done(Position(message.partition(), message.offset()))
            else:
                done(publish_error(error, topic))

        try:
            self._producer.produce(topic, value, key, headers=headers, on_delivery=delivered)
        except BufferError:
            done(PublishError(f"{topic}: the producer's queue is full: send slower", retriable=True))
        except KafkaException as error:
            self._fatal = self._fatal or error.args[0].fatal()
            done(publish_error(error.args[0], topic))

    def publish_and_wait(self, topic: str, key: bytes, value: bytes | None, headers: Headers) -> Position:
        """Publish one record and wait for its position; not to be called from a `done`.

        Raises:
            PublishError: it is not known to be stored.
        """
        future: Future[Position | PublishError] = Future()
        self.publish(topic, key, value, headers, future.set_result)
        result = future.result()
        if isinstance(result, PublishError):
            raise result
        return result

    def close(self) -> None:
        """Wait until every record has its answer, then stop."""
        self._closing.set()
        self._thread.join()

    def _connect(self) -> Any:
        config = producer_config(
            self._kafka, linger_ms=self._linger_ms, delivery_timeout_ms=self._kafka.delivery_timeout_ms
        )
        return Producer({**config, "error_cb": self._hear})

    def _hear(self, error: Any) -> None:
        if error.fatal():
            self._fatal = True

    def _serve(self) -> None:
        while True:
            producer = self._producer
            # Asked before the poll: what is published before close() is still waited for.
            closing = self._closing.is_set()
            producer.poll(POLL_S)
            if self._fatal:
                # An idempotent producer that lost its sequence never recovers: take a new one.
                log.error("the producer met a fatal error and is replaced")
                self._fatal = False
                self._producer = self._connect()
                producer.purge()
                producer.flush(1.0)
            if closing and not len(self._producer):
                return


def publish_error(error: Any, topic: str) -> PublishError:
    """librdkafka's error as ours."""
    never = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.INVALID_RECORD)
    return PublishError(f"{topic}: {error.str()}", retriable=error.code() not in never)
