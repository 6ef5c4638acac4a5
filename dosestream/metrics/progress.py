"""How far the dose database is behind the topics, from the ledger and the topics' ends."""

from collections.abc import Callable, Collection, Iterator, Mapping

import psycopg

from dosestream.kafka.records import Partition
from dosestream.kafka.topics import FACTS
from dosestream.metrics import database, names
from dosestream.metrics.exposition import Sample
from dosestream.metrics.servers import ANSWER_S, Broker
from dosestream.settings import Settings

Row = tuple[object, ...]
FACT_TOPICS = frozenset(map(str, FACTS))


def lag(
    ledger: Mapping[Partition, int],
    earliest: Mapping[Partition, int],
    latest: Mapping[Partition, int],
    facts: Collection[str] = FACT_TOPICS,
) -> Iterator[Sample]:
    """Samples of each partition of facts, and of each topic."""
    records: dict[str, int] = {}
    for where, after in latest.items():
        records[where.topic] = records.get(where.topic, 0) + after - earliest[where]
        if where.topic not in facts:
            continue
        labels = (where.topic, str(where.number))
        position = ledger.get(where)
        yield Sample(names.LAG, max(0, after - max(position or 0, earliest[where])), labels)
        if position is not None:
            yield Sample(names.LEDGER, position, labels)
    yield from (Sample(names.TOPIC_RECORDS, count, (topic,)) for topic, count in records.items())


def reads(settings: Settings, broker: Broker) -> tuple[Callable[[], list[Sample]], ...]:
    """What a reconciler gathers: lag first, which is cheap, then the counts. They raise what the servers raise."""

    def behind() -> list[Sample]:
        with _connect(settings) as connection:
            ledger = database.positions(connection)
        return list(lag(ledger, *broker.offsets()))

    def counts() -> list[Sample]:
        with _connect(settings) as connection:
            return database.rows(connection, database.TABLE)

    return behind, counts


def cleanup_reads(settings: Settings) -> Callable[[], list[Sample]]:
    """What the cleanup service gathers; raises psycopg.Error."""

    def counts() -> list[Sample]:
        with _connect(settings) as connection:
            return database.rows(connection, database.CLEANUP)

    return counts


def _connect(settings: Settings) -> psycopg.Connection[Row]:
    return psycopg.connect(settings.postgres.url, autocommit=True, connect_timeout=int(ANSWER_S))
