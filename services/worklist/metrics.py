"""What the worklist shows of itself."""

from collections.abc import Iterator

from dosestream.metrics import names
from dosestream.metrics.exposition import Sample
from dosestream.metrics.health import Health, Pulse, Remembered, opened
from dosestream.metrics.labels import Sources, folded, plain
from dosestream.metrics.server import MetricsServer, serve
from dosestream.metrics.servers import database_check
from dosestream.settings import Settings
from services.worklist.finder import Finder
from services.worklist.listener import Listener


def begin(settings: Settings, finder: Finder, listener: Listener, pulse: Pulse) -> MetricsServer | None:
    """Serve; None where the settings ask for nothing."""
    sources = Sources(settings.worklist.allowed_ae_titles)

    def read() -> Iterator[Sample]:
        counts, under_way = finder.read()
        for labels, count in folded(counts, sources.label, str, plain).items():
            yield Sample(names.MESSAGES, count, labels)
        yield Sample(names.ANSWER_SECONDS, finder.heard.seconds)
        yield Sample(names.IN_FLIGHT, under_way)
        yield Sample(names.CONNECTIONS, listener.associations)

    health = Health(
        live={"loop": pulse},
        ready={
            "database": Remembered(lambda: database_check(settings)),
            "listener": opened(lambda: listener, "the listener is not open"),
        },
    )
    return serve(settings, "worklist", health, read)
