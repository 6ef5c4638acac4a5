"""Publishing from an event loop, without a thread between the loop and librdkafka.

A poll thread costs every message two changes of the interpreter's lock, and under load it waits for that lock
longer than the broker takes to answer. Here the loop polls by itself while records are under way: at once
after a turn that did something, else waiting in librdkafka for up to a millisecond, which ends with the first
delivery report. What comes on a socket meanwhile waits that long at most.

`linger.ms` is fixed per producer and no value suits every load, so there are two: a lone sender's record goes
out at once; when many are under way, records wait a little and travel together. Which one takes a record is
decided by how many are under way, so records of one key may be stored out of order: nothing here depends on
their order.
"""

import asyncio
import logging
from typing import Any

from confluent_kafka import KafkaException, Producer

from dosestream.kafka.client import producer_config
from dosestream.kafka.publisher import Done, Position, Publication, PublishError, publish_error
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.loop_publisher")

# Records under way from which on they are gathered, and for how long.
MANY = 48
LINGER_MS = 2.0
# How long one turn may wait in librdkafka; its clock counts whole milliseconds.
WAIT_S = 0.001
# After so many turns without news the broker is slow or away: look at it on a timer.
QUIET_TURNS = 100
SLOW_POLL_S = 0.005


class _Lane:
    """One idempotent producer and what it has under way; replaced when it met a fatal error."""

    def __init__(self, kafka: KafkaSettings, linger_ms: float) -> None:
        self._config = producer_config(
            kafka, linger_ms=linger_ms, delivery_timeout_ms=kafka.delivery_timeout_ms
        ) | {"error_cb": self._hear}
        self.fatal = False
        self.producer: Any = Producer(self._config)

    def replace(self) -> Any:
        """A new producer; returns the old one."""
        log.error("a producer met a fatal error and is replaced")
        old, self.producer, self.fatal = self.producer, Producer(self._config), False
        return old

    def _hear(self, error: Any) -> None:
        self.fatal = self.fatal or error.fatal()


class LoopPublisher:
    """Idempotent producers of one event loop, acks from all in-sync replicas.

    A record fails within `kafka.delivery_timeout_ms` (and the second librdkafka takes to notice) when the
    broker is away. Everything, `done` included, happens on the loop's thread.
    """

    def __init__(self, kafka: KafkaSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._prompt = _Lane(kafka, 0.0)
        self._gathering = _Lane(kafka, LINGER_MS)
        self._lanes = (self._prompt, self._gathering)
        # Replaced producers whose records still owe their reports.
        self._leaving: list[Any] = []
        self._delivered: list[tuple[Done, str, Any, Any]] = []
        self._turning = False
        self._published = False
        self._quiet = 0
        self.under_way = 0

    def publish(self, record: Publication, done: Done) -> None:
        """Hand one record over; `done` hears its position or its error exactly once, in a later turn of the
        loop. It may publish; it must not raise.
        """
        topic, key, value, headers = record
        lane = self._prompt if self.under_way < MANY else self._gathering

        def report(error: Any, message: Any) -> None:
            self._delivered.append((done, topic, error, message))

        self.under_way += 1
        self._published = True
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)
        try:
            lane.producer.produce(topic, value, key, headers=headers, on_delivery=report)
        except BufferError:
            full = PublishError(f"{topic}: the producer's queue is full: send slower", retriable=True)
            self._delivered.append((done, topic, full, None))
        except KafkaException as error:
            lane.fatal = lane.fatal or error.args[0].fatal()
            self._delivered.append((done, topic, publish_error(error.args[0], topic), None))

    async def close(self) -> None:
        """Wait until every record has its answer."""
        while self.under_way:
            await asyncio.sleep(0.01)

    def _turn(self) -> None:
        """Serve delivery reports; come again while records are under way."""
        wait = 0.0 if self._published or self._quiet == 0 or len(self._delivered) else WAIT_S
        self._published = False
        self._poll(wait)
        if self._delivered:
            self._quiet = 0
            self._tell()
        else:
            self._quiet += 1
        if any(lane.fatal for lane in self._lanes):
            self._replace()
        if not self.under_way:
            self._turning = False
        elif self._quiet < QUIET_TURNS:
            self._loop.call_soon(self._turn)
        else:
            self._loop.call_later(SLOW_POLL_S, self._turn)

    def _poll(self, wait: float) -> None:
        prompt, gathering = self._prompt.producer, self._gathering.producer
        if len(gathering):
            # Only one of the two can be waited for: the one that has most of what is under way.
            prompt.poll(0)
            gathering.poll(wait)
        else:
            prompt.poll(wait)
        for producer in self._leaving:
            producer.poll(0)

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

    def _replace(self) -> None:
        self._leaving = [producer for producer in self._leaving if len(producer)]
        for lane in self._lanes:
            if lane.fatal:
                old = lane.replace()
                old.purge()
                self._leaving.append(old)
