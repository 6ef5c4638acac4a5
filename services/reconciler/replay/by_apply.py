"""A build by live batches: slow, and right by construction. What the build in bulk is held against."""

from collections.abc import Callable, Iterator

import psycopg

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty
from dosestream.db.generations import enter
from dosestream.db.records import Decoded, decode
from dosestream.events.codec import Codec
from dosestream.events.records import Clock
from dosestream.kafka.codec import codec_for
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.reconcile.rules import Rules, rules_from
from dosestream.settings import Settings
from services.reconciler.replay.plan import BuildPlan, Built, Progress, Reading, StoppedPartitionsError

Row = tuple[object, ...]
LOT = 500


def build(settings: Settings, plan: BuildPlan, progress: Callable[[Progress], None]) -> Built:
    """Fill the tables of a generation as `services.reconciler.replay.build` does."""
    codec, rules = codec_for(settings.kafka), rules_from(settings)
    reader = PartitionReader(settings.kafka)
    reading: Reading = (
        plan.reading(settings) if plan.reading is not None else lambda found: decode(codec, found)
    )
    try:
        with psycopg.connect(settings.postgres.url, autocommit=True) as connection:
            _empty(connection, plan)
            begins = {partition: reader.watermarks(partition)[0] for partition in plan.stops}
            _begin(connection, plan, dict.fromkeys(begins, 0))
            total = sum(stop - begins[partition] for partition, stop in plan.stops.items())
            done = events = left_out = quarantined = 0
            numbers: dict[Partition, int] = {}
            for items, count in _batches(reader, reading, plan, begins):
                kept = [item for item in items if not _later(item, plan.until)]
                done, left_out = done + count, left_out + len(items) - len(kept)
                applied = _apply(connection, codec, rules, plan, kept, numbers)
                events, quarantined = events + applied[0], quarantined + applied[1]
                progress(Progress("gather", done, total, "events", done / total if total else 1.0))
            while derive_dirty(connection, codec, rules, LOT, generation=plan.generation):
                pass
            positions = dict(plan.stops if plan.ledger is None else plan.ledger)
            _begin(connection, plan, positions)
            facts, groups, patients = _counts(connection, plan)
    finally:
        reader.close()
    return Built(events, left_out, 0, quarantined, facts, groups, patients, begins, positions)


def _batches(
    reader: PartitionReader, reading: Reading, plan: BuildPlan, begins: dict[Partition, int]
) -> Iterator[tuple[list[Decoded], int]]:
    for partition, stop in sorted(plan.stops.items()):
        if begins[partition] >= stop:
            continue
        for records in reader.read(partition, begins[partition], stop):
            items, stopped = reading(records)
            if stopped:
                raise StoppedPartitionsError(stopped)
            yield items, len(records)


def _later(item: Decoded, until: int | None) -> bool:
    if until is None or item.event is None:
        return False
    at = item.event.at if isinstance(item.event, Clock) else item.event.received_at  # type: ignore[union-attr]
    return at > until


def _apply(
    connection: psycopg.Connection[Row],
    codec: Codec,
    rules: Rules,
    plan: BuildPlan,
    items: list[Decoded],
    numbers: dict[Partition, int],
) -> tuple[int, int]:
    """One batch, numbered as if it came from its topics without a hole: several events may come of one record."""
    events = quarantined = 0
    numbered = []
    for item in items:
        offset = numbers.get(item.record.partition, 0)
        numbers[item.record.partition] = offset + 1
        numbered.append(Decoded(item.record._replace(offset=offset), item.event, item.problem))
    for start in range(0, len(numbered), LOT):
        done = apply(connection, codec, rules, numbered[start : start + LOT], generation=plan.generation)
        events, quarantined = events + done.events, quarantined + done.quarantined
    return events, quarantined


def _empty(connection: psycopg.Connection[Row], plan: BuildPlan) -> None:
    schema = plan.generation.schema
    for (table,) in connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> 'migration'", (schema,)
    ).fetchall():
        connection.execute(f"TRUNCATE {schema}.{table}".encode())


def _begin(connection: psycopg.Connection[Row], plan: BuildPlan, positions: dict[Partition, int]) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        enter(cursor, plan.generation)
        cursor.execute("DELETE FROM ledger")
        cursor.execute("DELETE FROM outbox")
        ledger.begin(cursor, positions)


def _counts(connection: psycopg.Connection[Row], plan: BuildPlan) -> tuple[int, int, int]:
    schema = plan.generation.schema
    row = connection.execute(
        f"SELECT (SELECT count(*) FROM {schema}.fact), (SELECT count(DISTINCT grp) FROM {schema}.fact), "
        f"(SELECT count(*) FROM {schema}.patient)".encode()
    ).fetchone()
    assert row is not None
    facts, groups, patients = (int(str(value)) for value in row)
    return facts, groups, patients
