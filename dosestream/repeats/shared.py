"""The store of repeats that the processes of a machine share and that outlives them: an LMDB file.

It is a cache whose truth is the raw topic, so nothing is ever synced to the disk. The end of any process leaves
it whole (LMDB's pages are the kernel's); after the end of the machine it is begun anew and filled from the topic.
"""

import fcntl
import os
import secrets
import shutil
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from dosestream.life import boot
from dosestream.repeats.alive import Alive
from dosestream.repeats.buckets import BUCKETS, Newest, is_full
from dosestream.repeats.store import CLAIM_US, DAY_US, Heard, Learned, Turn

# Entries in a bucket, from the size of the file: what one takes in a B+ tree of half-filled pages, and half as
# much again for the pages of a transaction, so that buckets are full before the file is.
BYTES_PER_ENTRY = 160
OWNER_BYTES = 8

_AT = struct.Struct(">Q")
_NEWEST = struct.Struct(">QQ")
_POSITION = struct.Struct(">Iq")
T = TypeVar("T")
_CLAIMED, _DONE = b"c", b"d"


class StoreUnusableError(Exception):
    """The folder cannot be used: name another one, on a local disk, that can be written."""


class SharedStore:
    """One file in a folder, for any number of processes and threads; opened once in a process.

    An entry is receipt time (8 bytes), state (1 byte), then the owner of a claim or the answer.

    Raises:
        StoreUnusableError: from any call.
    """

    def __init__(self, folder: Path, size_mib: int) -> None:
        self._owner = secrets.token_bytes(OWNER_BYTES)
        self._capacity = size_mib * 1024 * 1024 // (BUCKETS * BYTES_PER_ENTRY)
        self._lock = threading.Lock()
        with _usable(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _alone(folder):
                _begin_anew_after_boot(folder)
                self._env: Any = lmdb.open(
                    str(folder / "heard"),
                    map_size=size_mib * 1024 * 1024,
                    max_dbs=BUCKETS + 1,
                    max_readers=256,
                    # Written to by the processes of one boot only, see above.
                    writemap=True,
                    map_async=True,
                    sync=False,
                    metasync=False,
                )
                self._meta = self._env.open_db(b"meta")
                self._buckets = [self._env.open_db(b"bucket%d" % n) for n in range(BUCKETS)]
                # By the slot of the newest: all buckets, it first.
                self._orders = [
                    [self._buckets[slot] for slot in Newest(n, 0).order()] for n in range(BUCKETS)
                ]
                with self._env.begin(write=True) as txn:
                    txn.put(b"name", secrets.token_hex(8).encode(), db=self._meta, overwrite=False)
                    self._name = str(txn.get(b"name", db=self._meta) or b"", "ascii")
                self._alive = Alive(folder, self._owner)
                self._alive.sweep()

    @property
    def name(self) -> str:
        return self._name

    def turn(self, turn: Turn, now: int) -> Sequence[Heard | None]:
        def work(txn: Any) -> Sequence[Heard | None]:
            order = self._order(txn, now)
            put, first = txn.put, order[0]
            for key, at, answer in turn.ends:
                put(key, _AT.pack(at) + _DONE + answer.encode(), db=first)
            for key in turn.failures:
                self._give_up(txn, order, key)
            claim = _AT.pack(now) + _CLAIMED + self._owner
            return [self._claim(txn, order, key, claim, now) for key in turn.claims]

        return self._write(work)

    def learn(self, learned: Iterable[Learned], positions: Mapping[int, int], now: int) -> None:
        entries = list(learned)

        def work(txn: Any) -> None:
            order = self._order(txn, now)
            for key, at, answer in entries:
                if self._find(txn, order, key, now) is None:
                    txn.put(key, _AT.pack(at) + _DONE + answer.encode(), db=order[0])
            packed = b"".join(
                _POSITION.pack(*item) for item in sorted({**self._read(txn), **positions}.items())
            )
            txn.put(b"positions", packed, db=self._meta)

        self._write(work)

    def positions(self) -> Mapping[int, int]:
        with _usable(self._env.path()), self._env.begin() as txn:
            return self._read(txn)

    def forget(self) -> None:
        def work(txn: Any) -> None:
            for bucket in self._buckets:
                txn.drop(bucket, delete=False)
            txn.delete(b"positions", db=self._meta)

        self._write(work)

    def close(self) -> None:
        self._alive.close()
        self._env.close()

    def _write(self, work: Callable[[Any], T]) -> T:
        # Not by `_usable`: this is on the way of every message.
        try:
            with self._lock, self._env.begin(write=True) as txn:
                return work(txn)
        except (OSError, lmdb.Error) as error:
            raise _unusable(self._env.path(), error) from error

    def _order(self, txn: Any, now: int) -> list[Any]:
        """The buckets, first the one that takes what is new: the next of the ring where that is full."""
        if (newest := self._newest(txn)) is None:
            newest = self._roll(txn, Newest(0, now))
        elif is_full(newest, now, txn.stat(self._buckets[newest.slot])["entries"], self._capacity):
            newest = self._roll(txn, newest.next(now))
        return self._orders[newest.slot]

    def _newest(self, txn: Any) -> Newest | None:
        found = txn.get(b"newest", db=self._meta)
        return None if found is None else Newest(*_NEWEST.unpack(found))

    def _roll(self, txn: Any, newest: Newest) -> Newest:
        txn.drop(self._buckets[newest.slot], delete=False)
        txn.put(b"newest", _NEWEST.pack(*newest), db=self._meta)
        return newest

    def _claim(self, txn: Any, order: list[Any], key: bytes, claim: bytes, now: int) -> Heard | None:
        if (heard := self._find(txn, order, key, now)) is None:
            txn.put(key, claim, db=order[0])
        return heard

    def _find(self, txn: Any, order: list[Any], key: bytes, now: int) -> Heard | None:
        """What holds of a key: an end within the day, or a claim of a process that is alive."""
        for bucket in order:
            if (value := txn.get(key, db=bucket)) is not None:
                (at,), state, rest = _AT.unpack_from(value), value[8:9], value[9:]
                if state == _DONE:
                    return Heard(at, rest.decode()) if now - at <= DAY_US else None
                held = now - at <= CLAIM_US and self._alive.is_alive(rest)
                return Heard(at, None) if held else None
        return None

    def _give_up(self, txn: Any, order: list[Any], key: bytes) -> None:
        for bucket in order:
            value = txn.get(key, db=bucket)
            if value is not None and value[8:9] == _CLAIMED and value[9:] == self._owner:
                txn.delete(key, db=bucket)

    def _read(self, txn: Any) -> dict[int, int]:
        return dict(_POSITION.iter_unpack(txn.get(b"positions", db=self._meta) or b""))


@contextmanager
def _usable(folder: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, lmdb.Error) as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path | str, error: Exception) -> StoreUnusableError:
    return StoreUnusableError(f"{folder}: {error}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process opens the store meanwhile."""
    descriptor = os.open(folder / "opening", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _begin_anew_after_boot(folder: Path) -> None:
    """What another boot left may be torn: the machine may have ended while pages were on their way to the disk."""
    mark, this = folder / "boot", boot()
    if not this:
        raise StoreUnusableError(f"{folder}: the system does not tell its boots apart, so no file is kept")
    if not mark.exists() or mark.read_text() != this:
        shutil.rmtree(folder / "heard", ignore_errors=True)
        mark.write_text(this)
