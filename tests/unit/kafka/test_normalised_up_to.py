"""The mark below which every raw record has its events: the pure part, then against a mock cluster."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from hypothesis import given, settings
from hypothesis import strategies as st

from dosestream.events.codec import Codec
from dosestream.events.receipt import ReceiptClock
from dosestream.events.records import RawMessage
from dosestream.kafka.normalised_up_to import LowWater, NormalisedUpTo, RepairStoppedError
from dosestream.kafka.publisher import Position, Publication, Publisher
from dosestream.settings import KafkaSettings

STEPS: list[tuple[str, str, int, list[tuple[int, int]]]] = [
    # sentence, what happens (s stored, f finished, x failed), the mark, the holes
    ("nothing yet", "", 10, []),
    ("a record that is finished moves the mark", "s10 f10", 11, []),
    ("a record under way holds the mark", "s10 s11 f11", 10, []),
    ("what was held is passed at once", "s10 s11 s12 f11 f12 f10", 13, []),
    ("a record that failed is a hole", "s10 s11 x10 f11", 10, [(10, 11)]),
    ("a failed record with nothing behind it is a hole too", "s10 x10", 10, [(10, 11)]),
    ("a record nobody heard of is a hole", "s11 f11", 10, [(10, 11)]),
    ("holes side by side are one", "s13 f13", 10, [(10, 13)]),
    ("holes apart are two", "s11 f11 s13", 10, [(10, 11), (12, 13)]),
    ("a hole that is normalised again is passed", "s11 f11 f10", 12, []),
    ("a late word about what is passed says nothing", "s10 f10 s10 f10 x10", 11, []),
    ("a record below the mark says nothing", "s3 f3", 10, []),
]


@pytest.mark.parametrize(("steps", "mark", "holes"), [s[1:] for s in STEPS], ids=[s[0] for s in STEPS])
def test_low_water(steps: str, mark: int, holes: list[tuple[int, int]]) -> None:
    water = LowWater(10)
    acts = {"s": water.stored, "f": water.finished, "x": water.failed}
    for step in steps.split():
        acts[step[0]](int(step[1:]))
    assert (water.mark, water.holes()) == (mark, holes)


@settings(deadline=None)
@given(st.permutations(range(12)), st.sets(st.integers(0, 11)))
def test_the_mark_is_the_lowest_that_is_not_finished(order: list[int], lost: set[int]) -> None:
    water = LowWater(0)
    for offset in order:
        if offset not in lost:
            water.stored(offset)
            water.finished(offset)
    assert water.mark == min(lost, default=12)


def raw(number: int) -> RawMessage:
    return RawMessage(
        source="his",
        control_id=str(number),
        message_type="ADT^A01",
        received_at=number,
        transport="mllp",
        content_hash="",
        body=b"MSH%d" % number,
    )


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[KafkaSettings]:
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    yield KafkaSettings(bootstrap=f"{broker.host}:{broker.port}", delivery_timeout_ms=2000)
    del cluster


class Site:
    """A raw topic with a publisher; `again` notes what a repair normalises."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.kafka, self.topic, self.codec = kafka, topic, Codec()
        self.publisher = Publisher(kafka)
        self.again: list[str] = []
        self.stop: NormalisedUpTo | None = None

    def put(self, number: int, value: bytes | None = None) -> Position:
        value = self.codec.encode(raw(number)) if value is None else value
        return self.publisher.publish_and_wait(self.topic, b"%d" % number, value, [])

    def normalise(self, record: RawMessage, position: Position) -> list[Publication]:
        self.again.append(record.control_id)
        if self.stop is not None:
            self.stop.stop()
        assert record == replace(raw(int(record.control_id)))
        return [Publication(f"{self.topic}-events", b"k", record.body, [])]

    def marks(self) -> NormalisedUpTo:
        return NormalisedUpTo(
            self.kafka,
            topic=self.topic,
            group=f"{self.topic}-group",
            normalise=self.normalise,
            publisher=self.publisher,
            codec=self.codec,
            tick_s=0.05,
        )


def test_what_lies_behind_the_mark_is_normalised_once(mock_kafka: KafkaSettings) -> None:
    site = Site(mock_kafka, "behind")
    for number in range(20):
        site.put(number)
    first = site.marks()
    assert first.repair() == 20
    first.close()
    assert sorted(site.again, key=int) == [str(n) for n in range(20)]
    second = site.marks()
    assert second.repair() == 0
    second.close()
    site.publisher.close()


def test_a_record_whose_events_were_delivered_is_not_normalised_again(mock_kafka: KafkaSettings) -> None:
    site = Site(mock_kafka, "delivered")
    site.put(0)
    marks = site.marks()
    marks.repair()
    done, crashed = site.put(1), site.put(2)
    marks.stored(done)
    marks.stored(crashed)
    marks.finished(done)
    marks.close()
    site.again.clear()
    after = site.marks()
    # `done` comes again only where it lies behind the crashed one in the same partition.
    after.repair()
    after.close()
    site.publisher.close()
    assert "2" in site.again
    assert ("1" in site.again) is (done.partition == crashed.partition and done.offset > crashed.offset)


def test_a_record_whose_events_failed_is_normalised_again_while_running(mock_kafka: KafkaSettings) -> None:
    site = Site(mock_kafka, "failed")
    marks = site.marks()
    site.put(0)
    marks.repair()
    marks.start()
    position = site.put(1)
    marks.stored(position)
    marks.failed(position)
    deadline = time.monotonic() + 30
    while marks.marks()[position.partition] <= position.offset and time.monotonic() < deadline:
        time.sleep(0.02)
    marks.close()
    site.publisher.close()
    assert marks.marks()[position.partition] == position.offset + 1
    assert "1" in site.again


def test_bytes_that_are_no_raw_record_are_passed_over(mock_kafka: KafkaSettings) -> None:
    site = Site(mock_kafka, "foreign")
    site.put(0)
    site.put(1, b"not ours")
    site.put(2)
    marks = site.marks()
    assert marks.repair() == 2
    marks.close()
    site.publisher.close()


def test_a_repair_that_is_stopped_is_taken_up_by_the_next_start(mock_kafka: KafkaSettings) -> None:
    site = Site(mock_kafka, "stopped")
    for number in range(30):
        site.put(number)
    marks = site.stop = site.marks()
    with pytest.raises(RepairStoppedError):
        marks.repair()
    marks.close()
    site.stop = None
    after = site.marks()
    after.repair()
    after.close()
    site.publisher.close()
    assert set(site.again) == {str(n) for n in range(30)}


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([100, 200], [100, 200]),
        ([100, 100, 100], [100, 101, 102]),
        ([100, 50, 60], [100, 101, 102]),
        ([100, 99, 200], [100, 101, 200]),
    ],
    ids=["as it goes", "a clock that stands", "a clock set back", "and caught up"],
)
def test_receipt_times_never_repeat(readings: list[int], expected: list[int]) -> None:
    given_times = iter(readings)
    clock = ReceiptClock(lambda: next(given_times))
    assert [clock.next("his") for _ in readings] == expected
