"""When the certificates of a listener end."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from dosestream.metrics.exposition import Sample
from dosestream.metrics.names import CERTIFICATE
from dosestream.tls import Certificates


def expiries(listener: str, certificates: Callable[[], Certificates | None]) -> Callable[[], list[Sample]]:
    """The first that ends of each file of the listener's; none where it speaks no TLS."""

    def read() -> list[Sample]:
        held = certificates()
        if held is None:
            return []
        first: dict[str, datetime] = {}
        for one in held.loaded.expiries:
            name = Path(one.file).name
            first[name] = min(first.get(name, one.ends), one.ends)
        return [Sample(CERTIFICATE, ends.timestamp(), (listener, name)) for name, ends in first.items()]

    return read
