"""Worklist queries a second and their latency with 10,000 scheduled steps.

    python bench/worklist.py [--steps 10000] [--queries 200]

Starts a PostgreSQL and a worklist of its own, fills the database through the reconciler's own transaction, and
asks as consoles do, one query after the other over one association. Prints milliseconds from the query sent to
the last answer read, and how much of it is the worklist's own processor time.
"""

import argparse
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg
from pydicom import Dataset
from pydicom import Sequence as Items
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined, unused-ignore]
    ModalityWorklistInformationFind,
)

from dosestream.db.apply import apply, enter_live_generation
from dosestream.db.ledger import begin
from dosestream.db.migrate import migrate
from dosestream.db.records import decode
from dosestream.embedded import ports
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import Demographics, Identifier, Order
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import PostgresSettings, Settings, WorklistSettings
from services.worklist.finder import Finder
from services.worklist.listener import Listener

CODEC, RULES = Codec(), Rules()
# 2026-03-02 00:00 UTC.
START = 1_772_409_600_000_000
DAY = 86_400_000_000
DAYS, STATIONS = 14, 40
MODALITIES = ("CT", "MR", "DX", "US", "MG")
BATCH = 500


def order(number: int, chance: random.Random) -> Order:
    """One order of a hospital whose stations are booked for a fortnight."""
    station = number % STATIONS
    at = START + chance.randrange(DAYS) * DAY + chance.randrange(8 * 3600, 18 * 3600) * 1_000_000
    return Order(
        event_id=content_hash(b"%d" % number)[:32],
        source="RIS|HOSP",
        control_id=f"M{number}",
        received_at=START + number,
        raw_partition=0,
        raw_offset=number,
        event_time=START + number,
        message_time=START + number,
        control_code="NW",
        order_status="SC",
        patient=Demographics(
            identifiers=(Identifier(authority="HOSP", value=f"P{number}"),),
            name=f"FAMILY{number % 997}^GIVEN{number % 89}",
            birth_date="1970-01-01",
            sex="F",
        ),
        placer_order_number=f"PL{number}",
        filler_order_number=f"F{number}",
        accession_number=f"A{number}",
        requested_procedure_id=f"R{number}",
        scheduled_step_id=f"S{number}",
        study_instance_uid=f"1.2.826.0.1.{number}",
        modality=MODALITIES[station % len(MODALITIES)],
        procedure_code="EXAM",
        procedure_scheme="L",
        procedure_meaning="An examination",
        scheduled_at=at,
        station_ae_title=f"AE{station}",
    )


def fill(url: str, count: int) -> None:
    """Orders into the database, as the reconciler applies them."""
    chance, partition = random.Random(1), Partition(str(Topic.ORDER), 0)
    records = [Record(partition, n, CODEC.encode(order(n, chance))) for n in range(count)]
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.transaction(), connection.cursor() as cursor:
            enter_live_generation(cursor)
            begin(cursor, {partition: 0})
        for first in range(0, count, BATCH):
            decoded, _ = decode(CODEC, records[first : first + BATCH])
            apply(connection, CODEC, RULES, decoded)
        connection.execute("VACUUM ANALYZE")


def serve(url: str, pipe: Pipe) -> None:
    """A worklist in a process of its own: tells its port, then its processor time whenever asked."""
    settings = Settings(postgres=PostgresSettings(url), worklist=WorklistSettings(port=0))
    finder = Finder(settings)
    listener = Listener(settings.worklist, finder)
    pipe.send(listener.port)
    while pipe.recv():
        pipe.send(time.process_time())
    listener.close()
    finder.close()


def query(step: dict[str, str], **keys: str) -> Dataset:
    """What a console asks for."""
    out, item = Dataset(), Dataset()
    for name in ("PatientName", "PatientID", "PatientSex", "AccessionNumber", "RequestedProcedureID"):
        setattr(out, name, "")
    out.PatientBirthDate = out.StudyInstanceUID = out.ReferringPhysicianName = ""
    out.RequestedProcedureDescription = ""
    out.RequestedProcedureCodeSequence = Items([])
    for name in ("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepID", "ScheduledStationName"):
        setattr(item, name, "")
    item.ScheduledProcedureStepStartDate = item.ScheduledProcedureStepStartTime = ""
    item.ScheduledProcedureStepDescription = item.ScheduledPerformingPhysicianName = ""
    item.ScheduledProtocolCodeSequence = Items([])
    for name, value in step.items():
        setattr(item, name, value)
    for name, value in keys.items():
        setattr(out, name, value)
    out.ScheduledProcedureStepSequence = Items([item])
    return out


def day(number: int) -> str:
    """A day of the fortnight as DA."""
    return f"202603{2 + number % DAYS:02d}"


# Each kind of query by its number.
QUERIES: dict[str, Callable[[int], Dataset]] = {
    "station and day": lambda n: query(
        {"ScheduledStationAETitle": f"AE{n % STATIONS}", "ScheduledProcedureStepStartDate": day(n)}
    ),
    "modality and two hours": lambda n: query(
        {
            "Modality": MODALITIES[n % len(MODALITIES)],
            "ScheduledProcedureStepStartDate": day(n),
            "ScheduledProcedureStepStartTime": "0900-1059",
        }
    ),
    "name by wildcard": lambda n: query({}, PatientName=f"family{n % 997}^*"),
    "accession": lambda n: query({}, AccessionNumber=f"A{n * 37 % 10_000}"),
    "patient": lambda n: query({}, PatientID=f"P{n * 41 % 10_000}"),
}


@contextmanager
def database() -> Iterator[str]:
    """A PostgreSQL of this run's own."""
    with tempfile.TemporaryDirectory(prefix="dosestream-bench-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "cluster", ports.free(set()), "bench")
        server.prepare()
        server.launch()
        try:
            server.wait_ready()
            migrate(server.url())
            yield server.url()
        finally:
            server.stop()


def send_at_once(event: Any) -> None:
    """As consoles' toolkits do: otherwise each query waits 40 ms for an acknowledgement of TCP."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def measure(port: int, queries: int, cpu: Callable[[], float]) -> None:
    """Ask, and print a line for each kind of query."""
    ae: Any = AE(ae_title="CONSOLE")
    ae.add_requested_context(ModalityWorklistInformationFind)
    association = ae.associate("127.0.0.1", port, evt_handlers=[(evt.EVT_CONN_OPEN, send_at_once)])
    print(f"{'query':<24}{'answers':>8}{'median ms':>11}{'p99 ms':>8}{'queries/s':>11}{'cpu ms':>8}")
    for name, make in QUERIES.items():
        spans, answers = [], 0
        used = cpu()
        for number in range(queries):
            asked = make(number)
            begun = time.perf_counter()
            got = list(association.send_c_find(asked, ModalityWorklistInformationFind))
            spans.append(time.perf_counter() - begun)
            answers += len(got) - 1
        used = cpu() - used
        p99 = quantiles(spans, n=100)[98]
        print(
            f"{name:<24}{answers / queries:>8.1f}{1e3 * median(spans):>11.1f}{1e3 * p99:>8.1f}"
            f"{queries / sum(spans):>11.0f}{1e3 * used / queries:>8.1f}"
        )
    association.release()


def main() -> None:
    """Fill, serve, ask."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=200)
    given = parser.parse_args()
    with database() as url:
        fill(url, given.steps)
        ours, theirs = get_context("spawn").Pipe()
        process = get_context("spawn").Process(target=serve, args=(url, theirs))
        process.start()
        try:

            def cpu() -> float:
                ours.send(True)
                return float(ours.recv())

            port = int(ours.recv())
            print(f"{given.steps} scheduled steps, {given.queries} queries of each kind")
            measure(port, given.queries, cpu)
        finally:
            ours.send(False)
            process.join(10)


if __name__ == "__main__":
    main()
