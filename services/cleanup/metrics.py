"""What cleanup shows of itself: its runs, as the database has them."""

from dosestream.metrics.gathered import Gathered
from dosestream.metrics.health import Check, Health, Pulse, Remembered
from dosestream.metrics.progress import cleanup_reads
from dosestream.metrics.server import MetricsServer, serve
from dosestream.metrics.servers import Broker, database_check
from dosestream.settings import Settings


def begin(settings: Settings, topics: Check, pulse: Pulse) -> MetricsServer | None:
    """Serve; None where the settings ask for nothing."""
    health = Health(
        live={"loop": pulse},
        ready={
            "kafka": Remembered(Broker(settings).check),
            "topics": topics,
            "database": Remembered(lambda: database_check(settings)),
        },
    )
    return serve(settings, "cleanup", health, Gathered(cleanup_reads(settings)))
