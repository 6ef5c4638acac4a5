"""What regions of hospitals need, reckoned from what a run of `bench/scale.py` measured. Pure arithmetic.

    python bench/region.py [FILE...] [--hospitals 200]

Proportional to messages are processor time at the busiest hour and bytes over the years; topics that are not kept for
ever are as long as they are kept. The table of patients grows with people: `--people` a hospital.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

from dosestream.kafka.topics import DAY_MS, TOPICS

# The runs that docs/scaling.md tells of.
RUNS = Path(__file__).with_name("scale.json")
MILLION = 1_000_000
DAY_S = 86_400
# A tenth of a day's messages come in its busiest hour, and no processor is planned to be busier than half.
BUSIEST_HOUR = 0.1
FILLED = 0.5
REPLICAS = 3
# Of a broker's disk; and how full it may be.
BROKER_BYTES = 8e12
DISK_FILLED = 0.6
PARTITIONS_AT_LEAST = 12
# So that a reconciler that is added finds something to take over.
PARTITIONS_EACH = 2
# Whom a hospital knows.
PEOPLE = 500_000
YEARS = (1, 10)
# What a service that messages do not pass through costs at most, of all.
IDLE = 0.01
HEADINGS = (
    "hospitals",
    "messages/s",
    "processors: ingest, arrivals, reconcilers, PostgreSQL, Kafka",
    "ingests",
    "reconcilers",
    "partitions",
    "topics",
    "brokers",
    "database",
    "log a day",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. Times in seconds, of processors unless they end in `_s` alone.

    Attributes:
        kinds: messages by type, or by what a DICOM object is.
        sent_s: until the last answer, wall clock.
        took_s: until the last row was published, wall clock.
        resting: processor time a second at rest, soon after the start, by service.
        processor_s: of the run, by service, with what it would have been at rest.
        topics: records and bytes, one replica.
        tables: bytes that were added, indexes included.
        people: patients named.
        log_bytes: write-ahead log.
        rate: messages a second that were asked for; 0: as fast as they are answered.
    """

    messages_a_day: int
    adt_share: float
    hl7: int
    dicom: int
    kinds: Mapping[str, int]
    hl7_bytes: int
    dicom_bytes: int
    sent_s: float
    took_s: float
    resting: Mapping[str, float]
    processor_s: Mapping[str, float]
    topics: Mapping[str, tuple[int, int]]
    tables: Mapping[str, int]
    people: int
    log_bytes: int
    rate: float

    @property
    def messages(self) -> int:
        """HL7 messages and DICOM objects together."""
        return self.hl7 + self.dicom

    @property
    def topic_bytes(self) -> float:
        """A message, in all topics, one replica."""
        return sum(size for _, size in self.topics.values()) / self.messages

    @property
    def table_bytes(self) -> float:
        """A message, in all tables."""
        return sum(self.tables.values()) / self.messages

    def topic_bytes_after(self, days: float) -> float:
        """Bytes in the topics after so many days of one message a day, one replica."""
        kept = {str(spec.name): spec.retention_ms / DAY_MS for spec in TOPICS if spec.retention_ms > 0}
        return sum(
            size / self.messages * min(days, kept.get(name, days)) for name, (_, size) in self.topics.items()
        )

    @property
    def pace(self) -> float:
        """Messages a second, as they came."""
        return self.messages / self.sent_s

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Measured":
        """One run as `as_json` gave it."""
        topics = {name: (int(records), int(size)) for name, (records, size) in document["topics"].items()}
        return cls(**{**document, "topics": topics})

    def shown(self) -> str:
        """For a person."""
        pace = f"{self.rate:g} a second" if self.rate else "as fast as they were answered"
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        lines = [
            f"The day of {self.messages_a_day:,}: {self.hl7:,} HL7 messages ({self.hl7_bytes / self.hl7:,.0f} bytes each)",
            f"  and {self.dicom} DICOM objects ({self.dicom_bytes / max(1, self.dicom):,.0f} bytes each), {pace}",
            f"  {kinds}",
            f"  answered in {self.sent_s:.0f} s, rows out in {self.took_s:.0f} s; rows equal the truth",
            "  processor seconds    a million messages    an hour at rest",
        ]
        lines += [
            f"    {name:<34} {spent / self.messages * MILLION:>8,.0f} {self.resting[name] * 3600:>12,.0f}"
            for name, spent in sorted(self.processor_s.items(), key=lambda one: -one[1])
        ]
        everything = sum(self.processor_s.values()) / self.messages * MILLION
        rest = sum(self.resting.values()) * 3600
        lines += [
            f"    {'in all':<34} {everything:>8,.0f} {rest:>12,.0f}",
            "  topics               records a message    bytes a record   bytes a message",
        ]
        lines += [
            f"    {name:<34} {records / self.messages:>6.3f} {size / records:>12,.0f} {size / self.messages:>12,.0f}"
            for name, (records, size) in self.topics.items()
            if records
        ]
        lines += [
            f"    {'in all':<34} {self.topic_bytes:>32,.0f}",
            "  tables (with indexes)   bytes a message",
        ]
        lines += [
            f"    {name:<34} {size / self.messages:>8,.0f}"
            for name, size in sorted(self.tables.items(), key=lambda one: -one[1])
            if size / self.messages >= 1
        ]
        lines.append(
            f"    {'in all':<34} {self.table_bytes:>8,.0f}; write-ahead log "
            f"{self.log_bytes / self.messages:,.0f}; {self.people:,} patients of "
            f"{self.tables['patient'] / self.people:,.0f} bytes"
        )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Region:
    """What so many hospitals of one day's size need.

    Attributes:
        peak: messages a second in the busiest hour.
        processors: at that hour, by service, at `FILLED`.
        ingests, reconcilers: processes.
        topic_bytes: after a year and after ten, all replicas.
        table_bytes: of the dose database after a year and after ten.
        log_bytes_a_day: of the dose database.
    """

    hospitals: int
    peak: float
    processors: Mapping[str, float]
    ingests: int
    reconcilers: int
    partitions: int
    topic_bytes: tuple[float, ...]
    table_bytes: tuple[float, ...]
    log_bytes_a_day: float

    @property
    def brokers(self) -> tuple[int, ...]:
        """Those whose disks hold a year and ten; three at least."""
        return tuple(max(REPLICAS, ceil(held / (BROKER_BYTES * DISK_FILLED))) for held in self.topic_bytes)


def region(runs: Sequence[Measured], hospitals: int, people: int = PEOPLE) -> Region:
    """So many hospitals that each send the runs' `messages_a_day` about so many people.

    Batches grow with the rate and a message costs less: it is reckoned to cost what it did in the fastest run that was
    not faster than the busiest hour, or in the slowest one. Bytes are those of the run with the most messages.
    """
    measured = max(runs, key=lambda run: run.messages)
    a_day = hospitals * measured.messages_a_day
    peak = a_day * BUSIEST_HOUR / 3600
    slower = [run for run in runs if run.pace <= peak] or [min(runs, key=lambda run: run.pace)]
    costs = max(slower, key=lambda run: run.pace)
    each = {name: spent / costs.messages for name, spent in costs.processor_s.items()}
    # A reconciler applies one batch after the other, and waits for the database in between.
    serial = each["reconciler, applying"] + each["PostgreSQL"]
    reconcilers = ceil(peak * serial / FILLED)
    of_people = measured.tables["patient"] / measured.messages
    partitions = max(PARTITIONS_AT_LEAST, PARTITIONS_EACH * reconcilers)
    return Region(
        hospitals=hospitals,
        peak=peak,
        processors={name: peak * cost / FILLED for name, cost in each.items()},
        ingests=max(1, ceil(peak * each["ingest"] / FILLED)),
        reconcilers=max(1, reconcilers),
        partitions=PARTITIONS_AT_LEAST * ceil(partitions / PARTITIONS_AT_LEAST),
        topic_bytes=tuple(a_day * REPLICAS * measured.topic_bytes_after(365 * years) for years in YEARS),
        table_bytes=tuple(
            a_day * 365 * years * (measured.table_bytes - of_people)
            + hospitals * people * measured.tables["patient"] / measured.people
            for years in YEARS
        ),
        log_bytes_a_day=a_day * measured.log_bytes / measured.messages,
    )


def size(count: float) -> str:
    """Bytes for a person."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def reckoned(
    runs: Sequence[Measured], hospitals: tuple[int, ...] = (1, 10, 50, 200), people: int = PEOPLE
) -> str:
    """The model as a table for a person."""
    lines = [
        f"Hospitals of {runs[0].messages_a_day:,} messages a day, {BUSIEST_HOUR:.0%} of them in the busiest hour;",
        f"processors {FILLED:.0%} busy then; {REPLICAS} replicas; {people:,} people each; after a year / ten years",
        "",
        f"| {' | '.join(HEADINGS)} |",
        "|---" * len(HEADINGS) + "|",
    ]
    for one in (region(runs, count, people) for count in hospitals):
        needs = one.processors
        reconciling = sum(cost for name, cost in needs.items() if name.startswith("reconciler"))
        shares = (needs["ingest"], needs["arrivals"], reconciling, needs["PostgreSQL"], needs["Kafka"])
        cells = (
            f"{one.hospitals}",
            f"{one.peak:,.0f}",
            ", ".join(f"{share:.1f}" for share in shares),
            f"{one.ingests}",
            f"{one.reconcilers}",
            f"{one.partitions}",
            " / ".join(map(size, one.topic_bytes)),
            " / ".join(map(str, one.brokers)),
            " / ".join(map(size, one.table_bytes)),
            size(one.log_bytes_a_day),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read(file: Path) -> list[Measured]:
    """The runs of a file."""
    return [Measured.from_json(document) for document in json.loads(file.read_text())]


def by_day(runs: Sequence[Measured]) -> list[list[Measured]]:
    """The runs of each day together."""
    found = defaultdict(list)
    for run in runs:
        found[run.messages_a_day].append(run)
    return [found[day] for day in sorted(found)]


def costs(runs: Sequence[Measured]) -> str:
    """Processor seconds a million messages, by service and run, as a table for a person."""
    ordered = sorted(runs, key=lambda run: (run.messages_a_day, run.pace))
    names = sorted(ordered[0].processor_s, key=lambda name: -ordered[0].processor_s[name])
    rows = [
        ["", *(f"day of {run.messages_a_day:,} at {run.pace:,.0f}/s" for run in ordered)],
        ["---"] * (len(ordered) + 1),
        *[
            [name, *(f"{run.processor_s[name] / run.messages * MILLION:,.0f}" for run in ordered)]
            for name in names
            if any(run.processor_s[name] > IDLE * sum(run.processor_s.values()) for run in ordered)
        ],
        ["in all", *(f"{sum(run.processor_s.values()) / run.messages * MILLION:,.0f}" for run in ordered)],
        ["at rest, an hour", *(f"{sum(run.resting.values()) * 3600:,.0f}" for run in ordered)],
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def held(runs: Sequence[Measured]) -> str:
    """Bytes a message, by topic and by table, of each day's longest run, as a table for a person."""
    longest = [max(of_a_day, key=lambda run: run.messages) for of_a_day in by_day(runs)]
    rows = [["", *(f"day of {run.messages_a_day:,}" for run in longest)], ["---"] * (len(longest) + 1)]
    for name in longest[0].topics:
        sizes = [run.topics[name][1] / run.messages for run in longest]
        if max(sizes) >= 1:
            rows.append([f"`{name}`", *(f"{found:,.0f}" for found in sizes)])
    rows.append(["all topics, one replica", *(f"{run.topic_bytes:,.0f}" for run in longest)])
    for name in sorted(longest[0].tables, key=lambda name: -longest[0].tables[name]):
        sizes = [run.tables[name] / run.messages for run in longest]
        if max(sizes) >= 20:
            rows.append([f"table `{name}`", *(f"{found:,.0f}" for found in sizes)])
    rows.append(["all tables, indexes included", *(f"{run.table_bytes:,.0f}" for run in longest)])
    rows.append(["write-ahead log", *(f"{run.log_bytes / run.messages:,.0f}" for run in longest)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def main() -> None:
    """Reckon with the runs of a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "file", type=Path, nargs="*", default=[RUNS], help="what bench/scale.py wrote by --out"
    )
    parser.add_argument("--hospitals", type=int, action="append")
    parser.add_argument(
        "--people", type=int, default=PEOPLE, help="that a hospital knows (default %(default)s)"
    )
    chosen = parser.parse_args()
    runs = [run for file in chosen.file for run in read(file)]
    for run in runs:
        print(run.shown())
    print(costs(runs), held(runs), sep="\n\n", end="\n\n")
    for of_a_day in by_day(runs):
        print(reckoned(of_a_day, tuple(chosen.hospitals or (1, 10, 50, 200)), chosen.people))


if __name__ == "__main__":
    main()
