"""What arrivals remembers between messages: states of performed steps, and reports that Kafka holds whole.

A SQLite file beside the repeats. It may be lost: a step is then not known, and a commitment not given.
"""

import logging
import sqlite3
import threading
from pathlib import Path
from typing import Final

log = logging.getLogger("dosestream.arrivals")

DAY_US: Final = 24 * 3600 * 1_000_000
KEPT_DAYS: Final = 90

TABLES: Final = """
CREATE TABLE IF NOT EXISTS step (uid TEXT PRIMARY KEY, state TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS report (uid TEXT PRIMARY KEY, sop_class TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS position (feed TEXT PRIMARY KEY, at INTEGER NOT NULL);
"""


class Known:
    """Any thread. `path` None keeps it in memory; so does a file that cannot be used."""

    def __init__(self, path: Path | None, now: int = 0) -> None:
        self._lock = threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = self._open(":memory:" if path is None else str(path))
        except (OSError, sqlite3.Error) as error:
            log.warning("performed steps and reports are remembered in memory only: %s: %s", path, error)
            self._database = self._open(":memory:")
        for table in ("step", "report"):
            self._do(f"DELETE FROM {table} WHERE at < ?", now - KEPT_DAYS * DAY_US)

    def close(self) -> None:
        """Nothing may be asked any more."""
        with self._lock:
            self._database.close()

    def state(self, uid: str) -> str:
        """Of a performed step; empty where it is not known."""
        return str(self._get("SELECT state FROM step WHERE uid = ?", uid) or "")

    def set_state(self, uid: str, state: str, at: int) -> None:
        """Of a performed step; `at` is microseconds since 1970 UTC."""
        self._do("INSERT OR REPLACE INTO step VALUES (?, ?, ?)", uid, state, at)

    def held(self, uid: str) -> str:
        """The SOP class of a report that Kafka holds whole; empty where it does not, as far as is known."""
        return str(self._get("SELECT sop_class FROM report WHERE uid = ?", uid) or "")

    def hold(self, uid: str, sop_class: str, at: int) -> None:
        """Kafka holds this report whole."""
        self._do("INSERT OR REPLACE INTO report VALUES (?, ?, ?)", uid, sop_class, at)

    def position(self, feed: str) -> int:
        """How far a feed was read; 0 at first."""
        at = self._get("SELECT at FROM position WHERE feed = ?", feed)
        return at if isinstance(at, int) else 0

    def set_position(self, feed: str, at: int) -> None:
        """All of a feed up to here is in Kafka."""
        self._do("INSERT OR REPLACE INTO position VALUES (?, ?)", feed, at)

    @staticmethod
    def _open(path: str) -> sqlite3.Connection:
        # Each statement is a transaction; what the last seconds before a power cut said may be lost.
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(TABLES)
        return database

    def _get(self, statement: str, value: str) -> object:
        with self._lock:
            row = self._database.execute(statement, (value,)).fetchone()
        return None if row is None else row[0]

    def _do(self, statement: str, *values: object) -> None:
        try:
            with self._lock:
                self._database.execute(statement, values)
        except sqlite3.Error as error:
            log.warning("not remembered: %s", error)
