"""What messages break without being refused for it: counted per source and rule, told without patient data."""

import asyncio
import logging
from collections import Counter

from dosestream.hl7.finding import Finding

log = logging.getLogger("dosestream.ingest")

# Senders choose their names: pairs of source and rule beyond so many are counted together.
MOST_REMEMBERED = 4096
OTHERS = ("other sources", "any rule")
# How often the counts are logged while they grow.
REPORT_S = 600.0


class Findings:
    """Counts; says each pair of source and rule once when it is first met, and all counts from time to time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, check: str) -> None:
        self._loop = loop
        self._check = check
        self._due: asyncio.TimerHandle | None = None
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, source: str, finding: Finding) -> None:
        """One finding."""
        key = (source, finding.rule)
        if key not in self.counts:
            if len(self.counts) >= MOST_REMEMBERED:
                key = OTHERS
            else:
                log.info("%s: %s: %s", self._check, source, finding.text)
        self.counts[key] += 1
        if self._due is None:
            self._due = self._loop.call_later(REPORT_S, self._report)

    def lines(self) -> list[str]:
        """A line for each source: its rules with their counts, the most frequent first."""
        by_source: dict[str, list[str]] = {}
        for (source, rule), count in self.counts.most_common():
            by_source.setdefault(source, []).append(f"{rule}: {count}")
        return [f"{self._check}: {source}: {', '.join(rules)}" for source, rules in sorted(by_source.items())]

    def close(self) -> None:
        """Report no more by itself."""
        if self._due is not None:
            self._due.cancel()

    def _report(self) -> None:
        self._due = None
        for line in self.lines():
            log.info("%s", line)
