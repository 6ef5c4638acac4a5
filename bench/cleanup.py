"""Cleanup: facts let go a second, what a live batch takes meanwhile, and the size of tables over several rounds.

    python bench/cleanup.py [--facts 1000000] [--rounds 3]

Starts a PostgreSQL and a broker of its own and fills the database with copies of settled groups under other names.
`dosestream cleanup --once` lets them go as in service, while batches of ten live events are applied at a steady pace:
what they take is compared with what they took before, alone. Each round adds as many facts as the last one took away:
a table that only grows shows here. Rates are of this machine; compare ratios of one run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import psycopg

sys.path.insert(0, str(Path(__file__).parent))
from broker import broker
from live import ROOT, used
from reconcile import RULES, Feed, databases
from stream import CODEC, START, STEP_US, Stream

from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.ledger import begin
from dosestream.db.records import decode
from dosestream.events.records import Clock
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic

# In every name of the groups that are copied, and in nothing else: a copy has another number of as many digits.
SEED = 1_000_000
LIVE_SEED = 9_000_000
YEARS_US = 3 * 365 * 86_400_000_000
LIVE_BATCH = 10
LIVE_EVERY_S = 0.03
ALONE = 300
TABLES = ("fact", "message", "snapshot", "identifier")
COPIED = (
    "identifier",
    "fact",
    "message",
    "patient",
    "patient_group",
    "study",
    "study_dose",
    "study_order",
    "imaging_order",
)
Connection = psycopg.Connection[tuple[object, ...]]
SETTINGS = "[retention]\nfacts_days = 730\nmessage_index_days = 730\n"


def tick(feed: Feed, at: int) -> None:
    """Let the clock go on, and derive what falls due."""
    where = Partition(str(Topic.CLOCK), 0)
    with feed.connection.transaction(), feed.connection.cursor() as cursor:
        enter_live_generation(cursor)
        begin(cursor, {where: 0})
    decoded, _ = decode(CODEC, [Record(where, 0, CODEC.encode(Clock(at=at, ticker="bench")))])
    apply(feed.connection, CODEC, RULES, decoded)
    while derive_dirty(feed.connection, CODEC, RULES):
        pass


def copied(kind: str, name: str) -> str:
    """A column of a copy: `n` is the number of the copy, `step` more than the groups there are."""
    new = f"({SEED} + n)::text"
    if name == "grp":
        return "grp + n * %(step)s::bigint"
    if name == "event_id":
        return "event_id || '~' || n"
    if kind == "text":
        return f"replace(\"{name}\", '{SEED}', {new})"
    if kind == "jsonb":
        return f"replace(\"{name}\"::text, '{SEED}', {new})::jsonb"
    if kind == "bytea":
        hexed = str(SEED).encode().hex()
        return f"decode(replace(encode(\"{name}\", 'hex'), '{hexed}', encode({new}::bytea, 'hex')), 'hex')"
    return f'"{name}"'


def fill(connection: Connection, step: int, first: int, copies: int) -> None:
    """Copies of the groups of the schema `pattern`, into the live generation."""
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        for table in COPIED:
            cursor.execute(
                "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                (table,),
            )
            columns = {str(name): copied(str(kind), str(name)) for name, kind in cursor.fetchall()}
            names = ", ".join(f'"{name}"' for name in columns)
            cursor.execute(
                f"INSERT INTO {table} ({names}) SELECT {', '.join(columns.values())} "
                f"FROM pattern.{table}, generate_series(%(first)s::int, %(last)s::int) AS n ON CONFLICT DO NOTHING".encode(),
                {"step": step, "first": first, "last": first + copies - 1},
            )
        cursor.execute("SELECT setval('group_id', %s)", (step * (first + copies),))
    connection.execute("ANALYZE")


def pattern(connection: Connection) -> tuple[int, int]:
    """Settled groups set aside to be copied; returns how many facts they have, and the step from copy to copy."""
    connection.execute("CREATE SCHEMA pattern")
    for table in COPIED:
        connection.execute(f"CREATE TABLE pattern.{table} AS SELECT * FROM dosestream_g1.{table}".encode())
    row = connection.execute("SELECT count(*), max(grp) FROM pattern.fact").fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1])) + 1


class Live(threading.Thread):
    """Applies small batches at a steady pace and notes what each took."""

    def __init__(self, feed: Feed, most: int | None = None) -> None:
        super().__init__(daemon=True)
        self._feed, self._most = feed, most
        self._ending = threading.Event()
        self.took: list[float] = []

    def run(self) -> None:
        while not self._ending.is_set() and (self._most is None or len(self.took) < self._most):
            records = self._feed.records(LIVE_BATCH)
            begun = time.perf_counter()
            self._feed.apply(records, LIVE_BATCH)
            self.took.append(time.perf_counter() - begun)
            self._ending.wait(LIVE_EVERY_S)

    def end(self) -> list[float]:
        """Stop; returns seconds by batch."""
        self._ending.set()
        self.join()
        return self.took


def told(took: list[float]) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds."""
    return median(took) * 1e3, sorted(took)[int(len(took) * 0.99)] * 1e3


def clean(env: dict[str, str]) -> tuple[dict[str, int], float, float]:
    """One cleanup in a process of its own; returns what went, seconds, and seconds of its processor time."""
    begun = time.perf_counter()
    command = [
        sys.executable,
        str(Path(sys.executable).with_name("dosestream")),
        "cleanup",
        "--once",
        "--json",
    ]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    spent = 0.0
    while process.poll() is None:
        spent = max(spent, used(process.pid))
        time.sleep(0.05)
    assert process.stdout is not None and process.returncode == 0
    return json.loads(process.stdout.read())["removed"], time.perf_counter() - begun, spent


def size(connection: Connection, table: str) -> float:
    """MiB of a table with its indexes and long values."""
    row = connection.execute(
        "SELECT pg_total_relation_size(%s::regclass)", (f"dosestream_g1.{table}",)
    ).fetchone()
    assert row is not None
    return int(str(row[0])) / 2**20


def main() -> None:
    """Measure on servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--facts", type=int, default=1_000_000, help="expired in each round (default %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        broker(Path(name) / "kafka") as (kafka, _),
        databases() as make,
    ):
        url = make()
        config = Path(name) / "dosestream.toml"
        config.write_text(SETTINGS)
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "DOSESTREAM_KAFKA": kafka.bootstrap,
            "DOSESTREAM_POSTGRES": url,
            "DOSESTREAM_CONFIG": str(config),
        }
        old = Feed(url, Stream(seed=SEED, adt=0.0))
        old.apply(old.records(2000))
        tick(old, START + YEARS_US)
        facts, step = pattern(old.connection)
        # What is live is three years younger than what expires.
        stream = Stream(seed=LIVE_SEED)
        stream._number = YEARS_US // STEP_US
        feed = Feed(url, stream)
        feed.ends = dict(old.ends)
        copies = max(1, chosen.facts // facts)
        for round_ in range(chosen.rounds):
            fill(old.connection, step, 1 + round_ * copies, copies)
            full = {table: size(old.connection, table) for table in TABLES}
            live = Live(feed, ALONE)
            live.start()
            live.join()
            alone, live = live.took, Live(feed)
            live.start()
            went, seconds, spent = clean(env)
            meanwhile = live.end()
            gone = went["facts"]
            (usual, slow), (usual_now, slow_now) = told(alone), told(meanwhile)
            print(
                f"round {round_ + 1}: {gone:,} facts in {seconds:.0f} s, {gone / seconds:,.0f}/s (live meanwhile); "
                f"{spent / gone * 1e6:.0f} us of processor time each; {went['snapshot_bytes'] / gone:.0f} bytes each in "
                f"the topic"
            )
            print(
                f"  a live batch of {LIVE_BATCH}: median {usual:.1f} ms, 99 % {slow:.1f} ms alone; {usual_now:.1f} and "
                f"{slow_now:.1f} ms meanwhile ({len(meanwhile)}); ratio of the 99 % {slow_now / slow:.2f} (aim: 2 or less)"
            )
            left = {table: size(old.connection, table) for table in TABLES}
            print("  MiB before and after: " + ", ".join(f"{t} {full[t]:.0f} {left[t]:.0f}" for t in TABLES))


if __name__ == "__main__":
    main()
