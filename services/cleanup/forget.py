"""One batch of old groups: written to the snapshot topic, then let go.

The order is what keeps it safe: the snapshots are in the topic with acks from all before a short transaction
replaces the facts by pointers, of those groups only that stayed as they were written. After a crash in between the
snapshots are written again.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import psycopg

from dosestream.db.generations import Generation, enter, live_generation
from dosestream.db.retention import oldest_groups, standings
from dosestream.db.snapshots import Stored, Written, let_go, pointed, stored
from dosestream.events.codec import Codec, CodecError
from dosestream.events.records import EntitySnapshot
from dosestream.kafka.records import Pointer
from dosestream.reconcile.retention import Limits, why_kept
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.snapshot import entities

log = logging.getLogger("dosestream.cleanup")

Row = tuple[object, ...]
# Facts that one statement looks for, and that one transaction lets go: some ten milliseconds for who waits.
PAGE = 1000
FACTS = 400
BYTES = 8 * 1024 * 1024
UNREADABLE = "a fact cannot be read"
TOO_LARGE = "larger than a record may be"
SHARED = "its entity is another group's"
BUSY = "somebody works on it"


@dataclass(slots=True)
class Tally:
    """What came of a run: rows that went, by kind, and groups that stay, by reason."""

    removed: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)


class Writer(Protocol):
    """The snapshot topic, as `SnapshotWriter` has it."""

    def key(self, entity: str) -> str: ...
    def encoded(self, snapshots: Iterable[EntitySnapshot]) -> dict[str, bytes]: ...
    def fits(self, value: bytes) -> bool: ...
    def write(self, records: Mapping[str, bytes], at: int) -> dict[str, Pointer]: ...


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What every step needs; the connection is in autocommit and has a `lock_timeout`."""

    connection: psycopg.Connection[Row]
    codec: Codec
    rules: Rules
    writer: Writer
    limits: Limits
    tally: Tally

    def page(self, after: int, seen: set[int], *, dry: bool) -> int | None:
        """Judge the groups of the oldest facts received after a time, and let go of those that may; returns where
        the next page begins, None at the end.

        Raises:
            PublishError: the broker is away; nothing more was let go.
            psycopg.Error: the database is away, or a lock was not to be had in time.
        """
        with self.connection.transaction(), self.connection.cursor() as cursor:
            enter(cursor)
            generation = live_generation(self.connection)
            found, reached = oldest_groups(cursor, after, self.limits.facts, PAGE)
            fresh = found - seen
            seen |= fresh
            free = []
            for group, standing in standings(cursor, fresh).items():
                if reason := why_kept(standing, self.limits):
                    self.tally.kept[reason] += 1
                else:
                    free.append(group)
            read = self._read(cursor, free)
        assert generation is not None
        if dry:
            self.tally.removed["facts"] += sum(len(one.receipts) for one in read)
            self.tally.removed["groups"] += len(read)
        else:
            for part in _parts(read):
                self._let_go(generation, part)
        return None if not found else reached

    def _read(self, cursor: psycopg.Cursor[Row], groups: Collection[int]) -> list[Stored]:
        """Their facts; of groups that have to stay after all the reason is told."""
        try:
            read = stored(cursor, self.codec, self.rules, groups)
        except CodecError:
            if len(groups) == 1:
                self.tally.kept[UNREADABLE] += 1
                return []
            return [one for group in groups for one in self._read(cursor, [group])]
        named = [one for one in read if not one.nameless]
        self.tally.kept["no identifier leads to it"] += len(read) - len(named)
        return named

    def _let_go(self, generation: Generation, groups: Sequence[Stored]) -> None:
        records, written_of = self._records(groups)
        pointers = self.writer.write(records, max(one.received_at for g in groups for _, one in g.kept))
        by_group = {one.group: one for one in groups}
        with_texts = {self.writer.key(entity) for one in groups for entity in one.texts}
        written = [
            Written(group, pointers[key], facts, len(records[key]), key in with_texts)
            for group, keys in written_of.items()
            for key, facts in keys.items()
        ]
        with self.connection.transaction(), self.connection.cursor() as cursor:
            enter(cursor)
            # Group numbers are a generation's own.
            gone: Mapping[int, int] = {}
            if live_generation(self.connection) == generation:
                gone = let_go(cursor, {g: by_group[g] for g in written_of}, written, self.limits)
        self.tally.removed["facts"] += sum(gone.values())
        self.tally.removed["groups"] += len(gone)
        self.tally.removed["snapshots"] += sum(one.group in gone for one in written)
        self.tally.removed["snapshot_bytes"] += sum(one.size for one in written if one.group in gone)
        self.tally.kept[BUSY] += len(written_of) - len(gone)

    def _records(self, groups: Sequence[Stored]) -> tuple[dict[str, bytes], dict[int, dict[str, int]]]:
        """The records of groups by key; and by group its keys with how many facts each has. A group of which one
        does not fit, or is another group's too, is left out."""
        records: dict[str, bytes] = {}
        written_of: dict[int, dict[str, int]] = {}
        made = {one.group: entities(one.kept) for one in groups}
        keys = {
            g: {self.writer.key(one.entity): len(one.facts) for one in those} for g, those in made.items()
        }
        with self.connection.transaction(), self.connection.cursor() as cursor:
            enter(cursor)
            taken = pointed(cursor, [key for those in keys.values() for key in those])
        for group, those in made.items():
            encoded = self.writer.encoded(those)
            if taken & keys[group].keys() or records.keys() & encoded.keys():
                self.tally.kept[SHARED] += 1
            elif not all(map(self.writer.fits, encoded.values())):
                self.tally.kept[TOO_LARGE] += 1
            else:
                records |= encoded
                written_of[group] = keys[group]
        return records, written_of


def _parts(read: Sequence[Stored]) -> list[list[Stored]]:
    """Groups in parts that one short transaction lets go; a larger group is a part of its own."""
    parts: list[list[Stored]] = []
    facts = size = 0
    for one in read:
        facts, size = facts + len(one.receipts), size + one.size
        if not parts or facts > FACTS or size > BYTES:
            parts.append([])
            facts, size = len(one.receipts), one.size
        parts[-1].append(one)
    return parts
