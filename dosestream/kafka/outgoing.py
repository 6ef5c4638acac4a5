"""Records on their way to one partition: the batch they travel in, and the numbers that keep it from being stored twice.

A batch has the broker's record format (magic 2, KIP-98): the producer's identity and a sequence number that counts the
records of a partition. A batch that is sent again is the same bytes, so a broker that has it already says where it lies.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from dosestream.kafka.publisher import Done, Publication
from dosestream.kafka.records import Partition

# Records of one batch, as long as they are more than one.
BATCH_BYTES: Final = 1_000_000
_SEQUENCES: Final = 1 << 31
_MAGIC, _UNCOMPRESSED, _NO_TRANSACTION = 2, 0, 0


class Waiting(NamedTuple):
    """A record that has no answer yet; it fails at `deadline` of the monotonic clock."""

    record: Publication
    done: Done
    deadline: float


@dataclass(slots=True)
class Batch:
    """Records in the bytes that a broker stores.

    Attributes:
        records: in their order; None for one that failed for being late.
        payload: what is sent, however often.
    """

    place: Partition
    records: list[Waiting | None]
    payload: bytearray

    def late(self, now: float) -> list[Waiting]:
        """Records whose time is over; each is given once."""
        found = [one for one in self.records if one is not None and one.deadline <= now]
        if found:
            self.records = [one if one is None or one.deadline > now else None for one in self.records]
        return found

    @property
    def unanswered(self) -> list[Waiting]:
        """Records that have no answer yet."""
        return [one for one in self.records if one is not None]


@dataclass(slots=True)
class Identity:
    """What a broker knows an idempotent producer by, and how many records it gave to each partition."""

    producer_id: int
    epoch: int
    sequences: dict[Partition, int] = field(default_factory=dict)

    def batch(self, place: Partition, queue: deque[Waiting], most: int = 1 << 20) -> Batch:
        """Take up to `most` records of the queue, as many as a batch holds; one of any size."""
        first = self.sequences.get(place, 0)
        builder = DefaultRecordBatchBuilder(
            _MAGIC, _UNCOMPRESSED, _NO_TRANSACTION, self.producer_id, self.epoch, first, BATCH_BYTES
        )
        at = time.time_ns() // 1_000_000
        taken: list[Waiting | None] = []
        while queue and len(taken) < most:
            (_, key, value, headers), _, _ = queue[0]
            if builder.append(len(taken), at, key, value, headers) is None:
                break
            taken.append(queue.popleft())
        self.sequences[place] = (first + len(taken)) % _SEQUENCES
        return Batch(place, taken, builder.build())


def size_of(record: Publication) -> int:
    """Bytes of a batch with this record alone, at most."""
    return int(
        DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers))
    )
