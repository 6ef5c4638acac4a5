"""Where a service says how it is: `/metrics`, `/health/live` and `/health/ready`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """HTTP beside each service; none is served where no port is set."""

    host: str = "127.0.0.1"
    # Of every service, where each has a machine (container) of its own; 0: what `service` says.
    port: int = 0
    # Of the services of one machine, by their names; what is not named here serves none.
    service: Mapping[str, int] = field(default_factory=dict)
    # Folders whose free space is told beside that of the repeats, such as those of the broker and the database.
    folders: tuple[str, ...] = ()

    def port_of(self, service: str) -> int:
        """The port of a service, 0 where it serves none."""
        return self.port or self.service.get(service, 0)


SERVICES = ("ingest", "arrivals", "reconciler", "worklist", "cleanup")


def metrics_mistakes(metrics: MetricsSettings) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong with the section as a whole, with the key it stands at."""
    return [
        (("service", name), f"{name!r} is no service; these are: {', '.join(SERVICES)}")
        for name in metrics.service
        if name not in SERVICES
    ]
