"""Histories of simulated hospitals through mapping, dose extraction and reconciliation on a real database, in the
order they are received, the clock ticking along: every link and every cell against the truth.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import date

import psycopg
import pytest
from heard import heard, recorded

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.migrate import migrate
from dosestream.events.codec import Codec
from dosestream.events.records import Clock, Event
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import FACTS, Topic
from dosestream.reconcile.rules import rules_from
from dosestream.settings import Settings
from dosestream.simulate.compare import compare
from dosestream.simulate.history import History, history
from dosestream.simulate.score import score
from dosestream.simulate.timeline import HOUR, Step, shuffled

pytestmark = pytest.mark.stack

BASE = date(2026, 3, 14)
SETTINGS = Settings()
CODEC = Codec()
RULES = rules_from(SETTINGS)
BATCH = 500
TICK_EVERY = 12 * HOUR


def ticking(steps: Sequence[Step], end: int) -> Iterator[tuple[Topic, Event]]:
    """The events of all steps, and the ticks of a clock that goes along with them to the end."""
    next_tick = steps[0].sent_at
    for number, step in enumerate(steps):
        while step.sent_at >= next_tick:
            yield Topic.CLOCK, Clock(at=next_tick, ticker="test")
            next_tick += TICK_EVERY
        yield from heard(step, number, SETTINGS)
    yield Topic.CLOCK, Clock(at=end, ticker="test")


def settle(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    while derive_dirty(connection, CODEC, RULES):
        pass


def reconciled(url: str, played: History, steps: Sequence[Step]) -> None:
    """The dose database once these steps were heard and the clock has come to the end."""
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.transaction(), connection.cursor() as cursor:
            enter_live_generation(cursor)
            ledger.begin(cursor, {Partition(str(topic), 0): 0 for topic in FACTS})
        offsets = {str(topic): itertools.count() for topic in FACTS}
        stream = (
            recorded(topic, event, next(offsets[str(topic)])) for topic, event in ticking(steps, played.end)
        )
        while batch := list(itertools.islice(stream, BATCH)):
            apply(connection, CODEC, RULES, batch)
            settle(connection)


def check(url: str, played: History) -> None:
    lines = played.truth()
    result = score(url, lines)
    print(result)
    assert result.wrong == ()
    assert result.strong_share == 1.0
    assert result.precision == 1.0
    assert result.weak_recall >= 0.95
    assert result.open_right == result.open_studies
    assert compare(url, lines) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_three_days_of_two_hospitals_end_with_their_truth(
    fresh_database: Callable[[], str], seed: int
) -> None:
    played = history(seed, BASE, days=3, sites=2)
    url = fresh_database()
    reconciled(url, played, played.timeline)
    check(url, played)


def test_a_history_read_in_any_order_ends_with_the_same_truth(fresh_database: Callable[[], str]) -> None:
    played = history(3, BASE, days=2, sites=2)
    url = fresh_database()
    reconciled(url, played, shuffled(played.timeline, 9))
    check(url, played)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_thirty_days_of_three_hospitals_end_with_their_truth(fresh_database: Callable[[], str]) -> None:
    played = history(1, BASE, days=30, sites=3)
    url = fresh_database()
    reconciled(url, played, played.timeline)
    check(url, played)
