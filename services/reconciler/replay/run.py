"""`dosestream replay` from beginning to end: build, show, follow, compare, swap; each step can be gone on with.

The registry says how far a generation has come, so a run that was killed goes on where it is started again. Until
the swap commits nothing of the live generation is touched.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import Connection

from dosestream.db import generations
from dosestream.db.generations import NEXT_VIEWS, Entry, Generation, Origin, State
from dosestream.events.codec import Codec
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import FACTS, Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import Settings
from services.reconciler.replay.basis import basis_of
from services.reconciler.replay.build import build
from services.reconciler.replay.follow import Follower, behind
from services.reconciler.replay.plan import BuildPlan, Progress, ReadingMaker
from services.reconciler.replay.raw import AS_THEY_ARE, RAW
from services.reconciler.replay.swap import Swapped, positions_of, swap

Row = tuple[object, ...]
# Any number: one replay at a time.
ADVISORY_LOCK = 0x7265706C
DROP_TIMEOUT = "2s"
DROP_TRIES = 10


class ReplayError(Exception):
    """The replay cannot go on, or not as asked; the message says what to do. The live generation is as it was."""


class Teller(Protocol):
    """Who is told how it goes."""

    def say(self, text: str) -> None:
        """One sentence."""

    def progress(self, progress: Progress) -> None:
        """How far the build is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        into: the schema whose views show the new generation.
        until: leave out what was received later, microseconds since 1970 UTC.
        work: a folder for what the build puts aside; a folder of the generation's own is made in it.
        fresh: do not go on with a generation that is there.
        accept_loss: build and swap although topics no longer hold all that was said.
        reading: what makes events of raw records, where it is built from those.
    """

    origin: Origin
    work: Path
    into: str = NEXT_VIEWS
    until: int | None = None
    swap: bool = False
    workers: int = 2
    fresh: bool = False
    accept_loss: bool = False
    patience_s: float = 600.0
    reading: ReadingMaker | None = None


@dataclass(frozen=True, slots=True)
class Captured:
    """High watermarks at the start: where the build stops, and where the ledger stands afterwards."""

    stops: Mapping[Partition, int]
    ledger: Mapping[Partition, int]


# Compares the live generation and the new one, which the follower keeps up.
Comparing = Callable[[Follower, Generation, Generation], None]


def replay(
    settings: Settings,
    codec: Codec,
    rules: Rules,
    wanted: Wanted,
    teller: Teller,
    comparing: Comparing | None = None,
) -> tuple[Entry, Swapped | None]:
    """Build a generation, bring it up to the live one, and swap where asked.

    Raises:
        ReplayError: it cannot be as asked.
        BuildError, SwapError, StandstillError, RetentionError: see there.
        psycopg.OperationalError: the database went away: start it again, it goes on.
    """
    with alone(settings) as connection:
        entry = _entry(settings, connection, wanted, teller)
        if entry.state is State.BUILDING:
            _build(settings, connection, wanted, entry, teller)
        if entry.until is not None:
            return entry, None
        follower = Follower(settings, codec, rules, entry.generation)
        try:
            live = _follow(connection, follower, entry.generation, teller)
            if comparing is not None:
                comparing(follower, live, entry.generation)
            swapped = None
            if wanted.swap:
                teller.say("swapping")
                swapped = swap(settings, follower, entry.generation, wanted.patience_s, teller.say)
        finally:
            follower.close()
        return entry, swapped


def roll_back(
    settings: Settings, codec: Codec, rules: Rules, patience_s: float, teller: Teller
) -> tuple[Generation, Swapped]:
    """Bring the newest old generation up to the live one, and make it live again.

    Raises:
        ReplayError: there is none.
    """
    with alone(settings) as connection:
        old = [entry for entry in generations.entries(connection) if entry.state is State.OLD]
        if not old:
            raise ReplayError("no old generation is there to go back to: build one with `dosestream replay`")
        generation = old[-1].generation
        with connection.transaction():
            generations.migrate_tables(connection, generation)
        follower = Follower(settings, codec, rules, generation)
        try:
            _follow(connection, follower, generation, teller, mark=False)
            return generation, swap(settings, follower, generation, patience_s, teller.say)
        finally:
            follower.close()


def drop_old(settings: Settings, teller: Teller) -> int:
    """Drop every old generation; returns how many there were."""
    with alone(settings) as connection:
        return _drop(connection, lambda entry: entry.state is State.OLD, teller)


@contextmanager
def alone(settings: Settings) -> Iterator[Connection[Row]]:
    """A connection that holds the lock of replays.

    Raises:
        ReplayError: another replay runs.
    """
    with psycopg.connect(settings.postgres.url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,)).fetchone()
        if not row or not row[0]:
            raise ReplayError("another replay runs on this database: wait for it, or end it")
        connection.execute(f"SET lock_timeout = '{DROP_TIMEOUT}'".encode())
        yield connection


def capture(settings: Settings, origin: Origin) -> Captured:
    """The high watermarks now. Those of the normalised topics come first: an event before them is made from a raw
    record that was stored before it, and so lies before the watermarks of the raw topics."""
    reader = PartitionReader(settings.kafka)
    try:
        ledger = _ends(reader, FACTS)
        if origin is Origin.NORMALISED:
            return Captured(ledger, ledger)
        kept = {p: offset for p, offset in ledger.items() if p.topic in AS_THEY_ARE}
        return Captured(kept | _ends(reader, RAW), ledger)
    finally:
        reader.close()


def _ends(reader: PartitionReader, topics: tuple[Topic, ...]) -> dict[Partition, int]:
    return {p: reader.watermarks(p)[1] for topic in topics for p in reader.partitions(str(topic))}


def _entry(settings: Settings, connection: Connection[Row], wanted: Wanted, teller: Teller) -> Entry:
    """The generation to go on with, or a new one."""
    if mistake := generations.mistake_in(wanted.into):
        raise ReplayError(f"--into {wanted.into}: {mistake}")
    if wanted.swap and wanted.until is not None:
        raise ReplayError("--until is for looking: what was received later would be missing after --swap")
    known = generations.entries(connection)
    live = next((entry for entry in known if entry.state is State.LIVE), None)
    if live is None:
        raise ReplayError("the dose database is not set up: start the stack once, then try again")
    if live.origin is Origin.RAW and wanted.origin is Origin.NORMALISED and not wanted.accept_loss:
        raise ReplayError(
            "the live generation was mapped again from raw, and the normalised topics hold the events as they were "
            "mapped before: use --from raw, or say --accept-loss"
        )
    basis = basis_of(settings, wanted.origin)
    going_on = [
        entry
        for entry in known
        if entry.state in (State.BUILDING, State.BUILT, State.CAUGHT_UP)
        and (entry.origin, entry.until, entry.basis) == (wanted.origin, wanted.until, basis)
        and entry.views in (None, wanted.into)
    ]
    if going_on and not wanted.fresh:
        teller.say(f"going on with generation {going_on[-1].generation.number} ({going_on[-1].state})")
        return going_on[-1]
    own = {entry.views for entry in known if entry.views is not None and entry.state is not State.LIVE}
    if wanted.into != NEXT_VIEWS and wanted.into not in own and _exists(connection, wanted.into):
        raise ReplayError(f"--into {wanted.into}: there is such a schema already; name another, or drop it")
    _check_held(settings, wanted)

    def is_over(entry: Entry) -> bool:
        if entry.state is State.OLD:
            return wanted.until is None
        return entry.state is not State.LIVE and entry.views in (None, wanted.into)

    _drop(connection, is_over, teller)
    captured = capture(settings, wanted.origin)
    with connection.transaction():
        return generations.create(
            connection, wanted.origin, captured.stops, captured.ledger, wanted.until, basis
        )


def _exists(connection: Connection[Row], views: str) -> bool:
    return generations.schema_exists(connection, views)


def _check_held(settings: Settings, wanted: Wanted) -> None:
    """Refuse where records are gone that the live generation may have been made from.

    Raises:
        ReplayError: naming the first topic.
    """
    topics = FACTS if wanted.origin is Origin.NORMALISED else (*RAW, Topic.DECISION)
    reader = PartitionReader(settings.kafka)
    try:
        begins = {p: reader.watermarks(p)[0] for t in topics for p in reader.partitions(str(t))}
    finally:
        reader.close()
    gone = [p for p, low in sorted(begins.items()) if low > 0 and p.topic != Topic.CLOCK]
    if gone and not wanted.accept_loss:
        raise ReplayError(
            f"{gone[0].topic}[{gone[0].number}] no longer holds its records before offset {begins[gone[0]]}: "
            "restore it from its archive, or say --accept-loss to build without them"
        )


def _drop(connection: Connection[Row], over: Callable[[Entry], bool], teller: Teller) -> int:
    dropped = 0
    for entry in generations.entries(connection):
        if not over(entry):
            continue
        for last in (*(False,) * (DROP_TRIES - 1), True):
            try:
                generations.drop(connection, entry)
                teller.say(f"generation {entry.generation.number} ({entry.state}) is dropped")
                dropped += 1
                break
            except psycopg.errors.LockNotAvailable as held:
                if last:
                    raise ReplayError(
                        f"generation {entry.generation.number} cannot be dropped: somebody reads "
                        f"{entry.generation.schema} or {entry.views}; end that, then try again"
                    ) from held
                time.sleep(1.0)
    return dropped


def _build(
    settings: Settings, connection: Connection[Row], wanted: Wanted, entry: Entry, teller: Teller
) -> None:
    generation = entry.generation
    folder = work_folder(wanted.work, connection, generation)
    plan = BuildPlan(
        generation,
        entry.stops,
        folder,
        until=entry.until,
        workers=wanted.workers,
        ledger=entry.ledger,
        reading=wanted.reading if entry.origin is Origin.RAW else None,
    )
    teller.say(f"building generation {generation.number} from the {entry.origin} topics")
    built = build(settings, plan, teller.progress)
    generations.show_beside(connection, generation, wanted.into)
    generations.set_state(connection, generation, State.BUILT)
    shutil.rmtree(folder, ignore_errors=True)
    teller.say(
        f"{built.events} events, {built.facts} facts in {built.groups} groups, {built.patients} patients; "
        f"shown in schema {wanted.into}"
        + (f"; {built.left_out} received later were left out" if entry.until is not None else "")
        + (f"; {built.quarantined} records cannot be read" if built.quarantined else "")
    )


def work_folder(work: Path, connection: Connection[Row], generation: Generation) -> Path:
    """The folder of a generation's build: of this database and this generation, so that it is found again."""
    row = connection.execute(
        "SELECT extract(epoch FROM created_at)::text FROM dosestream.generation WHERE number = %s",
        (generation.number,),
    ).fetchone()
    assert row is not None
    folder = work / f"g{generation.number}-{str(row[0]).replace('.', '')}"
    # What lies in it is about patients.
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _follow(
    connection: Connection[Row],
    follower: Follower,
    generation: Generation,
    teller: Teller,
    *,
    mark: bool = True,
) -> Generation:
    """Come up to the live generation, which is returned."""
    live = generations.live_generation(connection)
    assert live is not None
    follower.start()
    goal = positions_of(connection, live)
    total = sum(behind(follower.positions(), goal).values())
    done = 0

    def heard(count: int) -> None:
        nonlocal done
        done = min(total, done + count)
        teller.progress(Progress("follow", done, total, "events", done / total if total else 1.0))

    if total:
        teller.say(f"{total} records came since")
    follower.reach(goal, heard)
    follower.settle()
    if mark:
        generations.set_state(connection, generation, State.CAUGHT_UP)
    return live
