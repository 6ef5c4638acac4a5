"""Which of two facts is the newer: by what their sources say, then by first receipt, never by arrival here."""

from typing import NamedTuple, Protocol

# An absent component sorts lowest.
ABSENT = -(2**62)


class Dated(Protocol):
    """The part of every event that says when."""

    @property
    def event_id(self) -> str: ...
    @property
    def received_at(self) -> int: ...
    @property
    def event_time(self) -> int | None: ...
    @property
    def message_time(self) -> int | None: ...
    @property
    def sequence_number(self) -> int | None: ...


class Precedence(NamedTuple):
    """The part of a version that a repeat of the message does not change. Times are microseconds."""

    event_time: int
    message_time: int
    sequence_number: int
    lifecycle: int


class Version(NamedTuple):
    """Total order of facts: precedence, then first receipt, then identity."""

    precedence: Precedence
    received_at: int
    event_id: str


def is_ahead(event: Dated, tolerance_us: int) -> bool:
    """Whether an event is dated past its receipt and the tolerance, so that its receipt decides its version."""
    latest = event.received_at + tolerance_us
    said, sent = event.event_time, event.message_time
    return (said is not None and said > latest) or (sent is not None and sent > latest)


def precedence_of(event: Dated, tolerance_us: int, lifecycle: int | None = None) -> Precedence:
    """Precedence of an event; lifecycle is the order-lifecycle rank where it is an order.

    A time counts no later than receipt plus tolerance, so that a sender from 2035 wins nothing for years.
    """
    latest = event.received_at + tolerance_us
    said, sent, number = event.event_time, event.message_time, event.sequence_number
    return Precedence(
        ABSENT if said is None else said if said < latest else latest,
        ABSENT if sent is None else sent if sent < latest else latest,
        ABSENT if number is None else number,
        ABSENT if lifecycle is None else lifecycle,
    )


def version_of(event: Dated, tolerance_us: int, lifecycle: int | None = None) -> Version:
    """Version of an event."""
    return Version(precedence_of(event, tolerance_us, lifecycle), event.received_at, event.event_id)
