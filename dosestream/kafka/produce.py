"""Produce requests and their answers as bytes (Kafka protocol, Produce, version 7: every broker since 2.1)."""

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from dosestream.kafka.outgoing import Batch
from dosestream.kafka.records import Partition

_PRODUCE, _VERSION = 0, 7
_ALL_REPLICAS, _NO_TEXT = -1, -1
_HEAD: Final = struct.Struct(">ihhi")  # size, key of the call, version, correlation
_ASKED: Final = struct.Struct(">hhi")  # transaction, acks, timeout in ms
_COUNT: Final = struct.Struct(">i")
_BATCH: Final = struct.Struct(">ii")  # partition, size
_LENGTH: Final = struct.Struct(">h")
_STORED: Final = struct.Struct(">ihqqq")  # partition, error, offset, time, first offset
_THROTTLE: Final = 4  # the last of an answer: how long a broker holds this client back, by itself


class Answer(NamedTuple):
    """What became of a batch: an error code, 0 where it is stored, and the offset of its first record."""

    place: Partition
    code: int
    offset: int


def request(
    correlation: int, client: str, timeout_ms: int, batches: Iterable[Batch]
) -> list[bytes | bytearray]:
    """The bytes of one request, in pieces; acks from all in-sync replicas."""
    topics: defaultdict[str, list[Batch]] = defaultdict(list)
    for batch in batches:
        topics[batch.place.topic].append(batch)
    said = _text(client)
    pieces: list[bytes | bytearray] = [
        b"",
        said,
        _ASKED.pack(_NO_TEXT, _ALL_REPLICAS, timeout_ms),
        _COUNT.pack(len(topics)),
    ]
    for topic, held in topics.items():
        pieces.append(_text(topic))
        pieces.append(_COUNT.pack(len(held)))
        for batch in held:
            pieces.append(_BATCH.pack(batch.place.number, len(batch.payload)))
            pieces.append(batch.payload)
    pieces[0] = _HEAD.pack(_HEAD.size - 4 + sum(map(len, pieces)), _PRODUCE, _VERSION, correlation)
    return pieces


def answers(frame: bytes) -> Iterator[Answer]:
    """What a frame says after its correlation id.

    Raises:
        ValueError: it is no answer to a request.
    """
    try:
        topics = _count(frame, 4)
        at = 8
        for _ in range(topics):
            (length,) = _LENGTH.unpack_from(frame, at)
            if length < 0:
                raise ValueError(length)
            topic = frame[at + 2 : at + 2 + length].decode()
            at += 2 + length
            partitions = _count(frame, at)
            at += 4
            for _ in range(partitions):
                partition, code, offset, _, _ = _STORED.unpack_from(frame, at)
                at += _STORED.size
                yield Answer(Partition(topic, partition), code, offset)
        if at + _THROTTLE != len(frame):
            raise ValueError(at)
    except (ValueError, struct.error) as error:
        raise ValueError("no answer to a produce request") from error


def _count(frame: bytes, at: int) -> int:
    """How many follow; a count of fewer than none would lead back."""
    (count,) = _COUNT.unpack_from(frame, at)
    if count < 0:
        raise ValueError(count)
    return int(count)


@lru_cache(maxsize=256)
def _text(text: str) -> bytes:
    raw = text.encode()
    return _LENGTH.pack(len(raw)) + raw
