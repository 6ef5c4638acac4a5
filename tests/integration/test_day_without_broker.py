"""The simulated stories through mapping, dose extraction and reconciliation on a real database, with no broker
between: fast enough to try every story in many orders.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from heard import events_of, recorded

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.migrate import migrate
from dosestream.db.records import Decoded
from dosestream.events.codec import Codec
from dosestream.kafka.publisher import Position
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import FACTS, Topic
from dosestream.reconcile.rules import rules_from
from dosestream.settings import Settings
from dosestream.simulate.compare import compare
from dosestream.simulate.day import Day, plan, scenario
from dosestream.simulate.scenarios import SCENARIOS
from dosestream.simulate.stored import stored
from dosestream.simulate.timeline import DICOM, Step, backwards, doubled, shuffled
from dosestream.simulate.truth import Line

pytestmark = pytest.mark.stack

BASE = datetime.now(UTC).date()
SETTINGS = Settings()
CODEC = Codec()
RULES = rules_from(SETTINGS)


class Pipeline:
    """From steps to rows in one database, in batches of a given size."""

    def __init__(self, url: str) -> None:
        migrate(url)
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True)
        with self.connection.transaction(), self.connection.cursor() as cursor:
            enter_live_generation(cursor)
            ledger.begin(cursor, {Partition(str(topic), 0): 0 for topic in FACTS})
        self.offsets = {str(topic): itertools.count() for topic in FACTS}
        now = int(datetime.now(UTC).timestamp() * 1_000_000)
        self.clock = itertools.count(now, 1000)

    def events(self, step: Step, number: int) -> list[Decoded]:
        _, raw = stored(step, SETTINGS)
        events = events_of(replace(raw, received_at=next(self.clock)), Position(0, number), SETTINGS)
        kept = [(topic, event) for topic, event in events if topic != Topic.REJECTED]
        taken = step.channel == DICOM or step.answer in ("AA", "CA")
        assert (len(kept) == len(events)) == taken, events
        return [recorded(topic, event, next(self.offsets[str(topic)])) for topic, event in kept]

    def play(self, steps: Sequence[Step], batch: int) -> None:
        waiting: list[Decoded] = []
        for number, step in enumerate(steps):
            waiting += self.events(step, number)
            if len(waiting) >= batch:
                apply(self.connection, CODEC, RULES, waiting)
                waiting = []
        apply(self.connection, CODEC, RULES, waiting)
        while derive_dirty(self.connection, CODEC, RULES):
            pass
        self.connection.close()


ORDERS: dict[str, Callable[[Sequence[Step]], Sequence[Step]]] = {
    "as sent": lambda steps: steps,
    "backwards": backwards,
    "shuffled": lambda steps: shuffled(steps, 7),
    "doubled": lambda steps: doubled(steps, 3),
    "shuffled and doubled": lambda steps: shuffled(doubled(steps, 5), 11),
}


@pytest.fixture(scope="module")
def everything() -> tuple[list[Day], list[Line]]:
    """Every story once in each kind of room, each by a seed of its own."""
    rooms = ("CT1", "XA1", "XA2", "MG1")
    days = [
        scenario(name, 100 + 4 * number + room_number, BASE, room)
        for number, name in enumerate(SCENARIOS)
        for room_number, room in enumerate(rooms)
    ]
    return days, [line for day in days for line in day.truth()]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("batch", [1, 500], ids=["one by one", "in batches"])
def test_every_story_ends_with_its_truth_in_any_order(
    everything: tuple[list[Day], list[Line]], fresh_database: Callable[[], str], order: str, batch: int
) -> None:
    days, lines = everything
    steps = [step for day in days for step in day.timeline]
    pipeline = Pipeline(fresh_database())
    pipeline.play(ORDERS[order](steps), batch)
    assert compare(pipeline.url, lines) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_day_ends_with_its_truth(fresh_database: Callable[[], str], seed: int) -> None:
    day = plan(seed, BASE)
    pipeline = Pipeline(fresh_database())
    pipeline.play(day.timeline, 50)
    assert compare(pipeline.url, day.truth()) == []


def test_days_of_several_sites_share_one_database(fresh_database: Callable[[], str]) -> None:
    days = [plan(4, BASE, site, sites=2) for site in (1, 2)]
    pipeline = Pipeline(fresh_database())
    pipeline.play(shuffled([step for day in days for step in day.timeline], 1), 100)
    assert compare(pipeline.url, [line for day in days for line in day.truth()]) == []


def test_a_merge_that_never_arrives_shows_as_a_difference(fresh_database: Callable[[], str]) -> None:
    day = scenario("merge_after_both", 5, BASE)
    pipeline = Pipeline(fresh_database())
    pipeline.play([step for step in day.timeline if step.kind != "ADT^A40"], 50)
    columns = {difference.column for difference in compare(pipeline.url, day.truth())}
    assert {"merged_into_id", "patient_id", "patient_name"} <= columns
