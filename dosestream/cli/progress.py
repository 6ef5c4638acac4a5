"""How far long work is: a bar with rate and time left on a terminal, else a line now and then."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from services.reconciler.replay.plan import Progress as Done

LINE_S = 5.0


class Told:
    """A teller for a terminal or for a log; a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage, self._at, self._begun = "", 0.0, 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One sentence, on a line of its own."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def progress(self, progress: Done) -> None:
        """How far the stage at hand is, and the whole as far as it can be told."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._begun, self._at = progress.stage, now, 0.0
        rate = progress.done / (now - self._begun) if now > self._begun else 0.0
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", total=1.0, rate="")
            told = f"{progress.done:,}/{progress.total:,} {progress.unit}, {rate:,.0f}/s"
            self._bar.update(self._task, description=progress.stage, completed=progress.share, rate=told)
        elif now - self._at >= LINE_S or progress.done >= progress.total:
            self._at = now
            left = (progress.total - progress.done) / rate if rate else 0.0
            print(
                f"{progress.stage}: {progress.done:,} of {progress.total:,} {progress.unit}, {rate:,.0f}/s, "
                f"{left:,.0f} s left; {progress.share:.0%} of all",
                file=sys.stderr,
                flush=True,
            )
