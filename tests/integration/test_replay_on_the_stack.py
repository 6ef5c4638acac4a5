"""`dosestream replay` on a stack of its own, under traffic: readers, kills, and the truth at the end."""

import itertools
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from running_stack import DOSESTREAM, RunningStack, wait_until

from dosestream.cli import watch
from dosestream.db.digest import digest
from dosestream.db.generations import Generation, State, entries, live_generation
from dosestream.db.rows import content_hash
from dosestream.events.codec import Codec
from dosestream.events.records import Dose
from dosestream.kafka.topics import Topic
from dosestream.past.history import difference, history
from dosestream.past.picture import picture
from dosestream.past.read import newest_tick, read
from dosestream.reconcile.rules import Rules
from dosestream.settings import KafkaSettings
from dosestream.simulate.history import OVER_DAYS
from dosestream.simulate.history import history as drawn_history
from dosestream.simulate.main import await_truth
from dosestream.simulate.play import Ports, play
from dosestream.simulate.score import score
from dosestream.simulate.truth import Line

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

BASE = datetime.now(UTC).date() - timedelta(days=OVER_DAYS)
SEEDS = itertools.count(7100)
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that no other file's tests see: generations come and go here."""
    with RunningStack.start(tmp_path_factory.mktemp("replayed")) as running:
        told(running)
        yield running


def told(stack: RunningStack) -> list[Line]:
    """Play a history through the ports; returns its truth."""
    drawn = drawn_history(next(SEEDS), BASE, days=1, sites=1, studies_a_day=10, compressed=True)
    played = play(drawn.timeline, Ports.of(stack.ready), PATIENCE_S)
    assert played.surprises == ()
    TRUTH.extend(lines := list(drawn.truth()))
    return lines


# Everything that was played into the stack.
TRUTH: list[Line] = []


def replay(stack: RunningStack, *arguments: str) -> str:
    """Run the command to its end; returns what it said."""
    done = subprocess.run(command(stack, *arguments), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


def command(stack: RunningStack, *arguments: str) -> list[str]:
    return [DOSESTREAM, "replay", *arguments, "--ready-file", str(stack.ready_file)]


def at_rest(stack: RunningStack) -> None:
    wait_until(
        lambda: watch.behind(stack.ready["kafka"], stack.ready["postgres"]) == 0, "the ledger at the end", 90
    )


def ends_with_its_truth(stack: RunningStack) -> None:
    at_rest(stack)
    assert await_truth(stack.ready["postgres"], TRUTH, PATIENCE_S) == []
    assert score(stack.ready["postgres"], TRUTH).wrong == ()


def ask(stack: RunningStack, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(stack.ready["postgres"]) as connection:
        return connection.execute(query.encode()).fetchall()


def live(stack: RunningStack) -> Generation:
    with psycopg.connect(stack.ready["postgres"]) as connection:
        found = live_generation(connection)
    assert found is not None
    return found


class Reader(threading.Thread):
    """Counts studies, their links and their events, over and over: they only ever become more."""

    QUERY = (
        b"SELECT (SELECT count(*) FROM dose.study), (SELECT count(*) FROM dose.irradiation_event), "
        b"(SELECT count(*) FROM dose.message)"
    )

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._over = url, threading.Event()
        self.seen: list[tuple[Any, ...]] = []

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.is_set():
                self.seen += connection.execute(self.QUERY).fetchall()

    def stop(self) -> None:
        self._over.set()
        self.join(30)


@pytest.fixture
def reader(stack: RunningStack) -> Iterator[Reader]:
    """A reader who never sees fewer rows than before."""
    found = Reader(stack.ready["postgres"])
    found.start()
    yield found
    found.stop()
    assert len(found.seen) > 10
    for before, after in itertools.pairwise(found.seen):
        assert all(a >= b for a, b in zip(after, before, strict=True)), (before, after)


def test_a_swap_under_traffic_shows_readers_one_or_the_other_and_ends_with_the_truth(
    stack: RunningStack, reader: Reader
) -> None:
    before = live(stack)
    playing = threading.Thread(target=told, args=(stack,))
    playing.start()
    said = replay(stack, "--from", "normalised", "--swap")
    playing.join(PATIENCE_S)
    assert "is live" in said
    assert live(stack) != before
    ends_with_its_truth(stack)


def test_a_rollback_loses_nothing_that_came_since_the_swap(stack: RunningStack, reader: Reader) -> None:
    before = live(stack)
    replay(stack, "--from", "normalised", "--swap", "--fresh")
    told(stack)
    at_rest(stack)
    said = replay(stack, "--rollback")
    assert "is live" in said
    assert live(stack) == before
    ends_with_its_truth(stack)


# What it says when the phase begins, and how far the generation has come at least when it is killed then.
PHASES = [
    pytest.param("building generation", {State.BUILDING, State.BUILT}, id="while it builds"),
    pytest.param("shown in schema", {State.BUILT, State.CAUGHT_UP}, id="when it has built"),
    pytest.param("comparing generation", {State.CAUGHT_UP}, id="while it compares"),
    pytest.param("swapping", {State.CAUGHT_UP, State.LIVE}, id="while it swaps"),
]


@pytest.mark.parametrize(("said", "states"), PHASES)
def test_kill_9_leaves_the_live_generation_and_the_same_command_goes_on(
    stack: RunningStack, reader: Reader, said: str, states: set[State]
) -> None:
    told(stack)
    before = live(stack)
    arguments = ("--from", "normalised", "--swap")
    process = subprocess.Popen(
        command(stack, *arguments, "--fresh"), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if said in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    with psycopg.connect(stack.ready["postgres"]) as connection:
        newest = entries(connection)[-1]
    assert newest.state in states
    if newest.state is not State.LIVE:
        assert live(stack) == before
        # Its session may take a moment to end with it.
        wait_until(lambda: "another replay" not in _tried(stack, arguments), "the lock of the one killed")
        assert live(stack) == newest.generation
    ends_with_its_truth(stack)


def _tried(stack: RunningStack, arguments: tuple[str, ...]) -> str:
    done = subprocess.run(command(stack, *arguments), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 or "another replay" in done.stderr, done.stderr
    return done.stderr


def test_two_replays_hold_the_same(stack: RunningStack) -> None:
    at_rest(stack)
    found = []
    until = datetime.now(UTC).isoformat()
    for into in ("dose_one", "dose_two"):
        replay(stack, "--from", "normalised", "--until", until, "--into", into)
        with psycopg.connect(stack.ready["postgres"], autocommit=True) as connection:
            entry = next(one for one in entries(connection) if one.views == into)
            found.append(digest(connection, entry.generation))
    assert found[0] == found[1]


@pytest.mark.parametrize("source", ["normalised", "raw"])
def test_what_is_built_is_what_is_live(stack: RunningStack, source: str, tmp_path: Path) -> None:
    at_rest(stack)
    report = tmp_path / "report.jsonl"
    said = replay(stack, "--from", source, "--report", str(report), "--into", f"dose_{source}")
    assert "the public rows are the same" in said
    summary = json.loads(report.read_text().splitlines()[-1])["summary"]
    assert (summary["same"], summary["at_equal_ledgers"]) == (True, True)
    assert report.stat().st_mode & 0o077 == 0


def test_subscribers_keep_the_rows_of_the_database_through_swaps(stack: RunningStack) -> None:
    at_rest(stack)
    published = records_on(stack, Topic.DOSE)
    said = replay(stack, "--from", "normalised", "--swap", "--fresh")
    assert "; 0 rows are published" in said
    wait_until(lambda: not ask(stack, f"SELECT 1 FROM {live(stack).schema}.outbox"), "all marks published")
    assert records_on(stack, Topic.DOSE) == published
    newest = dose_topic(stack)
    rows = ask(stack, "SELECT study_instance_uid, revision FROM dose.study")
    assert {uid: revision for uid, (revision, there) in newest.items() if there} == dict(rows)


def records_on(stack: RunningStack, topic: Topic) -> int:
    return next(
        state.records
        for state in watch.topics(stack.ready["kafka"], stack.ready["postgres"])
        if state.name == topic
    )


def dose_topic(stack: RunningStack) -> dict[str, tuple[int, bool]]:
    """Study to its highest revision on the topic, and whether the newest record is no tombstone."""
    consumer = Consumer(
        {"bootstrap.servers": stack.ready["kafka"], "group.id": "test", "enable.partition.eof": True}
    )
    _, ends = watch.watermarks(stack.ready["kafka"])
    places = [TopicPartition(*place, 0) for place, end in ends.items() if place[0] == Topic.DOSE and end]
    consumer.assign(places)
    left, found = len(places), dict[str, tuple[int, bool]]()
    while left:
        for message in consumer.consume(500, timeout=1.0):
            if message.error() is not None:
                left -= 1
                continue
            key, value = message.key(), message.value()
            assert key is not None
            revision = 0 if value is None else Codec().decode(value, Dose).revision
            known = found.get(key.decode(), (0, False))
            found[key.decode()] = (max(known[0], revision), value is not None)
    consumer.close()
    return found


def test_as_of_is_what_was_known_then_in_the_database_and_from_the_topics(stack: RunningStack) -> None:
    at_rest(stack)
    ((middle,),) = ask(
        stack, "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY received_at) FROM dose.message"
    )
    replay(stack, "--from", "normalised", "--until", middle.isoformat(), "--into", "dose_then")
    (entry,) = [e for e in all_entries(stack) if e.views == "dose_then"]
    assert entry.until is not None
    query = "SELECT study_instance_uid, content_hash FROM {}.study ORDER BY random() LIMIT 8"
    kafka, rules = KafkaSettings(bootstrap=stack.ready["kafka"]), Rules()
    for uid, hashed in ask(stack, query.format(entry.generation.schema)):
        events = read(kafka, Codec(), rules, uid).events.values()
        then = picture((e for e in events if e.received_at <= entry.until), uid, rules, entry.until)
        assert then is not None
        assert content_hash({"study": then.row, "orders": list(then.orders)}) == hashed
        now = newest_tick(kafka, Codec())
        assert now is not None
        # What changed since leads from the one to the other.
        steps = list(history(events, uid, rules, now, entry.until))
        last = steps[-1].picture if steps else then
        assert difference(last, picture(events, uid, rules, now)) == {}


def all_entries(stack: RunningStack) -> list[Any]:
    with psycopg.connect(stack.ready["postgres"]) as connection:
        return entries(connection)


def test_show_tells_the_row_and_the_messages_that_changed_it(stack: RunningStack) -> None:
    at_rest(stack)
    ((uid, accession),) = ask(
        stack,
        "SELECT study_instance_uid, accession_number FROM dose.study WHERE link_state = 'linked' "
        "ORDER BY revision DESC LIMIT 1",
    )
    done = subprocess.run(
        [DOSESTREAM, "show", uid, "--history", "--json", "--ready-file", str(stack.ready_file)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["study"]["accession_number"] == accession
    first = document["changes"][0]
    assert first["columns"]["study_instance_uid"] == {"before": None, "after": uid}
    assert all(one["by"]["what"] == "time" or one["by"]["control_id"] for one in document["changes"])


IN_THE_WAY = [
    pytest.param(
        "READ COMMITTED", "SELECT count(*) FROM dose.study", "are held by process", id="it read a view"
    ),
    pytest.param(
        "REPEATABLE READ",
        "SELECT 1",
        "transactions read an older state of the database",
        id="its snapshot is older than the new tables",
    ),
]


@pytest.mark.parametrize(("isolation", "query", "why"), IN_THE_WAY)
def test_a_reader_in_the_way_of_a_swap_is_named_and_never_ended(
    stack: RunningStack, isolation: str, query: str, why: str
) -> None:
    at_rest(stack)
    before = live(stack)
    with psycopg.connect(stack.ready["postgres"]) as reading:
        reading.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        reading.execute(query.encode())
        refused = subprocess.run(
            command(stack, "--from", "normalised", "--swap", "--fresh", "--no-compare", "--patience", "3"),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert refused.returncode == 2
        assert f"{reading.info.backend_pid}" in refused.stderr
        assert why in refused.stderr
        assert live(stack) == before
        # In its transaction it goes on as if nothing had been.
        found = reading.execute("SELECT count(*) FROM dose.study").fetchone()
        assert found == ask(stack, "SELECT count(*) FROM dose.study")[0]
    assert "going on with" in replay(stack, "--from", "normalised", "--swap")
    assert live(stack) != before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "normalised", "--into", "dose"], "is there for something else"),
        (["--from", "normalised", "--into", "theirs"], "there is such a schema already"),
        (["--from", "normalised", "--until", "2026-03-02", "--swap"], "--until is for looking"),
        (["--rollback", "--from", "raw"], "give one of"),
        (["--from", "normalised", "--publish"], "--publish is for --from raw"),
        (["--from", "normalised", "--until", "yesterday"], "is no time"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_touched(
    stack: RunningStack, arguments: list[str], sentence: str
) -> None:
    with psycopg.connect(stack.ready["postgres"]) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS theirs")
    before = all_entries(stack)
    done = subprocess.run(command(stack, *arguments), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert all_entries(stack) == before
