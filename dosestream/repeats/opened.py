"""The store a listener works with: the shared one, or one in memory where that cannot be had."""

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from dosestream.repeats.shared import SharedStore, StoreUnusableError
from dosestream.repeats.store import Heard, Learned, MemoryStore, Store, Turn
from dosestream.settings import RepeatsSettings

log = logging.getLogger("dosestream.repeats")

T = TypeVar("T")


class OpenedStore:
    """The store of one raw topic of one cluster; in memory from the moment its file cannot be used."""

    def __init__(self, settings: RepeatsSettings, cluster: str, topic: str) -> None:
        folder = home(settings) / cluster / topic
        self._store: Store
        try:
            self._store = SharedStore(folder, settings.size_mib)
        except StoreUnusableError as error:
            self._give_up(error)

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def kept_in(self) -> Store:
        """The store behind it."""
        return self._store

    def turn(self, turn: Turn, now: int) -> Sequence[Heard | None]:
        # Not by `_try`: this is on the way of every message.
        try:
            return self._store.turn(turn, now)
        except StoreUnusableError as error:
            self._give_up(error)
            return self._store.turn(turn, now)

    def learn(self, learned: Iterable[Learned], positions: Mapping[int, int], now: int) -> None:
        entries = list(learned)
        self._try(lambda store: store.learn(entries, positions, now))

    def positions(self) -> Mapping[int, int]:
        return self._try(lambda store: store.positions())

    def forget(self) -> None:
        self._try(lambda store: store.forget())

    def close(self) -> None:
        self._try(lambda store: store.close())

    def _try(self, call: Callable[[Store], T]) -> T:
        try:
            return call(self._store)
        except StoreUnusableError as error:
            self._give_up(error)
            return call(self._store)

    def _give_up(self, error: StoreUnusableError) -> None:
        log.warning(
            "what was heard is kept in memory, by each process for itself: %s: "
            "name a folder on a local disk in repeats.folder",
            error,
        )
        self._store = MemoryStore(secrets.token_hex(8))


def home(settings: RepeatsSettings) -> Path:
    """The folder of all stores."""
    if settings.folder:
        return Path(settings.folder)
    state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state) / "dosestream" / "repeats"
