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
        self._last: Done | None = None
        self._at = self._begun = 0.0

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
        self._line()
        self._last = None
        if self._bar is not None:
            self._bar.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def progress(self, progress: Done) -> None:
        """How far the stage at hand is, and the whole as far as it can be told."""
        now = time.monotonic()
        if self._last is None or progress.stage != self._last.stage:
            self._line()
            self._begun = self._at = now
        self._last = progress
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", total=1.0, rate="")
            told = f"{progress.done:,}/{progress.total:,} {progress.unit}, {self._rate(now):,.0f}/s"
            self._bar.update(self._task, description=progress.stage, completed=progress.share, rate=told)
        elif now - self._at >= LINE_S:
            self._at = now
            self._line()

    def _rate(self, now: float) -> float:
        return self._last.done / (now - self._begun) if self._last and now > self._begun else 0.0

    def _line(self) -> None:
        """Where there is no terminal: how far it has come, in a line."""
        if self._last is None or self._bar is not None:
            return
        last, rate = self._last, self._rate(time.monotonic())
        left = (last.total - last.done) / rate if rate else 0.0
        print(
            f"{last.stage}: {last.done:,} of {last.total:,} {last.unit}, {rate:,.0f}/s, {left:,.0f} s left; "
            f"{last.share:.0%} of all",
            file=sys.stderr,
            flush=True,
        )
