"""Speed of the reconciler: derivation, transactions, a full database, a patient with very many studies.

    python bench/reconcile.py [derive] [apply] [full] [patient]

Starts a PostgreSQL of its own. Streams are live-ordered: most messages are ADT, the rest tell of orders and
their dose reports. Every figure is of this run on this machine; compare ratios, not figures of two machines.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median

import psycopg

sys.path.insert(0, str(Path(__file__).parent))
from stream import CODEC, LIVE_ADT, START, Stream

from dosestream.db.apply import Applied, apply, derive_dirty, enter_live_generation
from dosestream.db.ledger import begin
from dosestream.db.migrate import migrate
from dosestream.db.records import decode
from dosestream.embedded import ports
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.events.records import Decision, Order, Patient, Study
from dosestream.kafka.records import Partition, Record
from dosestream.reconcile.components import Components
from dosestream.reconcile.derive import Group, derive
from dosestream.reconcile.facts import order_keys, study_keys
from dosestream.reconcile.fold import Fold, merge
from dosestream.reconcile.identity import PatientId
from dosestream.reconcile.patients import Patients, demographics_of
from dosestream.reconcile.rules import rules_from
from dosestream.settings import Settings

RULES = rules_from(Settings())
BATCH = 500
Connection = psycopg.Connection[tuple[object, ...]]


def measure_derive(count: int = 20_000) -> None:
    """Each order and report derives its group as it stands then; an ADT message folds, and derives the groups
    of its patient where it says something new."""
    events = [event for _, event in Stream(seed=1).events(count)]
    joined: Components[str] = Components()
    for event in events:
        if isinstance(event, Order | Study):
            joined.join(order_keys(event, RULES) if isinstance(event, Order) else study_keys(event, RULES))
    facts: dict[str, list[Order | Study]] = {}
    of_patient: dict[str, set[str]] = {}
    folds: dict[PatientId, Fold] = {}
    derived = 0
    # As the reconciler's worker has it: what it holds is not looked through for garbage again and again.
    gc.collect()
    gc.freeze()
    threshold = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    begun = time.process_time()
    for start in range(0, len(events), BATCH):
        for event in events[start : start + BATCH]:
            stale: set[str] = set()
            if isinstance(event, Patient | Order):
                for who, said in demographics_of(event, RULES):
                    known = folds.get(who, {})
                    folds[who] = merge(known, said)
                    if any(value not in known.get(name, ()) for name in said for value in said[name]):
                        stale |= of_patient.get(who.value, set())
            if isinstance(event, Order | Study):
                keys = order_keys(event, RULES) if isinstance(event, Order) else study_keys(event, RULES)
                home = joined.find(keys[0])
                facts.setdefault(home, []).append(event)
                if event.patient is not None:
                    of_patient.setdefault(event.patient.identifiers[0].value, set()).add(home)
                stale.add(home)
            for home in stale:
                group = _group(facts[home])
                value = _patient(facts[home])
                context = {PatientId("HOSP", value): folds[PatientId("HOSP", value)]}
                derive(group, Patients(context), RULES, START)
                derived += 1
    spent = time.process_time() - begun
    gc.set_threshold(*threshold)
    gc.unfreeze()
    print(
        f"derive: {count / spent:,.0f} events/s on one core, {derived / spent:,.0f} groups/s ({derived} groups)"
    )


def _group(facts: Sequence[Order | Study | Decision]) -> Group:
    return Group(
        tuple(f for f in facts if isinstance(f, Order)), tuple(f for f in facts if isinstance(f, Study))
    )


def _patient(facts: Sequence[Order | Study]) -> str:
    return next(f.patient.identifiers[0].value for f in facts if f.patient is not None)


class Feed:
    """Records of one stream, fed in batches to one database."""

    def __init__(self, url: str, stream: Stream) -> None:
        self.connection: Connection = psycopg.connect(url, autocommit=True)
        self.stream = stream
        self.ends: dict[Partition, int] = {}

    def records(self, count: int) -> list[Record]:
        """The next records, four partitions a topic."""
        out = []
        for index, (topic, event) in enumerate(self.stream.events(count)):
            partition = Partition(str(topic), index % 4)
            offset = self.ends.setdefault(partition, 0)
            self.ends[partition] = offset + 1
            out.append(Record(partition, offset, CODEC.encode(event)))
        with self.connection.transaction(), self.connection.cursor() as cursor:
            enter_live_generation(cursor)
            begin(cursor, dict.fromkeys(self.ends, 0))
        return out

    def apply(self, records: Sequence[Record], size: int = BATCH) -> list[Applied]:
        """Apply in batches, as the service does: what they leave for later is done in between."""
        done = []
        for start in range(0, len(records), size):
            decoded, stopped = decode(CODEC, records[start : start + size])
            assert not stopped
            done.append(apply(self.connection, CODEC, RULES, decoded))
            derive_dirty(self.connection, CODEC, RULES)
        return done


def measure_apply(make: Callable[[], str], count: int = 10_000) -> None:
    """Records to committed rows on one connection, decoding included."""
    for share, name in ((None, "live mix"), (1.0, "ADT only"), (0.0, "orders and reports")):
        feed = Feed(make(), Stream(seed=2, adt=share))
        feed.apply(feed.records(1000))
        records = feed.records(count)
        begun, used = time.perf_counter(), time.process_time()
        feed.apply(records)
        spent, used = time.perf_counter() - begun, time.process_time() - used
        print(
            f"apply, {name}: {count / spent:,.0f} events/s to committed rows; Python {used / spent:.0%} of it"
        )


def measure_full(make: Callable[[], str], many: int, few: int = 10_000) -> None:
    """Cost of an event with few and with many facts in the database: groups of the same shape, and batch by
    batch in turn, so that both meet the same machine."""
    feeds = {}
    for facts in (few, many):
        feed = feeds[facts] = Feed(make(), Stream(seed=3, adt=0.0))
        feed.apply(feed.records(2000))
        begun = time.perf_counter()
        fill(feed.connection, facts)
        print(f"{facts:,} facts in {time.perf_counter() - begun:.0f} s")
        feed.stream.adt = LIVE_ADT
    records = {facts: feed.records(8000) for facts, feed in feeds.items()}
    cost: dict[int, list[float]] = {facts: [] for facts in feeds}
    for start in range(0, 8000, BATCH):
        for facts, feed in feeds.items():
            begun = time.perf_counter()
            feed.apply(records[facts][start : start + BATCH])
            # The first batches fill the caches.
            if start >= 2000:
                cost[facts].append((time.perf_counter() - begun) / BATCH * 1e6)
    for facts, spent in cost.items():
        print(
            f"with {facts:,} facts in the database: {mean(spent):.0f} us an event, median {median(spent):.0f}"
        )
    print(f"ratio {mean(cost[many]) / mean(cost[few]):.2f} (aim: 1.3 or less)")


def fill(connection: Connection, facts: int) -> None:
    """Copies of the groups that are there, under other names, until there are so many facts."""
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        cursor.execute("SELECT count(*), (SELECT max(grp) FROM fact) FROM fact")
        row = cursor.fetchone()
        assert row is not None
        have, step = int(str(row[0])), int(str(row[1])) + 1
        copies = facts // have
        for table, keys in COPIED.items():
            cursor.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                (table,),
            )
            names = [str(name) for (name,) in cursor.fetchall()]
            values = [
                f"{name} || '~' || n" if name in keys else f"{name} + n * {step}" if name == "grp" else name
                for name in names
            ]
            listed = ", ".join(f'"{name}"' for name in names)
            chosen = ", ".join(v if v not in names else f'"{v}"' for v in values)
            cursor.execute(
                f"INSERT INTO {table} ({listed}) SELECT {chosen} FROM {table}, generate_series(1, {copies}) AS n"
            )
        cursor.execute("SELECT setval('group_id', (SELECT max(grp) FROM fact))")
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


# Table to the columns that get another name in each copy; `grp` is counted up.
COPIED = {
    "identifier": ("key",),
    "fact": ("event_id",),
    "message": ("event_id",),
    "patient": ("patient_id",),
    "patient_group": ("bare",),
    "study": ("study_instance_uid",),
    "study_dose": ("study_instance_uid",),
    "study_order": ("study_instance_uid",),
    "dose_total": ("study_instance_uid",),
    "irradiation_event": ("study_instance_uid",),
    "imaging_order": ("row_key", "accession_number"),
}


def measure_patient(make: Callable[[], str], studies: int = 2000) -> None:
    """Events about one patient who has very many studies, one transaction each, fan-out included."""
    stream = Stream(seed=4, patients=1, adt=0.0, years=True)
    feed = Feed(make(), stream)
    while stream.studies < studies:
        feed.apply(feed.records(500))
    while derive_dirty(feed.connection, CODEC, RULES):
        pass
    for name, share in (("order or report", 0.0), ("ADT that repeats", 1.0)):
        stream.adt = share
        times = []
        for record in feed.records(100):
            begun = time.perf_counter()
            feed.apply([record], 1)
            times.append((time.perf_counter() - begun) * 1e3)
        worst = sorted(times)[-2]
        print(
            f"patient with {stream.studies} studies, {name}: median {median(times):.1f}, 99 % {worst:.1f} ms"
        )
    stream.correct()
    begun = time.perf_counter()
    feed.apply(feed.records(1), 1)
    first = time.perf_counter() - begun
    longest, since = 0.0, time.perf_counter()
    while derive_dirty(feed.connection, CODEC, RULES):
        longest, since = max(longest, time.perf_counter() - since), time.perf_counter()
    spent = time.perf_counter() - begun
    print(
        f"patient with {stream.studies} studies, a name corrected: {first * 1e3:.0f} ms with the first rows, "
        f"all in {spent * 1e3:.0f} ms, the longest lot of them {longest * 1e3:.0f} ms"
    )


@contextmanager
def databases() -> Iterator[Callable[[], str]]:
    """A server of its own, and a maker of migrated databases on it."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "cluster", ports.free(set()), "bench")
        server.prepare()
        server.launch()
        made = 0

        def make() -> str:
            nonlocal made
            made += 1
            server.make_database(f"bench_{made}")
            url = server.url(f"bench_{made}")
            migrate(url)
            return url

        try:
            server.wait_ready()
            yield make
        finally:
            server.stop()


def main() -> None:
    """Measure what was asked for, else everything."""
    parts = ("derive", "apply", "full", "patient")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=(*parts, []), default=list(parts))
    parser.add_argument(
        "--many", type=int, default=1_000_000, help="facts in the full database (default %(default)s)"
    )
    arguments = parser.parse_args()
    chosen = arguments.parts or list(parts)
    if "derive" in chosen:
        measure_derive()
    with databases() as make:
        if "apply" in chosen:
            measure_apply(make)
        if "full" in chosen:
            measure_full(make, arguments.many)
        if "patient" in chosen:
            measure_patient(make)


if __name__ == "__main__":
    main()
