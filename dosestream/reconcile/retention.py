"""Which groups of facts may leave the database: how long they are kept, and what is kept in any case."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What a group's rows say of it.

    Attributes:
        newest: the latest of its receipts, study times and schedules, microseconds since 1970 UTC.
        nameless: no identifier leads to it: a repeat of its message would not find it.
        dirty: it waits to be derived again.
        missing: it has a study whose dose report is missing, which its facts show.
        doubtful: it has a study that is ambiguous, in conflict, or waits for its order.
        open: it has a row that is provisional or falls due.
        outstanding: it has an order that is expected or overdue.
    """

    newest: int
    nameless: bool = False
    dirty: bool = False
    missing: bool = False
    doubtful: bool = False
    open: bool = False
    outstanding: bool = False


# Kept however old they are; then those that a second, longer limit lets go. The first reason that fits is told.
ALWAYS: Final[tuple[tuple[str, Callable[[Standing], bool]], ...]] = (
    ("no identifier leads to it", lambda s: s.nameless),
    ("to be derived again", lambda s: s.dirty),
    ("dose report missing", lambda s: s.missing),
)
UNSETTLED: Final[tuple[tuple[str, Callable[[Standing], bool]], ...]] = (
    ("link waiting, ambiguous or in conflict", lambda s: s.doubtful),
    ("provisional or due", lambda s: s.open),
    ("order expected or overdue", lambda s: s.outstanding),
)
RECENT: Final = "newer than the limit"


@dataclass(frozen=True, slots=True)
class Limits:
    """Times before which facts may go, microseconds since 1970 UTC; 0 for never.

    Attributes:
        facts: for groups in which nothing is open.
        unsettled: for the others.
    """

    facts: int
    unsettled: int


def before(now: int, days: int) -> int:
    """The time so many days ago; 0 where the number of days is 0, which keeps for ever."""
    return now - days * DAY_US if days else 0


def why_kept(standing: Standing, limits: Limits) -> str | None:
    """Why a group stays, None where it may go."""
    for reason, holds in ALWAYS:
        if holds(standing):
            return reason
    if standing.newest >= limits.facts:
        return RECENT
    if standing.newest >= limits.unsettled:
        for reason, holds in UNSETTLED:
            if holds(standing):
                return reason
    return None
