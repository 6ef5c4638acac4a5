"""What the messages of one sender and kind have in common, found out once: their source, type and time zone, and
whether they are taken at all. Pure.
"""

from datetime import tzinfo
from typing import Any, NamedTuple

from dosestream.hl7.acceptance import Refusal, check
from dosestream.hl7.header import Header
from dosestream.hl7.times import zone
from dosestream.settings import Settings, SourceSettings, source_for_hl7

# Senders choose their names: no more than so many are remembered, and none that says this much.
MOST_REMEMBERED = 4096
LONGEST_REMEMBERED = 512


class Sender(NamedTuple):
    """One sender's messages of one kind.

    Attributes:
        source: who sends them.
        code, trigger: MSH-9.
        kind: both, as `ORM^O01`.
        local: the zone of times without offset.
        refusal: why none of them is taken, whatever they hold.
    """

    source: SourceSettings
    code: str
    trigger: str
    kind: str
    local: tzinfo
    refusal: Refusal | None


class Senders:
    """The senders of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[Any, Sender] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    def of(self, header: Header, source: SourceSettings | None) -> Sender:
        """The sender of a message; `source` is looked up from MSH-3 and MSH-4 where it is None."""
        fields = header.fields
        if not header.field(10).strip():
            return self._find(header, source)
        # MSH-3, 4, 9, 11 and 12.
        said = (*fields[2:4], fields[8], *fields[10:12], header.delimiters)
        found = self._known.get(said)
        if found is None or (source is not None and found.source is not source):
            found = self._find(header, source)
            if source is None and sum(map(len, said)) <= LONGEST_REMEMBERED:
                if len(self._known) >= MOST_REMEMBERED:
                    self._known.clear()
                self._known[said] = found
        return found

    def _find(self, header: Header, source: SourceSettings | None) -> Sender:
        source = source or source_for_hl7(self._settings, header.party(3), header.party(4))
        code, trigger = header.word(9, 1), header.word(9, 2)
        return Sender(
            source,
            code,
            trigger,
            f"{code}^{trigger}",
            zone(source.timezone or self._settings.site.timezone),
            check(header, source.processing_ids),
        )


_newest: tuple[Settings, Senders] | None = None


def senders_of(settings: Settings) -> Senders:
    """The senders of a configuration; those of the newest one asked for are kept."""
    global _newest
    known = _newest
    if known is None or known[0] is not settings:
        known = _newest = settings, Senders(settings)
    return known[1]
