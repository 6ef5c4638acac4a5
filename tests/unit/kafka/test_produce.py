"""Produce requests and answers, against aiokafka's own schemas of them."""

from io import BytesIO
from struct import pack

import pytest
from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7
from hypothesis import given
from hypothesis import strategies as st

from dosestream.kafka.outgoing import Batch
from dosestream.kafka.produce import Answer, answers, request
from dosestream.kafka.records import Partition

topics = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
places = st.builds(Partition, topics, st.integers(0, 2**31 - 1))
codes = st.integers(-(2**15), 2**15 - 1)
longs = st.integers(-(2**63), 2**63 - 1)


@given(
    st.integers(0, 2**31 - 1),
    topics,
    st.integers(0, 2**31 - 1),
    st.dictionaries(places, st.binary(max_size=40), max_size=8),
)
def test_a_request_says_what_aiokafka_reads(
    correlation: int, client: str, timeout_ms: int, payloads: dict[Partition, bytes]
) -> None:
    batches = [Batch(place, [], bytearray(payload)) for place, payload in payloads.items()]
    said = b"".join(request(correlation, client, timeout_ms, batches))
    assert int.from_bytes(said[:4], "big") == len(said) - 4
    stream = BytesIO(said[4:])
    header, body = RequestHeader_v1.SCHEMA.decode(stream), ProduceRequest_v7.decode(stream)
    assert stream.read() == b""
    assert header == (0, 7, correlation, client)
    assert (body.transactional_id, body.required_acks, body.timeout) == (None, -1, timeout_ms)
    assert len({topic for topic, _ in body.topics}) == len(body.topics)
    found = {Partition(topic, number): held for topic, parts in body.topics for number, held in parts}
    assert found == payloads


def encoded(found: list[Answer], correlation: int = 1, throttle_ms: int = 0) -> bytes:
    """A frame, as a broker writes it."""
    by_topic: dict[str, list[tuple[int, int, int, int, int]]] = {}
    for (topic, partition), code, offset in found:
        by_topic.setdefault(topic, []).append((partition, code, offset, -1, 0))
    body: bytes = ProduceResponse_v7(list(by_topic.items()), throttle_ms).encode()
    return pack(">i", correlation) + body


told = st.lists(st.builds(Answer, places, codes, longs), max_size=8, unique_by=lambda one: one.place)


@given(told, st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_an_answer_is_read_as_aiokafka_wrote_it(
    found: list[Answer], correlation: int, throttle_ms: int
) -> None:
    assert sorted(answers(encoded(found, correlation, throttle_ms))) == sorted(found)


@given(told, st.data())
def test_an_answer_cut_anywhere_or_longer_than_it_says_is_none(
    found: list[Answer], data: st.DataObject
) -> None:
    frame = encoded(found)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    for broken in (cut, frame + b"\x00"):
        with pytest.raises(ValueError, match="no answer"):
            list(answers(broken))


MANY = 2**31 - 1
HOSTILE = {
    "nothing": b"",
    "no topics, said to be fewer than none": pack(">iii", 1, -1, 0),
    "a topic with fewer partitions than none": pack(">iihci", 1, 1, 1, b"t", -1),
    "more topics than there are bytes": pack(">ii", 1, MANY),
    "more partitions than there are bytes": pack(">iihci", 1, 1, 1, b"t", MANY),
    # Each would lead back to its own beginning.
    "many topics with names of a negative length": pack(">iihi", 1, MANY, -6, 0) + b"\x00" * 64,
    "a name of a negative length": pack(">iihi", 1, 1, -1, 0) + b"\x00" * 64,
    "a name that is no UTF-8": pack(">iihcii", 1, 1, 1, b"\xff", 0, 0),
    "a name longer than the frame": pack(">iihci", 1, 1, 2000, b"t", 0),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_end_in_an_error(frame: bytes) -> None:
    with pytest.raises(ValueError, match="no answer"):
        list(answers(frame))


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_to_the_last_byte_or_an_error(frame: bytes) -> None:
    try:
        found = list(answers(frame))
    except ValueError:
        return
    response = ProduceResponse_v7.decode(BytesIO(frame[4:]))
    assert len(frame) == 4 + len(response.encode())
    assert found == [
        Answer(Partition(topic, part[0]), part[1], part[2])
        for topic, parts in response.topics
        for part in parts
    ]
