"""Where a key lies: Java's default partitioner, as every producer of the pipeline has it."""

from functools import lru_cache
from struct import iter_unpack
from typing import Final

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition, 0 to `partitions` - 1, that a key belongs to."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


# A message's records carry one key, and the messages of a patient come together.
@lru_cache(maxsize=8192)
def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2, 32 bits, with the seed of `org.apache.kafka.common.utils.Utils`."""
    whole = len(data) & ~3
    found = _SEED ^ len(data)
    for (word,) in iter_unpack("<I", data[:whole]):
        word = word * _MULTIPLIER & _WORD
        word = (word ^ word >> 24) * _MULTIPLIER & _WORD
        found = found * _MULTIPLIER & _WORD ^ word
    if rest := data[whole:]:
        found = (found ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _WORD
    found = (found ^ found >> 13) * _MULTIPLIER & _WORD
    return found ^ found >> 15
