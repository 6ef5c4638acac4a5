"""Faust's consumer as the reconciler has it: it starts where the ledger says, waits for brokers that are away, and ends
of itself only where nothing else helps.

Faust runs aiokafka's consumer on a thread with a loop of its own, and by itself ends the whole process where that
cannot be started, where a commit fails, and where there is nothing to commit.
"""

import asyncio
import itertools
import logging
from collections.abc import Mapping
from time import monotonic
from typing import Final

from aiokafka.consumer import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from mode import Service

from dosestream.kafka.records import Partition

log = logging.getLogger("dosestream.reconciler")

# Between two tries to start, the last one again and again; and how long the brokers may take to answer one.
PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
ANSWER_S: Final = 20.0
# How often the membership of the group is looked at.
MEMBERSHIP_S: Final = 5.0


class LedgerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """aiokafka's consumer, on its thread."""

    async def on_start(self) -> None:
        """Connect, as often as it takes; returns without where the service is asked to stop."""
        self.time_started = monotonic()
        for pause in itertools.chain(PAUSES_S, itertools.repeat(PAUSES_S[-1])):
            self._consumer = consumer = self._create_consumer(loop=self.thread_loop)
            why = await self._cannot_start(consumer)
            if not why or self.should_stop:
                return
            log.warning("the brokers cannot be read: %s; tried again in %g s", why, pause)
            await consumer.stop()
            await self.sleep(pause)
            if self.should_stop:
                return

    async def _cannot_start(self, consumer: AIOKafkaConsumer) -> str:
        """Why not; empty where it started."""
        try:
            # Ends at once where the service is asked to stop.
            ended = await self.wait(consumer.start(), timeout=ANSWER_S)
        except (KafkaError, OSError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        return f"no answer within {ANSWER_S:g} s" if ended.stopped else ""

    def close(self) -> None:
        """Nothing: the thread closes its consumer when it stops.

        Faust, stopping in the middle of a rebalance, would close the connections from the main thread, too. Two threads
        that close one connection meet in `AIOKafkaConnection.close`, where the second finds no reader task.
        """

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Tell Kafka how far the ledger is. It is for lag metrics only: what fails is told again by the next commit."""
        consumer, assigned = self._ensure_consumer(), self.assignment()
        told = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in assigned
        }
        # Before the first assignment, and where there are more members than partitions.
        if not told:
            return False
        try:
            await consumer.commit(told)
        except KafkaError as error:
            log.info("Kafka was not told how far the ledger is: %s", type(error).__name__)
            return False
        self.tp_last_committed_at.update(dict.fromkeys(offsets.keys() & assigned, monotonic()))
        return True

    @Service.task  # type: ignore[untyped-decorator]
    async def _look_at_membership(self) -> None:
        """aiokafka keeps what the brokers refuse until it is asked, and waits; and a coordination that broke stays so."""
        while not self.should_stop:
            await self.sleep(MEMBERSHIP_S)
            coordinator = self._ensure_consumer()._coordinator
            if self.should_stop or coordinator is None:
                continue
            try:
                coordinator.check_errors()
            except KafkaError as error:
                if coordinator._coordination_task.done():
                    raise
                log.error("not in the consumer group: %s: %s; asked again", type(error).__name__, error)


class LedgerConsumer(Consumer):  # type: ignore[misc]
    """Starts every partition where the ledger says, not where Kafka's group offsets say."""

    def _new_consumer_thread(self) -> LedgerThread:
        return LedgerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Seek each assigned partition to its ledger position and make that Faust's starting point."""
        assigned = set(self.assignment())
        positions = await asyncio.to_thread(self.app.positions)
        for tp in assigned:
            offset = positions.get(Partition(tp.topic, tp.partition), 0)
            await self._seek(tp, offset)
            self._read_offset[tp] = offset - 1 if offset else None
            self._committed_offset[tp] = offset


class LedgerTransport(Transport):  # type: ignore[misc]
    """A transport whose consumer starts from the ledger."""

    Consumer = LedgerConsumer
