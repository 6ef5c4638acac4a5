"""One C-FIND: the query read, the steps looked up, an answer for each, and the status it ends with."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Final

import psycopg
from pydicom import Dataset

from dosestream.db.worklist import Steps
from dosestream.metrics.heard import Heard, Key
from dosestream.settings import Settings
from dosestream.worklist.answer import answer, unknown
from dosestream.worklist.query import QueryError, read

log = logging.getLogger("dosestream.worklist")

# PS3.4 table K.4-1, and of the limit C.4.1.1.4 (0xB001).
SUCCESS: Final = 0x0000
PENDING: Final = 0xFF00
PENDING_WITHOUT_SOME_KEYS: Final = 0xFF01
CANCELLED: Final = 0xFE00
IDENTIFIER_DOES_NOT_MATCH: Final = 0xA900
LIMIT_REACHED: Final = 0xB001
UNABLE_TO_PROCESS: Final = 0xC001

Answer = tuple[int | Dataset, Dataset | None]


class Finder:
    """Answers queries of all associations. `find` may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._zone = settings.site.timezone
        self._limit = settings.worklist.max_results
        self._steps = Steps(settings.postgres.url)
        self._lock = threading.Lock()
        self._under_way = 0
        self.heard = Heard()

    def find(
        self, calling: str, read_identifier: Callable[[], Dataset], is_cancelled: Callable[[], bool]
    ) -> Iterator[Answer]:
        """`answers`, counted by the status that ends them."""
        begun, code = time.monotonic(), SUCCESS
        with self._lock:
            self._under_way += 1
        try:
            for status, data_set in self.answers(calling, read_identifier, is_cancelled):
                if status not in (PENDING, PENDING_WITHOUT_SOME_KEYS):
                    code = status if isinstance(status, int) else status.Status
                yield status, data_set
        finally:
            with self._lock:
                self._under_way -= 1
                self.heard.add(calling, "C-FIND", f"{code:04X}", time.monotonic() - begun)

    def read(self) -> tuple[dict[Key, int], int]:
        """Answers by calling AE title and status, and how many queries are under way."""
        with self._lock:
            return dict(self.heard.counts), self._under_way

    def answers(
        self, calling: str, read_identifier: Callable[[], Dataset], is_cancelled: Callable[[], bool]
    ) -> Iterator[Answer]:
        """Statuses, pending ones with their data set; where none ends the answer it is a success.

        Args:
            calling: AE title, for the log.
            read_identifier: decodes the query; may raise anything.
            is_cancelled: whether a C-CANCEL came.
        """
        try:
            yield from self._find(calling, read_identifier(), is_cancelled)
        except QueryError as error:
            log.warning("%s: a query that cannot be answered: %s", calling, error)
            yield _status(IDENTIFIER_DOES_NOT_MATCH, str(error)), None
        except psycopg.Error as error:
            # Its text may quote the query.
            log.error("%s: the dose database did not answer: %s", calling, type(error).__name__)
            yield _status(UNABLE_TO_PROCESS, "the database is away: try again"), None
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            log.error("%s: failed: %s at %s:%d", calling, type(error).__name__, frame.name, frame.lineno)
            yield _status(UNABLE_TO_PROCESS, "the query cannot be read"), None

    def close(self) -> None:
        """Let go of the database."""
        self._steps.close()

    def _find(self, calling: str, identifier: Dataset, is_cancelled: Callable[[], bool]) -> Iterator[Answer]:
        query = read(identifier)
        found = self._steps.find(query.conditions, self._zone, self._limit + 1)
        pending = PENDING_WITHOUT_SOME_KEYS if query.unsupported or unknown(identifier) else PENDING
        asked = ", ".join(sorted({c.column.removesuffix("_key") for c in query.conditions})) or "everything"
        log.info("%s: %d steps by %s", calling, min(len(found), self._limit), asked)
        for step in found[: self._limit]:
            if is_cancelled():
                yield CANCELLED, None
                return
            yield pending, answer(step, identifier, self._zone)
        if len(found) > self._limit:
            log.warning("%s: more than %d steps: the earliest were sent", calling, self._limit)
            yield _status(LIMIT_REACHED, f"the earliest {self._limit}: ask for less"), None


def _status(code: int, comment: str) -> Dataset:
    out = Dataset()
    out.Status = code
    # LO: 64 characters, no backslash.
    out.ErrorComment = comment.replace("\\", " ")[:64]
    return out
