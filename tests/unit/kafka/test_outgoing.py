"""Batches, read back by aiokafka's reader, and the numbers that a broker knows them by."""

import time
from collections import deque

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from dosestream.kafka.outgoing import BATCH_BYTES, Batch, Identity, Waiting, size_of
from dosestream.kafka.publisher import Publication
from dosestream.kafka.records import Partition

PLACE = Partition("topic", 3)
LAST = 2**31 - 1

records = st.builds(
    Publication,
    st.just("topic"),
    st.binary(max_size=20),
    st.none() | st.binary(max_size=50),
    st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), st.binary(max_size=8)), max_size=3),
)


def waiting(record: Publication, deadline: float = 1.0) -> Waiting:
    return Waiting(record, lambda _: None, deadline)


def small(count: int) -> deque[Waiting]:
    return deque(waiting(Publication("topic", b"%d" % n, b"v", [])) for n in range(count))


def opened(batch: Batch) -> tuple[tuple[int, int, int], list[Publication]]:
    """(producer id, epoch, first sequence) and the records of the one batch in the bytes."""
    held = MemoryRecords(bytes(batch.payload))
    found = held.next_batch()
    assert found is not None
    assert not held.has_next()
    assert found.validate_crc()
    assert (found.magic, found.compression_type, found.is_transactional) == (2, 0, False)
    numbers = (found.producer_id, found.producer_epoch, found.base_sequence)
    told = [(one.offset, Publication("topic", one.key, one.value, list(one.headers))) for one in found]
    assert [offset for offset, _ in told] == list(range(len(batch.records)))
    return numbers, [record for _, record in told]


@given(st.lists(records, min_size=1, max_size=20), st.integers(0, 2**60), st.integers(0, 2**15 - 1))
def test_a_batch_holds_the_records_in_their_order_and_the_producers_numbers(
    given_records: list[Publication], producer: int, epoch: int
) -> None:
    queue = deque(waiting(record) for record in given_records)
    batch = Identity(producer, epoch).batch(PLACE, queue)
    assert not queue
    assert batch.place == PLACE
    assert [one.record for one in batch.unanswered] == given_records
    assert opened(batch) == ((producer, epoch, 0), given_records)


@pytest.mark.parametrize(
    ("first", "counts", "begin"),
    [
        (0, [1, 2, 3], [0, 1, 3]),
        (LAST - 1, [2, 1], [LAST - 1, 0]),
        (LAST, [1, 1], [LAST, 0]),
        (LAST - 1, [5, 1], [LAST - 1, 3]),
    ],
    ids=["from the beginning", "exactly to the last", "the last alone", "over the last"],
)
def test_sequences_count_the_records_and_begin_anew_after_the_last(
    first: int, counts: list[int], begin: list[int]
) -> None:
    identity = Identity(7, 0, {PLACE: first})
    assert [opened(identity.batch(PLACE, small(count)))[0][2] for count in counts] == begin


def test_each_partition_has_its_own_sequence() -> None:
    identity, other = Identity(7, 0), Partition("topic", 4)
    places = [PLACE, other, PLACE, other]
    assert [opened(identity.batch(place, small(2)))[0][2] for place in places] == [0, 0, 2, 2]


def test_a_batch_takes_what_fits_and_leaves_the_rest_in_its_order() -> None:
    queue = deque(waiting(Publication("topic", b"k", b"x" * 300_000, [("n", b"%d" % n)])) for n in range(7))
    sizes: list[int] = []
    numbers: list[bytes] = []
    identity = Identity(7, 0)
    while queue:
        batch = identity.batch(PLACE, queue)
        assert len(batch.payload) <= BATCH_BYTES
        sizes.append(len(batch.records))
        numbers += [one.record.headers[0][1] for one in batch.unanswered]
    assert sizes == [3, 3, 1]
    assert numbers == [b"%d" % n for n in range(7)]


def test_a_record_larger_than_a_batch_travels_alone() -> None:
    large = Publication("topic", b"k", b"x" * (2 * BATCH_BYTES), [])
    queue = deque([waiting(large), *small(2)])
    identity = Identity(7, 0)
    assert opened(identity.batch(PLACE, queue)) == ((7, 0, 0), [large])
    assert len(identity.batch(PLACE, queue).records) == 2


def test_no_more_records_are_taken_than_asked_for() -> None:
    queue = small(3)
    identity = Identity(7, 0)
    assert [len(identity.batch(PLACE, queue, 1).records) for _ in range(3)] == [1, 1, 1]


@given(records)
def test_a_batch_of_one_is_no_larger_than_its_size_was_said_to_be(record: Publication) -> None:
    assert len(Identity(7, 0).batch(PLACE, deque([waiting(record)])).payload) <= size_of(record)


def test_the_time_of_a_record_is_now() -> None:
    before = time.time_ns() // 1_000_000
    found = MemoryRecords(bytes(Identity(7, 0).batch(PLACE, small(1)).payload)).next_batch()
    assert found is not None
    assert before <= found.first_timestamp <= time.time_ns() // 1_000_000


def test_a_late_record_is_given_once_and_the_others_stay() -> None:
    queue = deque(waiting(Publication("topic", b"%d" % n, b"", []), float(n)) for n in range(4))
    batch = Identity(7, 0).batch(PLACE, queue)
    payload = bytes(batch.payload)

    def keys(found: list[Waiting]) -> list[bytes]:
        return [one.record.key for one in found]

    assert keys(batch.late(1.0)) == [b"0", b"1"]
    assert keys(batch.late(1.0)) == []
    assert keys(batch.unanswered) == [b"2", b"3"]
    assert [one is None for one in batch.records] == [True, True, False, False]
    # It is known to the broker by its bytes.
    assert bytes(batch.payload) == payload
