"""Records of a partition, as Kafka holds them."""

from typing import NamedTuple


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Record(NamedTuple):
    """A record as Kafka holds it."""

    partition: Partition
    offset: int
    value: bytes | None


class Pointer(NamedTuple):
    """Where the snapshot of an entity lies: its key, partition and offset of the snapshot topic."""

    entity: str
    partition: int
    offset: int
