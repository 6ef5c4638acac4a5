"""What values are in Avro's binary encoding (Avro 1.12 specification, "Binary encoding"), for the encoders of records."""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any, Final

# What stands before the bytes, and the event, to the bytes of both.
Encoder = Callable[[bytes, Any], bytes]
# The same, of the record's fields by name.
PartsEncoder = Callable[[bytes, dict[str, Any]], bytes]
# The same, without the position of its raw record: what lies before it, and what lies behind.
AroundEncoder = Callable[[bytes, dict[str, Any]], tuple[bytes, bytes]]

# Numbers below this have their bytes in a table: what most lengths and counts are.
LISTED: Final = 4096


# Two bytes of a varint at a time, by their 14 bits: with more to come, and as the last two.
_MARKED: Final = tuple(bytes((bits & 127 | 128, bits >> 7 | 128)) for bits in range(1 << 14))
_LAST: Final = tuple(bytes((bits & 127 | 128, bits >> 7)) for bits in range(1 << 14))


# The times of a message stand in several of its fields and in all of its records.
@lru_cache(maxsize=256)
def varint(value: int) -> bytes:
    """A long (or int) as a zigzag varint, of any size."""
    value = (value << 1) ^ (value >> 63)
    if value >> 49 and not value >> 56:  # a time in microseconds: eight bytes
        return (
            _MARKED[value & 16383]
            + _MARKED[value >> 14 & 16383]
            + _MARKED[value >> 28 & 16383]
            + _LAST[value >> 42]
        )
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


LONGS: Final[tuple[bytes, ...]] = tuple(map(varint.__wrapped__, range(LISTED)))


def long(value: int) -> bytes:
    """A long (or int) as a zigzag varint."""
    return LONGS[value] if 0 <= value < LISTED else varint(value)


# The places an event was read from are the same for all messages of a sender.
MOST_MAPS = 1024


@lru_cache(maxsize=MOST_MAPS)
def texts(items: tuple[tuple[str, str], ...]) -> bytes:
    """A map of texts that is not empty."""
    pieces = [text(word) for item in items for word in item]
    return b"".join((long(len(items)), *pieces, b"\0"))


# Patients come again: of the newest ones the bytes are kept.
MOST_RECORDS = 8192


def kept(encode: Encoder) -> Callable[[Any], bytes]:
    """The encoder of a record that cannot change, with nothing before it; the bytes of the same object come again.

    An object that is kept is alive, so its id is no other's.
    """
    known: dict[int, tuple[Any, bytes]] = {}

    def encoded(record: Any) -> bytes:
        found = known.get(id(record))
        if found is not None:
            return found[1]
        data = encode(b"", record)
        if len(known) >= MOST_RECORDS:
            known.clear()
        known[id(record)] = record, data
        return data

    return encoded


def text(value: str) -> bytes:
    """A text of any length."""
    data = value.encode()
    size = len(data)
    return LONGS[size] + data if size < LISTED else varint(size) + data


def sized(data: bytes) -> bytes:
    """Bytes of any length."""
    return long(len(data)) + data


double: Final[Callable[[float], bytes]] = Struct("<d").pack
