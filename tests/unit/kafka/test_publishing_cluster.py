"""What the loop's publisher does when brokers come, go and move, or are away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from published import (
    COUNT,
    MUTE,
    TOPIC,
    Told,
    known,
    outcome,
    positions_hold,
    record,
    run,
    works_again,
)
from publisher_contract import Result, left_over
from scripted_broker import (
    INIT_PRODUCER_ID,
    METADATA,
    PARTITIONS,
    Cluster,
    Fault,
    Said,
    scripted,
)

from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.partitioning import partition_of
from dosestream.kafka.publisher import Publication
from dosestream.kafka.records import Partition

# Seconds of waiting for brokers that do not answer.
pytestmark = pytest.mark.slow


async def leader_moves(cluster: Cluster, told: Told) -> None:
    await known(cluster, told)
    cluster.lead(2)
    told.publish(*range(COUNT))
    await told.all()


async def leader_moves_from_a_broker_that_goes(cluster: Cluster, told: Told) -> None:
    await known(cluster, told)
    told.publish(*range(COUNT))
    cluster.lead(2)
    await cluster.brokers[0].go()
    await told.all()


async def leader_moves_with_a_batch_that_it_has(cluster: Cluster, told: Told) -> None:
    await known(cluster, told)
    cluster.faults += [Fault(said=Said.NOTHING, closes=True, stores=True)] * PARTITIONS
    told.publish(*range(COUNT))
    while cluster.faults:
        await asyncio.sleep(0)
        if cluster.copies(record(0)):
            cluster.lead(2)
            cluster.faults.clear()
    await told.all()


async def broker_comes_late(cluster: Cluster, told: Told) -> None:
    told.publish(*range(COUNT))
    await asyncio.sleep(0.05)
    for one in cluster.brokers:
        await one.come()
    await told.all()


async def broker_goes_and_comes_back(cluster: Cluster, told: Told) -> None:
    await known(cluster, told)
    await cluster.brokers[0].go()
    told.publish(*range(COUNT))
    await asyncio.sleep(0.05)
    await cluster.brokers[0].come()
    await told.all()


async def leader_moves_and_a_broker_does_not_say_where_to(cluster: Cluster, told: Told) -> None:
    await known(cluster, told)
    cluster.lead(2)
    cluster.others[METADATA].append(MUTE)
    told.publish(*range(COUNT))
    await told.all()


async def nobody_leads_for_a_while(cluster: Cluster, told: Told) -> None:
    await known(cluster, told)
    cluster.lead(-1)
    cluster.faults.append(Fault(6))
    told.publish(*range(COUNT))
    await asyncio.sleep(0.15)
    cluster.lead(1)
    await told.all()


async def broker_goes_with_requests_under_way(cluster: Cluster, told: Told) -> None:
    await known(cluster, told)
    cluster.faults += [Fault(said=Said.NOTHING, stores=True)]
    told.publish(*range(COUNT))
    while cluster.faults:
        await asyncio.sleep(0)
    await cluster.brokers[0].go()
    await cluster.brokers[0].come()
    await told.all()


HAPPENINGS: dict[str, tuple[Callable[[Cluster, Told], Awaitable[None]], bool]] = {
    "the leader moves": (leader_moves, True),
    "the leader goes, another leads": (leader_moves_from_a_broker_that_goes, True),
    "the leader moves, the new one has the batch": (leader_moves_with_a_batch_that_it_has, True),
    "the leader moves, and a broker does not say where to": (
        leader_moves_and_a_broker_does_not_say_where_to,
        True,
    ),
    "the broker comes late": (broker_comes_late, False),
    "the broker goes and comes back": (broker_goes_and_comes_back, True),
    "nobody leads for a while": (nobody_leads_for_a_while, True),
    "the broker goes with requests under way": (broker_goes_with_requests_under_way, True),
}


@pytest.mark.parametrize(("happens", "there"), HAPPENINGS.values(), ids=HAPPENINGS.keys())
def test_every_record_is_stored_once_when(
    happens: Callable[[Cluster, Told], Awaitable[None]], there: bool
) -> None:
    async def publish() -> None:
        async with scripted(2, there=there) as cluster:
            patient = replace(cluster.settings, delivery_timeout_ms=2000)
            publisher = LoopPublisher(patient, asyncio.get_running_loop())
            told = Told(publisher)
            await happens(cluster, told)
            assert told.outcomes == {"stored"}, told.results
            assert {cluster.copies(record(number)) for number in range(COUNT)} == {1}
            await works_again(told, cluster)
            await publisher.close()
            positions_hold(told, cluster)
            assert left_over() == []

    run(publish())


def test_a_broker_that_answers_nothing_holds_up_no_others_partitions() -> None:
    async def publish() -> None:
        async with scripted(3) as cluster:
            publisher = LoopPublisher(cluster.settings, asyncio.get_running_loop())
            told = Told(publisher)
            await known(cluster, told)
            cluster.leaders = {
                Partition(TOPIC, number): 2 if number == 0 else 3 for number in range(PARTITIONS)
            }
            cluster.faults.extend([Fault(6)] * 4)
            told.publish(*range(COUNT))
            await told.all()
            cluster.deaf = {2}
            # When its records are late their numbers are given up, and a new identity is asked for.
            cluster.others[INIT_PRODUCER_ID].extend([MUTE] * 20)
            for number in range(COUNT, 12 * COUNT, COUNT):
                told.publish(*range(number, number + COUNT))
                await asyncio.sleep(0.15)
            await told.all()
            for number in range(12 * COUNT):
                deaf = number >= COUNT and partition_of(record(number).key, PARTITIONS) == 0
                assert outcome(told.of(number)) == ("again" if deaf else "stored")
            cluster.deaf = set()
            assert 0 < len(cluster.others.pop(INIT_PRODUCER_ID)) < 20
            await works_again(told, cluster)
            await publisher.close()
            positions_hold(told, cluster)

    run(publish())


@pytest.mark.parametrize("leader", [-1, 9], ids=["nobody leads", "one leads that is no broker"])
def test_a_publisher_that_waits_for_a_leader_neither_asks_nor_turns_without_rest(leader: int) -> None:
    async def publish() -> None:
        async with scripted() as cluster:
            loop = asyncio.get_running_loop()
            publisher = LoopPublisher(cluster.settings, loop)
            told = Told(publisher)
            await known(cluster, told)
            cluster.lead(leader)
            cluster.faults.append(Fault(6))
            asked = cluster.asked[METADATA]
            turns, call_soon = [0], loop.call_soon

            def counted(*args: Any, **named: Any) -> asyncio.Handle:
                turns[0] += 1
                return call_soon(*args, **named)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(loop, "call_soon", counted)
                told.publish(*range(COUNT))
                await told.all()
            assert {outcome(told.of(number)) for number in range(COUNT)} == {"again"}
            # Ten times a second it may.
            assert 0 < cluster.asked[METADATA] - asked < 20
            assert turns[0] < 2000
            cluster.lead(1)
            await works_again(told, cluster)
            await publisher.close()

    run(publish())


def test_answers_that_publish_again_while_the_broker_is_away_start_no_more_timers() -> None:
    async def publish() -> None:
        async with scripted(there=False) as cluster:
            loop = asyncio.get_running_loop()
            publisher = LoopPublisher(replace(cluster.settings, delivery_timeout_ms=100), loop)
            generations, timers, call_later = [0], [0], loop.call_later

            def counted(*args: Any, **named: Any) -> asyncio.TimerHandle:
                timers[0] += getattr(args[1], "__self__", None) is publisher
                return call_later(*args, **named)

            def again(_: Result) -> None:
                generations[0] += 1
                if generations[0] < 8:
                    publisher.publish(record(generations[0]), again)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(loop, "call_later", counted)
                publisher.publish(record(0), again)
                await publisher.close()
            assert generations[0] == 8
            # One looks for what is late, at most three times before each answer.
            assert timers[0] <= 3 * 8

    run(publish())


@pytest.mark.interpreted_only("it sets a constant, which is fixed in compiled code")
def test_what_waits_beyond_the_bound_is_refused_for_now_and_taken_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dosestream.kafka.loop_publisher.QUEUED_BYTES", 0)

    async def publish() -> None:
        async with scripted(there=False) as cluster:
            small = replace(cluster.settings, max_message_bytes=1000)
            publisher = LoopPublisher(small, asyncio.get_running_loop())
            heard: list[Result] = []
            large = Publication(TOPIC, b"k", b"x" * (small.max_record_bytes // 2), [])
            for _ in range(12):
                publisher.publish(large, heard.append)
            await asyncio.sleep(0)
            refused = len(heard)
            assert 0 < refused < 12
            assert {outcome(result) for result in heard} == {"again"}
            await cluster.brokers[0].come()
            while publisher.under_way:
                await asyncio.sleep(0.005)
            publisher.publish(large, heard.append)
            await publisher.close()
            assert [outcome(result) for result in heard[refused:]] == ["stored"] * (13 - refused)

    run(publish())


def test_a_broker_that_is_away_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dosestream")

    async def publish() -> None:
        async with scripted() as cluster:
            publisher = LoopPublisher(cluster.settings, asyncio.get_running_loop())
            told = Told(publisher)
            await known(cluster, told)
            await cluster.brokers[0].go()
            told.publish(*range(COUNT))
            await told.all()
            await cluster.brokers[0].come()
            await works_again(told, cluster)
            await publisher.close()

    run(publish())
    said = [one.getMessage() for one in caplog.records if one.name == "dosestream.kafka.brokers"]
    assert len(said) == 1
    assert "does not answer" in said[0]


def test_when_all_known_brokers_have_gone_others_are_found_as_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dosestream.kafka.brokers.BEGIN_AGAIN_S", 0.2)

    async def publish() -> None:
        async with scripted(2, there=False) as cluster:
            first, second = cluster.brokers
            await first.come()
            publisher = LoopPublisher(
                replace(cluster.settings, delivery_timeout_ms=5000), asyncio.get_running_loop()
            )
            told = Told(publisher)
            told.publish(1)
            await told.all()
            await first.go()
            await second.come()
            cluster.lead(2)
            told.publish(2)
            await publisher.close()
            assert told.outcomes == {"stored"}
            assert left_over() == []

    run(publish())
