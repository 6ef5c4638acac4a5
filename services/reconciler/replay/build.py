"""A generation of tables built in bulk from the topics, stage by stage; see `plan.py` for what goes in and comes out.

gather -> connect -> patients -> derive -> write -> index. Each stage reads what those before it put aside in the folder
or left in the database, begins by taking away what it left itself when it was interrupted, and is remembered
when it is finished.
"""

import pickle
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from dosestream.db import bulk, ledger, reference_levels, sources
from dosestream.db.values import iso_time
from dosestream.kafka.codec import codec_for
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.reconcile.rules import Rules, rules_from
from dosestream.settings import Settings
from services.reconciler.replay import people
from services.reconciler.replay.connect import connect, gather_again, meet, pairs, shuffle
from services.reconciler.replay.gather import Gathered, gather, normalised, settle
from services.reconciler.replay.groups import Deriver, Site
from services.reconciler.replay.plan import (
    STAGES,
    BuildPlan,
    BuildRunningError,
    Built,
    Progress,
    StageCost,
)
from services.reconciler.replay.spill import frames
from services.reconciler.replay.state import State, fingerprint
from services.reconciler.replay.workers import Bench, Workers, application_name, memory
from services.reconciler.replay.workers import connect as connect_to
from services.reconciler.replay.write import write

Row = tuple[object, ...]
Told = Callable[[int], None]
# Events, and bytes of facts, of which about as many are in one bucket.
BUCKET_EVENTS, BUCKET_BYTES = 40_000, 1 << 24
MOST_BUCKETS = 256
# The root of a group that another took in.
GONE = 0
# First half of the advisory lock that a build holds; the second is its generation.
LOCK = 0x6275696C


def build(settings: Settings, plan: BuildPlan, progress: Callable[[Progress], None]) -> Built:
    """Fill the tables of a generation; see `plan.py`.

    Raises:
        BuildError: it cannot go on; build again when what the message says is done.
        psycopg.Error: the database is away or refused; build again when it is back.
    """
    rules = rules_from(settings)
    with connect_to(settings, plan) as connection:
        _alone(connection, plan)
        state = State.open(plan.work, fingerprint(plan, rules))
        if "index" in state.found:
            return _built(state)
        workers = Workers(settings, plan)
        try:
            job = _Job(settings, plan, rules, connection, workers, state, progress)
            for stage, do in STEPS.items():
                if stage not in state.found:
                    job.do(stage, do)
        finally:
            workers.close()
        for path in plan.work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        return _built(state)


def _built(state: State) -> Built:
    gathered: Gathered = state.found["gather"].gathered
    groups, facts = state.found["write"]
    return Built(
        events=gathered.events,
        left_out=gathered.left_out,
        repeats=gathered.repeats,
        quarantined=gathered.quarantined,
        facts=facts,
        groups=groups,
        patients=state.found["patients"],
        begins=state.found["gather"].begins,
        ledger=state.found["index"],
        costs=dict(state.costs),
    )


def _alone(connection: psycopg.Connection[Row], plan: BuildPlan) -> None:
    """See that nobody else builds this generation, and that workers of an interrupted build write no more."""
    number = plan.generation.number
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, number)).fetchone()
    if row is None or not row[0]:
        raise BuildRunningError(
            f"another process builds generation {number}: wait until it has finished, or end it"
        )
    connection.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE application_name = %s AND pid <> pg_backend_pid() AND datname = current_database()",
        (application_name(plan),),
    )


class _Start:
    """What the first stage leaves to the others."""

    def __init__(self, gathered: Gathered, begins: Mapping[Partition, int], buckets: int) -> None:
        self.gathered, self.begins, self.buckets = gathered, begins, buckets


class _Derived:
    """What was derived: how many groups each file of rows has, by round and bucket, and which round's rows of a group
    are the last: of those in none it is the first."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, int], int] = {}
        self.last: dict[int, int] = {}


class _Job:
    """A build under way."""

    def __init__(
        self,
        settings: Settings,
        plan: BuildPlan,
        rules: Rules,
        connection: psycopg.Connection[Row],
        workers: Workers,
        state: State,
        progress: Callable[[Progress], None],
    ) -> None:
        self.settings, self.plan, self.rules = settings, plan, rules
        self.connection, self.workers, self.state = connection, workers, state
        self._progress = progress
        self._stage, self._done, self._total = "", 0, 0

    def do(self, stage: str, work: Callable[["_Job"], Any]) -> None:
        """Do a stage, and remember what it found and what it cost."""
        self._stage, self._done, self._total = stage, 0, 0
        wall, cpu, theirs = time.perf_counter(), time.process_time(), self.workers.cost.cpu_s
        found = work(self)
        cost = StageCost(
            time.perf_counter() - wall,
            time.process_time() - cpu + self.workers.cost.cpu_s - theirs,
            max(memory(), self.workers.cost.memory),
        )
        self.state.finish(stage, found, cost)
        self._total = self._done = max(self._total, self._done, 1)
        self.told(0)

    def expect(self, total: int) -> None:
        """So much is to be done in this stage."""
        self._total = total

    def told(self, more: int) -> None:
        """So much more of it is done."""
        self._done += more
        unit, share = STAGES[self._stage]
        before = 0.0
        for name, (_, of_all) in STAGES.items():
            if name == self._stage:
                break
            before += of_all
        own = min(1.0, self._done / self._total) if self._total else 0.0
        total = max(self._total, self._done)
        self._progress(Progress(self._stage, self._done, total, unit, before + share * own))

    def folder(self, name: str) -> Path:
        """A folder of this build, empty."""
        path = self.plan.work / name
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)
        return path

    @property
    def start(self) -> _Start:
        """What the first stage found."""
        found: _Start = self.state.found["gather"]
        return found

    @property
    def gathered(self) -> list[Path]:
        """The folders that the first stage filled."""
        return sorted((self.plan.work / "gathered").iterdir())


# -- gather ------------------------------------------------------------------------------------------------------


def _gather(job: _Job) -> _Start:
    plan = job.plan
    bulk.put_away(job.connection, plan.generation, (*bulk.HEARD, *bulk.PATIENTS, *bulk.DERIVED))
    with job.connection.cursor() as cursor:
        bulk.empty(cursor, plan.generation)
    reader = PartitionReader(job.settings.kafka)
    try:
        # A topic may be told as one of the table of topics: here its name is text.
        stops = {Partition(str(topic), number): stop for (topic, number), stop in plan.stops.items()}
        begins = {partition: reader.watermarks(partition)[0] for partition in stops}
    finally:
        reader.close()
    stretches = {p: (begins[p], max(begins[p], stop)) for p, stop in stops.items()}
    total = sum(stop - start for start, stop in stretches.values())
    buckets = max(4, min(MOST_BUCKETS, total // BUCKET_EVENTS))
    out = job.folder("gathered")
    # What is said of one patient has one number in all topics.
    tasks: list[dict[Partition, tuple[int, int]]] = [{} for _ in range(plan.workers)]
    for partition, stretch in stretches.items():
        tasks[partition.number % plan.workers][partition] = stretch
    job.expect(total)
    found = job.workers.all(
        _gather_some,
        [(mine, buckets, out / f"read-{n}") for n, mine in enumerate(tasks)],
        job.told,
    )
    twice = sum(bulk.make_again(job.connection, plan.generation, one) for one in _missing(job, bulk.HEARD))
    found += job.workers.all(
        _settle_some, [(out / f"read-{n}", buckets, out / f"settled-{n}") for n in range(plan.workers)]
    )
    whole = Gathered(repeats=twice)
    for one in found:
        whole.add(one)
    return _Start(whole, begins, buckets)


def _missing(job: _Job, tables: Sequence[str]) -> list[bulk.PutAway]:
    with job.connection.cursor() as cursor:
        return bulk.missing(cursor, tables)


def _gather_some(
    bench: Bench, stretches: Mapping[Partition, tuple[int, int]], buckets: int, out: Path
) -> Gathered:
    settings, plan = bench.settings, bench.plan
    reading = (plan.reading or normalised)(settings)
    return gather(
        settings.kafka,
        bench.connection,
        reading,
        bench.rules,
        stretches,
        plan.until,
        out,
        buckets,
        bench.told,
    )


def _settle_some(bench: Bench, read: Path, buckets: int, out: Path) -> Gathered:
    codec = codec_for(bench.settings.kafka)
    return settle(bench.connection, codec, frames(read / "suspects"), bench.rules, out, buckets)


# -- connect -----------------------------------------------------------------------------------------------------


def _connect(job: _Job) -> list[int]:
    size = sum((folder / "facts").stat().st_size for folder in job.gathered)
    buckets = max(job.start.buckets, min(MOST_BUCKETS, size // BUCKET_BYTES))
    job.expect(job.start.gathered.facts)
    groups = connect(job.gathered, buckets, job.told)
    job.workers.all(_shuffle_some, [(folder, buckets) for folder in job.gathered])
    return groups


def _shuffle_some(bench: Bench, folder: Path, buckets: int) -> None:
    del bench
    shuffle(folder, buckets)


# -- patients ----------------------------------------------------------------------------------------------------


def _patients(job: _Job) -> int:
    for folder in job.gathered:
        # The facts lie in their buckets by now.
        for name in ("facts", "keys", "roots"):
            (folder / name).unlink(missing_ok=True)
    tables = (*bulk.PATIENTS, "patient_merge")
    bulk.put_away(job.connection, job.plan.generation, bulk.PATIENTS)
    with job.connection.cursor() as cursor:
        bulk.empty(cursor, job.plan.generation, tables)
    aside = job.folder("bonded")
    named = people.store_bonds(job.connection, job.gathered)
    (aside / "named").write_bytes(pickle.dumps(frozenset(named)))
    buckets = range(job.start.buckets)
    counts = job.workers.all(_fold_some, [(job.gathered, n, aside) for n in buckets], job.told)
    beside = people.show_bonded(job.connection, [aside / f"{n}" for n in buckets], named, job.rules)
    for one in _missing(job, bulk.PATIENTS):
        bulk.make_again(job.connection, job.plan.generation, one)
    bulk.look_after(job.connection, job.plan.generation, tables)
    return sum(counts) + beside


def _fold_some(bench: Bench, folders: Sequence[Path], number: int, aside: Path) -> int:
    bonded = pickle.loads((aside / "named").read_bytes())
    count = people.fold(bench.connection, folders, number, bonded, aside / f"{number}", bench.rules)
    bench.told(count)
    return count


# -- derive ------------------------------------------------------------------------------------------------------


def _now(job: _Job) -> int | None:
    """The newest tick that counts; None where there is none."""
    gathered, until = job.start.gathered, job.plan.until
    if gathered.tick is None and gathered.first_tick is not None:
        # Ticks as old as that are no longer held: one was there every minute.
        return until
    return gathered.tick


def _derive(job: _Job) -> _Derived:
    groups: list[int] = job.state.found["connect"]
    out = job.folder("rows")
    derived = _Derived()
    job.expect(sum(groups))
    folders = [folder / "grouped" for folder in job.gathered]
    now = _now(job) or 0
    first = 1
    tasks = []
    for number, count in enumerate(groups):
        tasks.append((folders, number, first, _rows(out, 1, number), now))
        first += count
    counts = job.workers.all(_derive_some, tasks, job.told)
    derived.counts = {(1, number): count for number, count in enumerate(counts)}
    home: dict[int, int] = {}
    nth = 1
    while met := meet(_meeting(derived, out)):
        nth += 1
        # Where a group went that went on from there.
        home = {root: met.get(into, into) for root, into in home.items()}
        home |= {root: into for root, into in met.items() if root not in home}
        changed = set(met.values())
        derived.last |= {root: nth if root in changed else GONE for root in met}
        again = job.folder("again")
        (again / "home").write_bytes(pickle.dumps({r: into for r, into in home.items() if into in changed}))
        buckets = max(job.plan.workers, len(groups) * len(home) // max(1, sum(groups)))
        job.workers.all(
            _gather_again,
            [
                (folders, range(n, len(groups), job.plan.workers), again, again / f"{n}", buckets)
                for n in range(job.plan.workers)
            ],
        )
        theirs = [again / f"{n}" for n in range(job.plan.workers)]
        share = [sum(1 for root in changed if root % buckets == number) for number in range(buckets)]
        tasks = []
        for number, count in enumerate(share):
            tasks.append((theirs, number, first, _rows(out, nth, number), now))
            first += count
        counts = job.workers.all(_derive_some, tasks, job.told)
        derived.counts |= {(nth, number): count for number, count in enumerate(counts)}
    return derived


def _rows(out: Path, nth: int, number: int) -> Path:
    return out / f"{nth}-{number}"


def _meeting(derived: _Derived, out: Path) -> Iterator[tuple[int, int]]:
    """The keys by which groups may meet, as each group has them now."""
    last = derived.last
    for nth, number in derived.counts:
        for key, root in pairs(_rows(out, nth, number).with_suffix(".keys")):
            if last.get(root, 1) == nth:
                yield key, root


def _gather_again(
    bench: Bench, folders: Sequence[Path], numbers: range, again: Path, out: Path, buckets: int
) -> None:
    del bench
    gather_again(folders, numbers, pickle.loads((again / "home").read_bytes()), out, buckets)


def _derive_some(bench: Bench, folders: Sequence[Path], number: int, first: int, out: Path, now: int) -> int:
    site = Site(codec_for(bench.settings.kafka), bench.rules, now)
    deriver = Deriver(bench.connection, bench.plan.generation, site)
    return deriver.derive(folders, number, first, out, bench.told)


# -- write -------------------------------------------------------------------------------------------------------


def _write(job: _Job) -> tuple[int, int]:
    bulk.put_away(job.connection, job.plan.generation, bulk.DERIVED)
    with job.connection.cursor() as cursor:
        bulk.empty(cursor, job.plan.generation, bulk.DERIVED)
    derived: _Derived = job.state.found["derive"]
    out = job.plan.work / "rows"
    (out / "last").write_bytes(pickle.dumps(derived.last))
    job.expect(sum(derived.counts.values()))
    found = job.workers.all(_write_some, [(out, nth, number) for nth, number in derived.counts], job.told)
    highest = max((highest for _, _, highest in found), default=0)
    job.connection.execute("SELECT setval('group_id', %s, %s)", (max(1, highest), highest > 0))
    return sum(groups for groups, _, _ in found), sum(facts for _, facts, _ in found)


def _write_some(bench: Bench, out: Path, nth: int, number: int) -> tuple[int, int, int]:
    last = pickle.loads((out / "last").read_bytes())
    path = _rows(out, nth, number).with_suffix(".rows")
    return write(
        bench.connection, bench.plan.generation, path, lambda root: last.get(root, 1) == nth, bench.told
    )


# -- index -------------------------------------------------------------------------------------------------------


def _index(job: _Job) -> dict[Partition, int]:
    plan, generation = job.plan, job.plan.generation
    missing = _missing(job, bulk.DERIVED)
    job.expect(len(missing))
    job.workers.all(_make_again, [(one,) for one in missing], job.told)
    job.workers.all(_look_after, [(table,) for table in (*bulk.HEARD, *bulk.DERIVED)])
    positions = dict(plan.stops if plan.ledger is None else plan.ledger)
    now = _now(job)
    with job.connection.transaction(), job.connection.cursor() as cursor:
        # Waits until all that was committed before is on the disk, too.
        cursor.execute("SET LOCAL synchronous_commit = on")
        bulk.empty(cursor, generation, ("ledger", "clock", "source"))
        ledger.begin(cursor, positions)
        if now is not None:
            cursor.execute("INSERT INTO clock (at) VALUES (%s)", (iso_time(now),))
        sources.advance(cursor, job.start.gathered.marks, job.rules)
        reference_levels.load(cursor, job.settings.reference_level)
        bulk.forget(cursor)
    return positions


def _make_again(bench: Bench, one: bulk.PutAway) -> None:
    bulk.make_again(bench.connection, bench.plan.generation, one)
    bench.told(1)


def _look_after(bench: Bench, table: str) -> None:
    bulk.look_after(bench.connection, bench.plan.generation, [table])


STEPS: dict[str, Callable[[_Job], Any]] = {
    "gather": _gather,
    "connect": _connect,
    "patients": _patients,
    "derive": _derive,
    "write": _write,
    "index": _index,
}
