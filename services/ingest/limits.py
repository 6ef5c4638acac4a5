"""When what a source sends is all refused: stop filling the rejected topic, and tell the sender to hold.

After a bad change of a mapping, or of a sender, every message of a kind is refused. The first ones are stored
as rejected, for a person to see; once there are as many as the limit, the source's messages of that type are
answered `AE` whatever `on_reject` says, so that its queue holds them, and are kept raw only. Every message is
still tried: the first good one lifts the stop, and so does a reload of the configuration.

Pure: no clock, no I/O.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum

from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.settings import LimitSettings

# Senders choose their names: beyond so many sources and types the one longest not heard is forgotten.
MOST_REMEMBERED = 4096

# The code of what a sender hears whose source is stopped; a message that heard it is no repeat when it comes again.
STOPPED = "source_stopped"


class Change(StrEnum):
    """What a message did to the standing of its source."""

    NONE = "none"
    STOPPED = "stopped"
    RESUMED = "resumed"


@dataclass(slots=True)
class _Record:
    """The messages of one source and type: how many there were, and which of the last ones were refused, by number."""

    heard: int = 0
    refused: deque[int] = field(default_factory=deque)
    in_a_row: int = 0
    stopped: bool = False
    held: int = 0


class Limits:
    """Counts refused messages per source and message type."""

    def __init__(self, settings: LimitSettings) -> None:
        self._settings = settings
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()

    def stopped(self, source: str, kind: str) -> bool:
        """Whether refused messages of that source and type are no longer stored as rejected."""
        record = self._records.get((source, kind))
        return record is not None and record.stopped

    def hear(self, source: str, kind: str, *, refused: bool) -> Change:
        """Count one message that was tried."""
        record = self._record(source, kind)
        record.heard += 1
        if not refused and not record.refused:
            return Change.NONE  # nearly every message
        if record.stopped and refused:
            record.held += 1
        if refused:
            record.refused.append(record.heard)
        while record.refused and record.refused[0] <= record.heard - self._settings.rejected_among:
            record.refused.popleft()
        record.in_a_row = record.in_a_row + 1 if refused else 0
        before, record.stopped = record.stopped, self._is_over(record)
        if before == record.stopped:
            return Change.NONE
        record.held = 0
        return Change.STOPPED if record.stopped else Change.RESUMED

    def refusal(self) -> Refusal:
        """What the sender of a message hears that is refused while its source is stopped."""
        return Refusal(
            STOPPED,
            207,
            f"Stopped: {self._settings.rejected_in_a_row} messages of this type were refused. Keep the message;"
            " mend it or the configuration; the first good message, or a reload, resumes.",
            severity=Severity.ERROR,
        )

    def stops(self) -> list[tuple[str, str]]:
        """The sources and types that are stopped."""
        return [key for key, record in self._records.items() if record.stopped]

    def lines(self) -> list[str]:
        """A sentence for each source and type that is stopped."""
        return [
            f"{source} {kind} is stopped: {record.in_a_row} messages in a row refused, {record.held} of them"
            " held back since"
            for (source, kind), record in self._records.items()
            if record.stopped
        ]

    def _record(self, source: str, kind: str) -> _Record:
        key = source, kind
        if (record := self._records.get(key)) is None:
            record = self._records[key] = _Record()
            while len(self._records) > MOST_REMEMBERED:
                self._records.popitem(last=False)
        else:
            self._records.move_to_end(key)
        return record

    def _is_over(self, record: _Record) -> bool:
        most, among = self._settings.rejected_in_a_row, self._settings.rejected_among
        if not most:
            return False
        share = len(record.refused) / among if record.heard >= among else 0.0
        return record.in_a_row >= most or share >= self._settings.rejected_share
