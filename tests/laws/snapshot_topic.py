"""The snapshot topic in memory; `test_cleanup_laws.py` holds it to what the real one does."""

from collections.abc import Iterable, Mapping, Sequence

from dosestream.events.codec import Codec
from dosestream.events.records import EntitySnapshot
from dosestream.kafka.records import Pointer
from dosestream.kafka.snapshots import entity_key


class SnapshotTopic:
    """One partition: the newest record of a key takes the place of those before."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._records: dict[int, tuple[str, bytes]] = {}
        self._end = 0

    def key(self, entity: str) -> str:
        return entity_key(b"law", entity)

    def encoded(self, snapshots: Iterable[EntitySnapshot]) -> dict[str, bytes]:
        return {self.key(one.entity): self._codec.encode(one) for one in snapshots}

    def fits(self, value: bytes) -> bool:
        return bool(value)

    def write(self, records: Mapping[str, bytes], at: int) -> dict[str, Pointer]:
        del at
        found = {}
        for key, value in records.items():
            self._records = {o: (k, v) for o, (k, v) in self._records.items() if k != key}
            self._records[self._end] = key, value
            found[key] = Pointer(key, 0, self._end)
            self._end += 1
        return found

    def fetch(self, pointers: Sequence[Pointer]) -> dict[str, EntitySnapshot]:
        newest = dict(self._records.values())
        return {p.entity: self._codec.decode(newest[p.entity], EntitySnapshot) for p in pointers}

    def close(self) -> None:
        pass
