"""The live generation and a new one held at equal ledgers for a moment, and compared as they were then.

Both are held only until a snapshot of the database is taken: the comparison itself takes its time.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson
import psycopg
from psycopg import Connection

from dosestream.db.compare import Comparison, Difference, compare
from dosestream.db.generations import Generation
from dosestream.events.codec import Codec
from dosestream.kafka.records import Partition
from dosestream.settings import Settings
from services.reconciler.replay.follow import Follower, behind
from services.reconciler.replay.swap import LOCK_TIMEOUT, TAIL_RECORDS, hold, positions_of

Row = tuple[object, ...]
BETWEEN_S = 0.5


@dataclass(slots=True)
class Compared:
    """A comparison, and how far the generations were from each other when it was made.

    Attributes:
        ahead: records the new generation has and the live one had not yet applied.
        behind: the other way round.
        live_owes, new_owes: groups that are to be derived again: their rows may differ for that alone.
    """

    comparison: Comparison = field(default_factory=Comparison)
    ahead: int = 0
    behind: int = 0
    live_owes: int = 0
    new_owes: int = 0

    @property
    def at_equal_ledgers(self) -> bool:
        """Whether both had applied the same."""
        return not (self.ahead or self.behind)


def comparing(
    settings: Settings,
    codec: Codec,
    follower: Follower,
    live: Generation,
    new: Generation,
    patience_s: float,
    hear: Callable[[Difference], None],
) -> Compared:
    """Compare; `hear` is given every difference.

    Waits up to `patience_s` for the live generation to have applied what the new one has, and to have derived what
    patients and the clock touched; after that they are compared as they are.
    """
    found = Compared()
    with _at_one_moment(settings, follower, live, new, patience_s, found) as connection:
        for difference in compare(connection, live, new, codec, found.comparison):
            hear(difference)
    return found


@contextmanager
def _at_one_moment(
    settings: Settings,
    follower: Follower,
    live: Generation,
    new: Generation,
    patience_s: float,
    found: Compared,
) -> Iterator[Connection[Row]]:
    """A connection in a transaction that sees both generations at equal ledgers."""
    until = time.monotonic() + patience_s
    with (
        psycopg.connect(settings.postgres.url) as seeing,
        psycopg.connect(settings.postgres.url, autocommit=True) as holding,
    ):
        seeing.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        while not _seen(seeing, holding, follower, live, new, found, last=time.monotonic() > until):
            time.sleep(BETWEEN_S)
            goal = positions_of(holding, live)
            follower.reach(goal)
            follower.settle()
        yield seeing


def _seen(
    seeing: Connection[Row],
    holding: Connection[Row],
    follower: Follower,
    live: Generation,
    new: Generation,
    found: Compared,
    *,
    last: bool,
) -> bool:
    """Whether `seeing` sees them as they should be, or as they are where it is the `last` try."""
    try:
        with holding.transaction():
            hold(holding)
            goal = positions_of(holding, live)
            mine = follower.positions()
            missing = sum(behind(mine, follower.within(goal)).values())
            if missing <= TAIL_RECORDS or last:
                mine = dict(follower.reach(goal))
                follower.settle()
            found.ahead = _records(behind(goal, mine))
            found.behind = _records(behind(mine, goal))
            found.live_owes, found.new_owes = (_owes(holding, one) for one in (live, new))
            if last or not (found.ahead or found.behind or found.live_owes or found.new_owes):
                # The snapshot is taken with the first statement.
                seeing.execute("SELECT 1")
                return True
            return False
    except psycopg.errors.LockNotAvailable:
        if last:
            raise TimeoutError(
                f"live batches did not end within {LOCK_TIMEOUT}: see what holds the database, then try again"
            ) from None
        return False


def _records(missing: dict[Partition, int]) -> int:
    return sum(missing.values())


def _owes(connection: Connection[Row], generation: Generation) -> int:
    row = connection.execute(f"SELECT count(*) FROM {generation.schema}.dirty".encode()).fetchone()
    assert row is not None
    return int(str(row[0]))


def report_line(difference: Difference) -> bytes:
    """A difference as a line of JSON."""
    return orjson.dumps(difference.line(), default=str) + b"\n"


def summary_line(compared: Compared) -> bytes:
    """The counts as the last line of a report."""
    found = compared.comparison
    document = {
        "summary": {
            "same": found.same,
            "at_equal_ledgers": compared.at_equal_ledgers,
            "ahead": compared.ahead,
            "behind": compared.behind,
            "tables": {
                one.table: {"live": one.live, "next": one.next, "differing": one.differing}
                for one in found.tables
            },
            "columns": dict(found.columns),
            "changes": [
                {"column": name, "live": before, "next": after, "studies": count}
                for (name, before, after), count in found.changes.most_common()
            ],
            "why": dict(found.reasons),
            "other_rules": found.other_rules,
        }
    }
    return orjson.dumps(document) + b"\n"
