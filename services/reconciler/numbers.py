"""What the engine's process counts for the service's process to show, in memory they share."""

import time
from collections.abc import Iterable, MutableSequence
from typing import Final

from dosestream.db.records import Decoded
from dosestream.metrics.histogram import ROW, Histogram, cells_of
from dosestream.metrics.shared import shared_cells

APPLIED, TRANSACTIONS, RESTARTS, STOPS, TURNED_AT, OF_OURS = range(6)
# An engine that answers nothing for so long, and is asked every two seconds, is busy with something that hangs.
SILENT_S: Final = 120.0


class EngineNumbers:
    """Made before the engine's process is forked. The engine's main thread writes, the service reads."""

    def __init__(self) -> None:
        cells: MutableSequence[int] = shared_cells(OF_OURS + cells_of(ROW))
        self._cells = cells
        # A slice of it is the same memory.
        self.row_seconds = Histogram(ROW, cells[OF_OURS:])
        self.turn()

    def turn(self) -> None:
        """The engine goes on, or waits for a server that is away."""
        self._cells[TURNED_AT] = time.monotonic_ns()

    def applied(self, batch: Iterable[Decoded]) -> None:
        """These are committed."""
        now = time.time()
        receipts = [at for one in batch if (at := getattr(one.event, "received_at", 0))]
        self.row_seconds.observe_all(max(0.0, now - at / 1_000_000) for at in receipts)

    def tell(self, applied: int, transactions: int, restarts: int) -> None:
        """How much it did since it began."""
        self._cells[APPLIED], self._cells[TRANSACTIONS], self._cells[RESTARTS] = (
            *(applied, transactions),
            restarts,
        )
        self.turn()

    def stopped(self, partitions: int) -> None:
        """So many partitions met a schema that is not known."""
        self._cells[STOPS] += partitions

    def read(self) -> tuple[int, int, int, int]:
        """Events applied, transactions, those that began again, stops of partitions."""
        applied, transactions, restarts, stops = self._cells[:TURNED_AT]
        return applied, transactions, restarts, stops

    def check(self) -> str:
        """Empty where the engine goes on."""
        silent = (time.monotonic_ns() - self._cells[TURNED_AT]) / 1e9
        return f"the engine did not answer for {silent:.0f} s" if silent > SILENT_S else ""
