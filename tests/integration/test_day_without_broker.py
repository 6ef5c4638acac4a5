"""The simulated stories through mapping, dose extraction and reconciliation on a real database, with no broker
between: fast enough to try every story in many orders.
"""

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
import pytest

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.migrate import migrate
from dosestream.db.records import Decoded
from dosestream.dose.arrival import study_event
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import RawMessage, Rejection
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import FACTS, Topic
from dosestream.mapping.normalise import normalise
from dosestream.reconcile.rules import rules_from
from dosestream.settings import Settings, source_for_hl7
from dosestream.simulate.compare import compare
from dosestream.simulate.day import Day, plan, scenario
from dosestream.simulate.scenarios import SCENARIOS
from dosestream.simulate.timeline import HL7, Step, backwards, doubled, shuffled
from dosestream.simulate.truth import Line

pytestmark = pytest.mark.stack

BASE = datetime.now(UTC).date()
SETTINGS = Settings()
CODEC = Codec()
RULES = rules_from(SETTINGS)


class At(NamedTuple):
    partition: int
    offset: int


def raw_of(step: Step, received_at: int) -> RawMessage:
    """The raw record a listener would make."""
    source = step.sender
    if step.channel == HL7:
        head = step.body.split(b"\r", 1)[0].decode("latin-1").split("|")
        source = source_for_hl7(SETTINGS, head[2], head[3]).name
    return RawMessage(
        source=source,
        control_id=step.name,
        message_type=step.kind,
        received_at=received_at,
        transport="mllp" if step.channel == HL7 else "dicom",
        content_hash=content_hash(step.body),
        answer=step.answer,
        body=step.body,
    )


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
        raw = raw_of(step, next(self.clock))
        if step.channel == HL7:
            normalised = normalise(raw, At(0, number), SETTINGS)
            assert (normalised.rejection is None) == (step.answer in ("AA", "CA")), normalised.rejection
            events = list(normalised.events)
        else:
            study = study_event(raw, 0, number, SETTINGS)
            assert not isinstance(study, Rejection), study
            events = [(Topic.STUDY, study)]
        decoded = []
        for topic, event in events:
            value = CODEC.encode(event)
            record = Record(Partition(str(topic), 0), next(self.offsets[str(topic)]), value)
            decoded.append(Decoded(record, CODEC.decode(value, type(event))))
        return decoded

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
