"""What a reconciler shows: its own work, and the dose database and Kafka as every reconciler sees them."""

import threading
from collections.abc import Iterator

from dosestream.metrics import names
from dosestream.metrics.exposition import Sample
from dosestream.metrics.gathered import Gathered
from dosestream.metrics.health import Check, Health, Pulse, Remembered
from dosestream.metrics.progress import reads
from dosestream.metrics.server import MetricsServer, serve
from dosestream.metrics.servers import Broker, database_check
from dosestream.settings import Settings
from services.reconciler.numbers import EngineNumbers


def begin(
    settings: Settings, numbers: EngineNumbers, positioned: threading.Event, topics: Check, pulse: Pulse
) -> MetricsServer | None:
    """Serve; None where the settings ask for nothing. `positioned` is set once partitions are assigned."""
    broker = Broker(settings)

    def read() -> Iterator[Sample]:
        applied, transactions, restarts, stops = numbers.read()
        yield Sample(names.APPLIED, applied)
        yield Sample(names.TRANSACTIONS, transactions)
        yield Sample(names.RESTARTS, restarts)
        yield Sample(names.PARTITIONS_STOPPED, stops)
        yield Sample(names.ROW_SECONDS, numbers.row_seconds)

    health = Health(
        live={"loop": pulse},
        ready={
            "kafka": Remembered(broker.check),
            "topics": topics,
            "database": Remembered(lambda: database_check(settings)),
            "engine": numbers.check,
            "partitions": lambda: "" if positioned.is_set() else "no partition is assigned yet",
        },
    )
    return serve(settings, "reconciler", health, read, Gathered(*reads(settings, broker)))
