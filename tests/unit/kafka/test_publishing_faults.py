"""What the loop's publisher does when brokers fail: a table of faults, and any sequence of them."""

import asyncio
import logging
from dataclasses import dataclass, replace

import pytest
import uvloop
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from published import (
    COUNT,
    GARBAGE,
    MUTE,
    TOPIC,
    Told,
    outcome,
    positions_hold,
    record,
    run,
    works_again,
)
from publisher_contract import left_over
from scripted_broker import (
    API_VERSIONS,
    INIT_PRODUCER_ID,
    METADATA,
    Fault,
    Said,
    scripted,
)

from dosestream.kafka.loop_publisher import LoopPublisher

# Seconds of waiting for brokers that do not answer.
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """Faults, and what is to be heard.

    Attributes:
        faults: of the first produce requests; `all_the_time`: of every one, until nothing fails any more.
        heard: the answers that records may get.
        most: times that a record may be stored.
    """

    faults: tuple[Fault, ...]
    heard: frozenset[str] = frozenset({"stored"})
    most: int = 1
    all_the_time: bool = False


STORED, AGAIN, NEVER = frozenset({"stored"}), frozenset({"again"}), frozenset({"never"})
ONCE, TWICE = 1, 2

CASES = {
    "a leader that is none, once": Case((Fault(6),)),
    "an unknown partition, once": Case((Fault(3),)),
    "too few replicas, three times": Case((Fault(19),) * 3),
    "too few replicas after it was appended": Case((Fault(20, stores=True),)),
    "too few replicas after it was appended, three times": Case((Fault(20, stores=True),) * 3),
    "a timeout of what is stored": Case((Fault(7, stores=True),)),
    "a timeout of what is not stored": Case((Fault(7),)),
    "a disk that fails": Case((Fault(56),)),
    "closed before it is stored": Case((Fault(said=Said.NOTHING, closes=True),)),
    "closed after it is stored": Case((Fault(said=Said.NOTHING, closes=True, stores=True),)),
    "closed after it is stored, three times": Case((Fault(said=Said.NOTHING, closes=True, stores=True),) * 3),
    "closed after the answer": Case((Fault(closes=True, stores=True),)),
    "half an answer, then closed": Case((Fault(said=Said.HALF, closes=True, stores=True),)),
    "garbage after it is stored": Case((Fault(said=Said.GARBAGE, stores=True),)),
    "garbage before it is stored": Case((Fault(said=Said.GARBAGE),)),
    "another's answer": Case((Fault(said=Said.OTHER_CORRELATION, stores=True),)),
    "an answer that leaves every partition out": Case((Fault(said=Said.NO_PARTITIONS, stores=True),)),
    "an answer about other partitions": Case((Fault(said=Said.OTHER_PARTITIONS, stores=True),)),
    # The time of the records and the patience with a request are one: they may fail, and may be stored all the same.
    "no answer, nothing stored": Case((Fault(said=Said.NOTHING),), STORED | AGAIN),
    "no answer, but stored": Case((Fault(said=Said.NOTHING, stores=True),), STORED | AGAIN),
    "half an answer, then silence": Case((Fault(said=Said.HALF, stores=True),), STORED | AGAIN),
    "other sequences known": Case((Fault(45),)),
    "another epoch known": Case((Fault(47),)),
    "a producer unknown": Case((Fault(59),)),
    # What became of it before cannot be known under another identity.
    "other sequences known, after it was stored": Case((Fault(7, stores=True), Fault(45)), STORED, TWICE),
    "a producer unknown, after it was stored": Case((Fault(20, stores=True), Fault(59)), STORED, TWICE),
    "a batch too large, once": Case((Fault(10),)),
    "a corrupt batch, once": Case((Fault(2),)),
    "too few replicas all the time": Case((Fault(19),), AGAIN, all_the_time=True),
    "appended, but too few replicas, all the time": Case((Fault(20, stores=True),), AGAIN, all_the_time=True),
    "closed all the time": Case((Fault(said=Said.NOTHING, closes=True),), AGAIN, all_the_time=True),
    "garbage all the time": Case((Fault(said=Said.GARBAGE),), AGAIN, all_the_time=True),
    "too large all the time": Case((Fault(10),), NEVER, all_the_time=True),
    "not authorised all the time": Case((Fault(29),), NEVER, all_the_time=True),
    "no valid record all the time": Case((Fault(87),), NEVER, all_the_time=True),
    "sequences unknown all the time": Case((Fault(45),), AGAIN, all_the_time=True),
    "an error that nobody knows, all the time": Case((Fault(-1),), AGAIN, all_the_time=True),
    "no right to be idempotent, all the time": Case((Fault(31),), AGAIN, all_the_time=True),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_fault_ends_in_one_answer_to_each_record_and_then_it_works_again(case: Case) -> None:
    async def publish() -> None:
        async with scripted() as cluster:
            cluster.faults.extend(case.faults * (1000 if case.all_the_time else 1))
            publisher = LoopPublisher(cluster.settings, asyncio.get_running_loop())
            told = Told(publisher)
            told.publish(*range(COUNT))
            await told.all()
            assert told.outcomes <= case.heard, told.results
            assert max(cluster.copies(record(number)) for number in range(COUNT)) <= case.most
            cluster.faults.clear()
            await works_again(told, cluster)
            await publisher.close()
            assert publisher.under_way == 0
            positions_hold(told, cluster)
            assert left_over() == []

    # As ingest runs.
    run(publish(), uvloop.new_event_loop)


HANGS_UP, HUNG_UP = Fault(closes=True), Fault(said=Said.NOTHING, closes=True)
BEGINNINGS = {
    "hung up after the greeting": (API_VERSIONS, [HANGS_UP] * 3),
    "hung up before the greeting": (API_VERSIONS, [HUNG_UP] * 3),
    "garbage for a greeting": (API_VERSIONS, [GARBAGE] * 3),
    "another's greeting": (API_VERSIONS, [Fault(said=Said.OTHER_CORRELATION)] * 3),
    "the second connection is not greeted": (API_VERSIONS, [Fault(), HUNG_UP, HUNG_UP]),
    "the third connection is given garbage": (API_VERSIONS, [Fault(), Fault(), GARBAGE]),
    "no metadata, hung up": (METADATA, [HUNG_UP] * 3),
    "no metadata": (METADATA, [MUTE]),
    "garbage for metadata": (METADATA, [GARBAGE] * 3),
    "half of the metadata": (METADATA, [Fault(said=Said.HALF, closes=True)] * 3),
    "no coordinator for an identity": (INIT_PRODUCER_ID, [Fault(15)] * 3),
    "no identity, hung up": (INIT_PRODUCER_ID, [HUNG_UP] * 3),
    "no identity": (INIT_PRODUCER_ID, [MUTE]),
    "garbage for an identity": (INIT_PRODUCER_ID, [GARBAGE] * 3),
}


@pytest.mark.parametrize(("call", "befall"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_publisher_gets_over_a_broken_beginning(call: int, befall: list[Fault]) -> None:
    async def publish() -> None:
        async with scripted() as cluster:
            cluster.others[call].extend(befall)
            patient = replace(cluster.settings, delivery_timeout_ms=1500)
            publisher = LoopPublisher(patient, asyncio.get_running_loop())
            told = Told(publisher)
            told.publish(*range(COUNT))
            await told.all()
            assert not cluster.others[call]
            assert told.outcomes == {"stored"}
            await publisher.close()
            positions_hold(told, cluster)
            assert left_over() == []

    run(publish())


@pytest.mark.parametrize("call", [API_VERSIONS, INIT_PRODUCER_ID], ids=["its greeting", "who we are"])
def test_a_publisher_closes_while_a_broker_does_not_answer(call: int) -> None:
    async def publish() -> None:
        async with scripted() as cluster:
            cluster.others[call].append(MUTE)
            publisher = LoopPublisher(cluster.settings, asyncio.get_running_loop())
            while not cluster.asked[call]:
                if call == INIT_PRODUCER_ID and not publisher.under_way:
                    publisher.publish(record(0), lambda _: None)
                await asyncio.sleep(0.005)
            await publisher.close()
            assert left_over() == []

    run(publish())


def test_records_that_no_partition_takes_fail_for_ever_and_their_neighbours_are_stored() -> None:
    async def publish() -> None:
        async with scripted() as cluster:
            cluster.poison = {record(number).key for number in (3, 4, 17)}
            publisher = LoopPublisher(
                replace(cluster.settings, delivery_timeout_ms=5000), asyncio.get_running_loop()
            )
            told = Told(publisher)
            told.publish(*range(COUNT))
            await publisher.close()
            found = {number: outcome(told.of(number)) for number in range(COUNT)}
            assert found == {number: "never" if number in (3, 4, 17) else "stored" for number in range(COUNT)}
            assert [cluster.copies(record(n)) for n in range(COUNT)] == [
                int(found[n] == "stored") for n in found
            ]
            positions_hold(told, cluster)

    run(publish())


def test_records_too_many_for_one_batch_are_stored_one_by_one() -> None:
    async def publish() -> None:
        async with scripted() as cluster:
            cluster.most = 1
            publisher = LoopPublisher(
                replace(cluster.settings, delivery_timeout_ms=5000), asyncio.get_running_loop()
            )
            told = Told(publisher)
            told.publish(*range(COUNT))
            await publisher.close()
            assert told.outcomes == {"stored"}
            assert {cluster.copies(record(number)) for number in range(COUNT)} == {1}

    run(publish())


def test_a_topic_that_is_forbidden_fails_for_ever_until_it_is_allowed_and_another_is_not_held_up() -> None:
    async def publish() -> None:
        async with scripted() as cluster:
            cluster.forbidden = {"closed"}
            publisher = LoopPublisher(cluster.settings, asyncio.get_running_loop())
            told = Told(publisher)
            told.publish(1, 2, topic="closed")
            told.publish(3)
            await told.all()
            assert [outcome(told.of(number)) for number in (1, 2, 3)] == ["never", "never", "stored"]
            cluster.forbidden = set()
            told.publish(4, topic="closed")
            await publisher.close()
            assert outcome(told.of(4)) == "stored"

    run(publish())


FORGETFUL = frozenset({10, 45, 59})
faults = st.builds(
    Fault,
    st.sampled_from([0, 0, 6, 7, 10, 19, 20, 45, 56, 59]),
    st.booleans(),
    st.sampled_from([Said.ANSWER, Said.ANSWER, *(said for said in Said if said is not Said.NOTHING)]),
    st.booleans(),
)


@settings(max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(faults, max_size=8),
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), min_size=1, max_size=5),
)
def test_after_any_faults_every_record_has_one_answer_and_what_is_stored_is_there(
    befall: list[Fault], batches: list[tuple[int, int]]
) -> None:
    async def publish() -> None:
        async with scripted(2) as cluster:
            cluster.faults.extend(befall)
            publisher = LoopPublisher(
                replace(cluster.settings, delivery_timeout_ms=200), asyncio.get_running_loop()
            )
            told = Told(publisher)
            number = 0
            for count, turns in batches:
                told.publish(*range(number, number + count))
                number += count
                for _ in range(turns):
                    await asyncio.sleep(0)
            await told.all()
            cluster.faults.clear()
            await works_again(told, cluster)
            await publisher.close()
            positions_hold(told, cluster)
            copies = {n: cluster.copies(record(n)) for n in range(number)}
            # Under one identity nothing is there twice, however often it is sent.
            late = any(outcome(told.of(n)) == "again" for n in range(number))
            if not late and not any(fault.code in FORGETFUL for fault in befall):
                assert set(copies.values()) <= {1}
            assert all(copies[n] for n in range(number) if outcome(told.of(n)) == "stored")
            assert left_over() == []

    run(publish())


class Hearing(logging.Handler):
    """Notes what is logged, and keeps nothing else of it."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_what_hears_of_a_record_and_fails_holds_up_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def publish() -> None:
        async with scripted() as cluster:
            publisher = LoopPublisher(cluster.settings, asyncio.get_running_loop())
            told = Told(publisher)

            def fails(_: object) -> None:
                raise ValueError("said of a record")

            publisher.publish(record(1), fails)
            told.publish(*range(2, 40))
            await publisher.close()
            assert told.outcomes == {"stored"}
            assert publisher.under_way == 0

    said: list[str] = []
    # Not by what keeps records: they hold the frames of what failed.
    handler = Hearing(said)
    log = logging.getLogger("dosestream.kafka.loop_publisher")
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "propagate", False)
    run(publish())
    assert said == [f"{TOPIC}: what hears of a record failed"]
