"""Which rejections still wait for a person: the rejected topic folded, records of resolution included.

A resolution is a rejection's record again, without its body, that says how it ended. It lies behind the
rejection on the same partition, since both have its key. Pure.
"""

from collections.abc import Iterable
from dataclasses import replace

from dosestream.events.records import Rejection


def resolved(rejection: Rejection, how: str, at: int) -> Rejection:
    """The record that ends a rejection; `at` is microseconds since 1970 UTC."""
    return replace(rejection, body=b"", resolution=how, resolved_at=at)


def waiting(records: Iterable[Rejection]) -> list[Rejection]:
    """The rejections that wait, the oldest first, given the records of each partition in their order.

    An identical one heard again waits once. One that comes after its resolution is another receipt and waits
    again, unless it is of the very same raw record: then a repair has told it again.
    """
    found: dict[str, Rejection] = {}
    ended: set[tuple[str, int, int]] = set()
    for one in records:
        raw = (one.event_id, one.raw_partition, one.raw_offset)
        if one.resolution:
            ended.add(raw)
            found.pop(one.event_id, None)
        elif one.raw_offset < 0 or raw not in ended:
            found.setdefault(one.event_id, one)
    return sorted(found.values(), key=lambda one: one.received_at)
