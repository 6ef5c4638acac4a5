"""A sample of each source's messages against the whole standard, in a process that may take its time.

An answer never waits for it: what comes while the checker is busy is not checked, and counted as such.
"""

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter

from dosestream.conformance.check import MAX_BYTES
from dosestream.conformance.checker import LENGTH, answer, request
from dosestream.hl7.finding import Finding
from dosestream.settings import ConformanceSettings, SourceSettings
from services.ingest.findings import Findings

log = logging.getLogger("dosestream.ingest")

# Messages that wait for the checker.
WAITING = 4
MINUTE_S = 60.0
# The budget of so many seconds may be spent at once.
AT_ONCE_S = 6.0
# Senders choose their names: with more sources than these all counts begin anew.
MOST_REMEMBERED = 4096
# The first check waits for the checker to start and to read the structures of the version.
START_S = 30.0
TOO_LONG = Finding("not checked", 207, "", "The check took too long and was given up.", "warning")


class Sampling:
    """Takes every n-th message of a source, within the budget of a minute."""

    def __init__(self, settings: ConformanceSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.reload(settings)
        self._heard: dict[str, int] = {}
        # When it was last looked at, and how many could be checked then.
        self._budget = (0.0, 0.0)
        self._waiting: asyncio.Queue[tuple[SourceSettings, bytes]] = asyncio.Queue(WAITING)
        self._task: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self.findings = Findings(loop, "conformance")
        self.checked: Counter[str] = Counter()
        self.passed_over = 0

    def hear(self, source: SourceSettings, body: bytes) -> None:
        """One message; it is checked where its turn and the budget say so."""
        if not self._every:
            return
        heard = self._heard.get(source.name, 0) + 1
        if heard < self._every:
            self._heard[source.name] = heard
            if len(self._heard) > MOST_REMEMBERED:
                self._heard.clear()
            return
        self._heard.pop(source.name, None)
        if len(body) > MAX_BYTES or not self._has_budget() or self._waiting.full():
            self.passed_over += 1
            return
        self._waiting.put_nowait((source, body))
        if self._task is None:
            self._task = self._loop.create_task(self._work())

    def reload(self, settings: ConformanceSettings) -> None:
        """From the next message on these settings hold."""
        self._settings = settings
        self._every = int(settings.sample.removeprefix("1/")) if settings.sample else 0

    def lines(self) -> list[str]:
        """How many were checked, and what was found."""
        if not self.checked and not self.passed_over:
            return []
        total = sum(self.checked.values())
        head = f"conformance: {total} messages checked, {self.passed_over} passed over"
        return [head, *self.findings.lines()]

    async def close(self) -> None:
        """End the checker."""
        self.findings.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._end()

    def _has_budget(self) -> bool:
        """Whether this one may be checked; what a minute may have is spread over it, for the sake of the answers."""
        at, left = self._budget
        now = self._loop.time()
        per_second = self._settings.per_minute / MINUTE_S
        left = min(left + (now - at) * per_second, max(1.0, per_second * AT_ONCE_S))
        self._budget = now, left - 1 if left >= 1 else left
        return left >= 1

    async def _work(self) -> None:
        while True:
            source, body = await self._waiting.get()
            try:
                found = await self._check(source, body)
            except TimeoutError:
                self._end()
                found = [TOO_LONG]
            except (OSError, EOFError, ValueError) as error:
                log.warning("conformance: the checker ended (%s) and is started again", type(error).__name__)
                self._end()
                continue
            self.checked[source.name] += 1
            for finding in found:
                self.findings.add(source.name, finding)

    async def _check(self, source: SourceSettings, body: bytes) -> list[Finding]:
        timeout = self._settings.timeout_s
        if self._process is None:
            timeout += START_S
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dosestream.conformance.checker"), stdin=PIPE, stdout=PIPE
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(timeout):
            process.stdin.write(request(body, source.charset, self._profiles(source.name)))
            await process.stdin.drain()
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            return answer(await process.stdout.readexactly(length))

    def _profiles(self, source: str) -> list[str]:
        """The message profiles of a source: those for every source, and its own over them."""
        profiles = self._settings.message_profile
        return [one.text for of in ("", source) for one in profiles if one.source == of]

    def _end(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            if process.returncode is None:
                process.kill()
