"""Records published to scripted brokers, and the answers to each."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

from publisher_contract import Result
from scripted_broker import PARTITIONS, Cluster, Fault, Said

from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.outgoing import Batch
from dosestream.kafka.publisher import Position, Publication
from dosestream.kafka.records import Partition

TOPIC = "loop"
GARBAGE, MUTE = Fault(said=Said.GARBAGE), Fault(said=Said.NOTHING)
COUNT = 24


def record(number: int, topic: str = TOPIC) -> Publication:
    return Publication(topic, b"key %d" % number, b"value %d" % number, [("ce_id", b"%d" % number)])


class Told:
    """The answers to each record."""

    def __init__(self, publisher: LoopPublisher) -> None:
        self.publisher = publisher
        self.results: dict[int, list[Result]] = {}

    def publish(self, *numbers: int, topic: str = TOPIC) -> None:
        for number in numbers:
            heard = self.results.setdefault(number, [])
            self.publisher.publish(record(number, topic), heard.append)

    async def all(self) -> None:
        while self.publisher.under_way:
            await asyncio.sleep(0.005)

    def of(self, number: int) -> Result:
        """Its one answer."""
        (result,) = self.results[number]
        return result

    @property
    def outcomes(self) -> set[str]:
        return {outcome(self.of(number)) for number in self.results}


def outcome(result: Result) -> str:
    if isinstance(result, Position):
        return "stored"
    return "again" if result.retriable else "never"


def positions_hold(told: Told, cluster: Cluster) -> None:
    """Every position is that of its record."""
    for number in told.results:
        result = told.of(number)
        if isinstance(result, Position):
            log = cluster.logs[Partition(TOPIC, result.partition)].records
            assert log[result.offset] == record(number)


NewLoop = Callable[[], asyncio.AbstractEventLoop]


async def works_again(told: Told, cluster: Cluster) -> None:
    """A record of every partition is stored, now that nothing fails: at most what is under way goes wrong."""
    for number in range(1000, 1000 + 4 * PARTITIONS):
        for attempt in range(4):
            told.publish(number + 100 * attempt)
            await told.all()
            if outcome(told.of(number + 100 * attempt)) == "stored":
                break
        else:
            raise AssertionError(told.of(number))
        if number == 1000 + PARTITIONS:
            break


def run(test: Coroutine[Any, Any, None], new_loop: NewLoop = asyncio.new_event_loop) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(test)
    # What a failed batch held is held no longer.
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Batch)]


async def known(cluster: Cluster, told: Told) -> None:
    """The publisher knows the topic's leaders."""
    told.publish(-1)
    await told.all()
    assert told.outcomes == {"stored"}
