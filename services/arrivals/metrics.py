"""What arrivals shows of itself."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from pydicom.config import IGNORE
from pydicom.uid import UID

from dosestream.audit.trail import Trail
from dosestream.metrics import names
from dosestream.metrics.certificates import expiries
from dosestream.metrics.exposition import Sample
from dosestream.metrics.health import Check, Health, Pulse, Remembered, opened
from dosestream.metrics.labels import OTHER, Sources, folded, plain
from dosestream.metrics.server import MetricsServer, serve
from dosestream.metrics.servers import Broker
from dosestream.settings import Settings
from dosestream.tls import Certificates
from services.arrivals.intake import SUCCESS, Intake
from services.arrivals.listener import Listener

# Statuses that say "not now" (PS3.4 table B.2-1, PS3.7 annex C).
OUT_OF_RESOURCES: Final = frozenset({"A700", "0213"})
TAKEN: Final = OUT_OF_RESOURCES | {f"{SUCCESS:04X}"}


def sop_class(message_type: str) -> str:
    """The keyword of a SOP class that the standard lists, with the command where there is one."""
    uid, _, command = message_type.partition("^")
    name = UID(uid, IGNORE).keyword or OTHER
    return f"{name}^{command}" if command in ("N-CREATE", "N-SET") else name


def begin(
    settings: Settings,
    intake: Intake,
    trail: Trail,
    listener: Callable[[], Listener | None],
    certificates: Callable[[], Certificates | None],
    topics: Check,
    *pulses: Pulse,
) -> MetricsServer | None:
    """Serve; None where the settings ask for nothing. `pulses` are those of the main thread and of the trail's."""
    sources = Sources([one.ae_title for one in settings.source] + [one.name for one in settings.source])

    def read() -> Iterator[Sample]:
        held = listener()
        counts, under_way = intake.read()
        answered = folded(counts, sources.label, sop_class, plain)
        for labels, count in answered.items():
            yield Sample(names.MESSAGES, count, labels)
        yield Sample(names.ANSWER_SECONDS, intake.heard.seconds)
        yield Sample(names.IN_FLIGHT, under_way)
        yield Sample(names.CONNECTIONS, held.associations if held is not None else 0)
        yield Sample(
            names.NOT_STORED,
            sum(count for (_, _, status), count in answered.items() if status in OUT_OF_RESOURCES),
        )
        refused: Counter[str] = Counter()
        for (_, _, status), count in answered.items():
            if status not in TAKEN:
                refused[status] += count
        for status, count in refused.items():
            yield Sample(names.REJECTED, count, (status,))
        yield Sample(names.AUDIT_LOST, trail.lost)

    health = Health(
        live={f"loop {number}": pulse for number, pulse in enumerate(pulses, 1)},
        ready={
            "kafka": Remembered(Broker(settings).check),
            "topics": topics,
            "listener": opened(listener, "the listener is not open"),
            "intake": opened(lambda: intake, "what a crash left is not taken up yet: senders hear 0xA700"),
        },
    )
    return serve(settings, "arrivals", health, read, expiries("dicom", certificates))
