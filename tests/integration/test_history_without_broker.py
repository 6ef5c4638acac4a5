"""Histories of simulated hospitals through mapping, dose extraction and reconciliation on a real database, in the
order they are received, the clock ticking along: every link and every cell against the truth.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
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
from dosestream.events.records import Clock, Event, RawMessage, Study
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import FACTS, Topic
from dosestream.mapping.normalise import normalise
from dosestream.reconcile.rules import rules_from
from dosestream.settings import Settings, source_for_hl7
from dosestream.simulate.compare import compare
from dosestream.simulate.history import History, history
from dosestream.simulate.score import score
from dosestream.simulate.timeline import HL7, HOUR, Step, shuffled

pytestmark = pytest.mark.stack

BASE = date(2026, 3, 14)
SETTINGS = Settings()
CODEC = Codec()
RULES = rules_from(SETTINGS)
BATCH = 500
TICK_EVERY = 12 * HOUR


class At(NamedTuple):
    partition: int
    offset: int


def heard(step: Step, number: int) -> list[tuple[Topic, Event]]:
    """What ingest or arrivals make of a step that is received when it is sent."""
    source = step.sender
    if step.channel == HL7:
        head = step.body.split(b"\r", 1)[0].decode("latin-1").split("|")
        source = source_for_hl7(SETTINGS, head[2], head[3]).name
    raw = RawMessage(
        source=source,
        control_id=step.name,
        message_type=step.kind,
        received_at=step.sent_at,
        transport="mllp" if step.channel == HL7 else "dicom",
        content_hash=content_hash(step.body),
        answer=step.answer,
        body=step.body,
    )
    if step.channel == HL7:
        normalised = normalise(raw, At(0, number), SETTINGS)
        assert normalised.rejection is None, normalised.rejection
        return list(normalised.events)
    study = study_event(raw, 0, number, SETTINGS)
    assert isinstance(study, Study), study
    return [(Topic.STUDY, study)]


def ticking(steps: Sequence[Step], end: int) -> Iterator[tuple[Topic, Event]]:
    """The events of all steps, and the ticks of a clock that goes along with them to the end."""
    next_tick = steps[0].sent_at
    for number, step in enumerate(steps):
        while step.sent_at >= next_tick:
            yield Topic.CLOCK, Clock(at=next_tick, ticker="test")
            next_tick += TICK_EVERY
        yield from heard(step, number)
    yield Topic.CLOCK, Clock(at=end, ticker="test")


def recorded(events: Iterable[tuple[Topic, Event]]) -> Iterator[Decoded]:
    """Events as they come back from Kafka."""
    offsets = {str(topic): itertools.count() for topic in FACTS}
    for topic, event in events:
        value = CODEC.encode(event)
        record = Record(Partition(str(topic), 0), next(offsets[str(topic)]), value)
        yield Decoded(record, CODEC.decode(value, type(event)))


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
        stream = recorded(ticking(steps, played.end))
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
