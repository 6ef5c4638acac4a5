"""What is noticed of each message beside its way to Kafka: rules it breaks, a sample, and when to stop."""

import asyncio
import logging

from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.mapping.normalise import Interpretation
from dosestream.settings import Settings
from services.ingest.findings import Findings
from services.ingest.limits import Change, Limits
from services.ingest.sampling import Sampling

log = logging.getLogger("dosestream.ingest")


class Watch:
    """One for the messages of a configuration, on its event loop."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self._limits = Limits(settings.limits)
        self._findings = Findings(loop, "profile")
        self._sampling = Sampling(settings.conformance, loop)

    def hear(self, found: Interpretation, body: bytes) -> tuple[Interpretation, Refusal | None]:
        """A message that is about to be stored; what becomes of it.

        Where its source is stopped and it is refused again, it is stored raw only and its sender hears the
        refusal that comes back here.
        """
        source = found.source.name
        for finding in found.findings:
            self._findings.add(source, finding)
        self._sampling.hear(found.source, body)
        refusal = found.refusal
        # `AR` is the sender's own fault and stays its answer; what is not mapped says nothing of the mapping.
        if found.ignored or (refusal is not None and refusal.severity is Severity.REJECT):
            return found, None
        refused = refusal is not None and not found.drafts
        kind = found.message_type
        stopped = refused and self._limits.stopped(source, kind)
        change = self._limits.hear(source, kind, refused=refused)
        if change is Change.STOPPED and refusal is not None:
            log.error(
                "%s %s is stopped: too many messages were refused, the last with %s at %s. Mend the mapping, the"
                " profile or the sender; until a good one comes they are answered AE and kept raw only",
                *(source, kind, refusal.code, refusal.location or "-"),
            )
        elif change is Change.RESUMED:
            log.info("%s %s is resumed", source, kind)
        if stopped:
            return found._replace(refusal=None, ignored="its source is stopped"), self._limits.refusal()
        return found, None

    def reload(self, settings: Settings) -> None:
        """Changed settings: whatever made messages fail may be mended, so every stop is lifted."""
        self._limits = Limits(settings.limits)
        self._sampling.reload(settings.conformance)

    def stops(self) -> list[tuple[str, str]]:
        """The sources and types that are stopped."""
        return self._limits.stops()

    def findings(self, most: int) -> list[tuple[tuple[str, str, str], int]]:
        """Check, source and rule with how often it was broken, the most frequent of each check first."""
        checks = (("profile", self._findings), ("conformance", self._sampling.findings))
        return [
            ((check, *key), count)
            for check, findings in checks
            for key, count in findings.counts.most_common(most)
        ]

    @property
    def checked(self) -> int:
        """Messages that were held against the whole standard."""
        return self._sampling.checked.total()

    def lines(self) -> list[str]:
        """What a person asks for with SIGUSR1."""
        return [*self._limits.lines(), *self._findings.lines(), *self._sampling.lines()]

    async def close(self) -> None:
        """Report no more, and end the checker."""
        self._findings.close()
        await self._sampling.close()
