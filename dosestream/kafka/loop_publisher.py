"""Publishing from an event loop, without a thread between the loop and librdkafka.

A poll thread costs every message two changes of the interpreter's lock, and under load it waits for that lock
longer than the broker takes to answer. Here the loop polls by itself while records are under way: at once
after a turn that did something, else waiting in librdkafka for up to a millisecond, which ends with the first
delivery report. What comes on a socket meanwhile waits that long at most.

Records leave at once while few requests are unanswered; beyond, they gather until one is. So a lone sender waits
for nothing, and the more senders there are, the more records share a request. Records of one key may be stored
out of order after a retry: nothing here depends on their order.
"""

import asyncio
import logging
from typing import Any

from confluent_kafka import KafkaException, Producer

from dosestream.kafka.client import producer_config
from dosestream.kafka.publisher import Done, Position, Publication, PublishError, publish_error
from dosestream.kafka.security import ClientConfig
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.loop_publisher")

# Requests to one broker that are not answered yet: one that it works on, and the next. A broker answers those of
# a connection one after the other, so more of them would only be smaller.
UNANSWERED = 2
# How long one turn may wait in librdkafka; its clock counts whole milliseconds.
WAIT_S = 0.001
# After so many turns without news the broker is slow or away: look at it on a timer.
QUIET_TURNS = 100
SLOW_POLL_S = 0.005


class LoopPublisher:
    """The idempotent producer of one event loop, acks from all in-sync replicas; replaced after a fatal error.

    A record fails within `kafka.delivery_timeout_ms` (and the second librdkafka takes to notice) when the
    broker is away. Everything, `done` included, happens on the loop's thread.
    """

    def __init__(self, kafka: KafkaSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._config: ClientConfig = producer_config(
            kafka, linger_ms=0.0, delivery_timeout_ms=kafka.delivery_timeout_ms
        ) | {"max.in.flight": UNANSWERED, "error_cb": self._hear}
        self._fatal = False
        self._producer: Any = Producer(self._config)
        # Replaced producers whose records still owe their reports.
        self._leaving: list[Any] = []
        self._delivered: list[tuple[Done, str, Any, Any]] = []
        self._turning = False
        self._quiet = 0
        self._published = False
        self.under_way = 0

    def publish(self, record: Publication, done: Done) -> None:
        """Hand one record over; `done` hears its position or its error exactly once, in a later turn of the
        loop. It may publish; it must not raise.
        """
        topic, key, value, headers = record

        def report(error: Any, message: Any) -> None:
            self._delivered.append((done, topic, error, message))

        self.under_way += 1
        self._published = True
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)
        try:
            self._producer.produce(topic, value, key, headers=headers, on_delivery=report)
        except BufferError:
            full = PublishError(f"{topic}: the producer's queue is full: send slower", retriable=True)
            self._delivered.append((done, topic, full, None))
        except KafkaException as error:
            self._fatal = self._fatal or error.args[0].fatal()
            self._delivered.append((done, topic, publish_error(error.args[0], topic), None))

    async def close(self) -> None:
        """Wait until every record has its answer."""
        while self.under_way:
            await asyncio.sleep(0.01)

    def _turn(self) -> None:
        """Serve delivery reports; come again while records are under way."""
        wait = 0.0 if self._published or self._quiet == 0 or self._delivered else WAIT_S
        self._published = False
        self._producer.poll(wait)
        for producer in self._leaving:
            producer.poll(0)
        if self._delivered:
            self._quiet = 0
            self._tell()
        else:
            self._quiet += 1
        if self._fatal:
            self._replace()
        if not self.under_way:
            self._turning = False
        elif self._quiet < QUIET_TURNS:
            self._loop.call_soon(self._turn)
        else:
            self._loop.call_later(SLOW_POLL_S, self._turn)

    def _tell(self) -> None:
        delivered = self._delivered
        self._delivered = []
        self.under_way -= len(delivered)
        for done, topic, error, message in delivered:
            if error is None:
                done(Position(message.partition(), message.offset()))
            elif isinstance(error, PublishError):
                done(error)
            else:
                done(publish_error(error, topic))

    def _hear(self, error: Any) -> None:
        self._fatal = self._fatal or error.fatal()

    def _replace(self) -> None:
        log.error("the producer met a fatal error and is replaced")
        old, self._producer, self._fatal = self._producer, Producer(self._config), False
        old.purge()
        self._leaving = [*(producer for producer in self._leaving if len(producer)), old]
