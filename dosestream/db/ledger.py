"""The offset ledger: which records were applied. It is the truth, whatever the consumer library committed."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from psycopg import Cursor

from dosestream.db.records import Decoded
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic

Row = tuple[object, ...]


class Hole(NamedTuple):
    """Offsets [start, stop) that lie before records at hand and were not read."""

    partition: Partition
    start: int
    stop: int


class HoleError(Exception):
    """Records are missing between the ledger and the batch: read them, then apply all together."""

    def __init__(self, holes: Sequence[Hole]) -> None:
        super().__init__(f"records not read: {', '.join(map(str, holes))}")
        self.holes = tuple(holes)


def holes_before(position: int, offsets: Iterable[int]) -> list[tuple[int, int]]:
    """The gaps in ascending offsets from `position` on; offsets below it are done already."""
    found = []
    for offset in offsets:
        if offset > position:
            found.append((position, offset))
        position = max(position, offset + 1)
    return found


def begin(cursor: Cursor[Row], low: dict[Partition, int]) -> None:
    """Give every partition that has no ledger row one that begins at its earliest offset."""
    cursor.executemany(
        "INSERT INTO ledger (topic, partition, next) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [(topic, number, offset) for (topic, number), offset in low.items()],
    )


def read(cursor: Cursor[Row]) -> dict[Partition, int]:
    """Next offset by partition."""
    cursor.execute("SELECT topic, partition, next FROM ledger")
    return {Partition(str(t), int(str(p))): int(str(n)) for t, p, n in cursor.fetchall()}


def lock(cursor: Cursor[Row], partitions: Collection[Partition]) -> dict[Partition, int]:
    """Lock the rows of these partitions in sorted order: this also fences a worker that lost its partition."""
    ordered = sorted(partitions)
    cursor.execute(
        "SELECT topic, partition, next FROM ledger WHERE (topic, partition) IN "
        "(SELECT * FROM unnest(%s::text[], %s::int[])) ORDER BY topic, partition FOR UPDATE",
        ([p.topic for p in ordered], [p.number for p in ordered]),
    )
    return {Partition(str(t), int(str(p))): int(str(n)) for t, p, n in cursor.fetchall()}


def advance(cursor: Cursor[Row], positions: dict[Partition, int]) -> None:
    """Set the next offset of each partition."""
    ordered = sorted(positions.items())
    cursor.execute(
        "UPDATE ledger l SET next = n.next FROM unnest(%s::text[], %s::int[], %s::bigint[]) AS n (topic, partition, next) "
        "WHERE l.topic = n.topic AND l.partition = n.partition",
        ([p.topic for p, _ in ordered], [p.number for p, _ in ordered], [n for _, n in ordered]),
    )


def due(
    batch: Iterable[Decoded], ledger: dict[Partition, int], covered: Collection[Hole]
) -> tuple[list[Decoded], dict[Partition, int]]:
    """What of a batch is still to be applied, and where the ledger stands afterwards.

    Args:
        batch: records in ascending offset per partition, repeats allowed.
        ledger: the locked positions.
        covered: holes that were read and found closed: the consumer's position passed them.

    Raises:
        HoleError: records are missing before some of the batch. The clock is exempt: its newest record counts.
    """
    by_partition: dict[Partition, dict[int, Decoded]] = {}
    for item in batch:
        by_partition.setdefault(item.record.partition, {})[item.record.offset] = item
    kept: list[Decoded] = []
    positions: dict[Partition, int] = {}
    holes: list[Hole] = []
    for partition, items in by_partition.items():
        position = ledger.get(partition, 0)
        waiting = [items[offset] for offset in sorted(items) if offset >= position]
        if partition.topic != Topic.CLOCK:
            gaps = holes_before(position, (w.record.offset for w in waiting))
            holes += [Hole(partition, *gap) for gap in gaps if not _covers(covered, partition, gap)]
        if waiting:
            kept += waiting
            positions[partition] = waiting[-1].record.offset + 1
    if holes:
        raise HoleError(holes)
    for hole in covered:
        if hole.start <= ledger.get(hole.partition, 0):
            positions[hole.partition] = max(
                positions.get(hole.partition, 0), ledger.get(hole.partition, 0), hole.stop
            )
    return kept, positions


def _covers(covered: Collection[Hole], partition: Partition, gap: tuple[int, int]) -> bool:
    return any(h.partition == partition and h.start <= gap[0] and gap[1] <= h.stop for h in covered)
