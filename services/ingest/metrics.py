"""What ingest shows of itself: plain counts, copied on its own loop when somebody asks."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple

from dosestream.audit.trail import Trail
from dosestream.metrics import names
from dosestream.metrics.certificates import expiries
from dosestream.metrics.exposition import Sample
from dosestream.metrics.health import Check, Health, Pulse, Remembered, opened
from dosestream.metrics.joined import address_in, joined, pages
from dosestream.metrics.labels import Sources, folded, hl7_type, plain
from dosestream.metrics.names import Metric
from dosestream.metrics.server import MetricsServer, serve
from dosestream.metrics.servers import Broker
from dosestream.settings import Settings
from dosestream.tls import Certificates
from services.ingest.intake import Intake
from services.ingest.listener import Listener

# What the loop has to copy its counts.
COPY_S: Final = 2.0
BEAT_S: Final = 1.0
# Rules that are told apart: beyond so many, the rarest are left out.
MOST_FINDINGS: Final = 500

# The intake's counts by their names, and by the beginnings of their names, whose ends are the label.
PLAIN: Final[Mapping[str, Metric]] = {
    "ignored": names.IGNORED,
    "heard before": names.REPEATS,
    "not stored": names.NOT_STORED,
    "control_id_reused": names.REUSED,
    "connections refused": names.CONNECTIONS_REFUSED,
}
LABELLED: Final[Mapping[str, Metric]] = {"rejected ": names.REJECTED, "events ": names.EVENTS}


class _Copy(NamedTuple):
    heard: dict[tuple[str, str, str], int]
    counts: dict[str, int]
    connections: int
    stops: list[tuple[str, str]]
    findings: list[tuple[tuple[str, str, str], int]]
    checked: int


def begin(
    settings: Settings,
    loop: asyncio.AbstractEventLoop,
    intake: Intake,
    trail: Trail,
    listener: Callable[[], Listener | None],
    certificates: Callable[[], Certificates | None],
    topics: Check,
    *,
    share: bool,
) -> MetricsServer | None:
    """Serve what one process says; None where the settings ask for nothing."""
    pulse = Pulse()

    def beat() -> None:
        pulse.beat()
        loop.call_later(BEAT_S, beat)

    beat()
    sources = Sources([one.name for one in settings.source])

    def copy() -> _Copy:
        heard = listener()
        watch = intake.watch
        return _Copy(
            dict(intake.heard.counts),
            dict(intake.counts),
            heard.connections if heard is not None else 0,
            watch.stops(),
            watch.findings(MOST_FINDINGS),
            watch.checked,
        )

    def read() -> Iterator[Sample]:
        now = on_loop(loop, copy)
        for labels, count in folded(now.heard, sources.label, hl7_type, plain).items():
            yield Sample(names.MESSAGES, count, labels)
        yield Sample(names.ANSWER_SECONDS, intake.heard.seconds)
        yield Sample(names.IN_FLIGHT, intake.under_way)
        yield Sample(names.IN_FLIGHT_BYTES, intake.bytes_under_way)
        yield Sample(names.CONNECTIONS, now.connections)
        for name, metric in PLAIN.items():
            yield Sample(metric, now.counts.get(name, 0))
        for name, count in now.counts.items():
            for beginning, metric in LABELLED.items():
                if name.startswith(beginning):
                    yield Sample(metric, count, (name.removeprefix(beginning),))
        for labels in folded(dict.fromkeys(now.stops, 1), sources.label, hl7_type):
            yield Sample(names.STOPPED, 1, labels)
        for labels, count in folded(dict(now.findings), str, sources.label, plain).items():
            yield Sample(names.FINDINGS, count, labels)
        yield Sample(names.CHECKED, now.checked)
        yield Sample(names.AUDIT_LOST, trail.lost)

    health = Health(
        live={"loop": pulse},
        ready={
            "kafka": Remembered(Broker(settings).check),
            "topics": topics,
            "listener": opened(listener, "the listener is not open"),
            "intake": opened(lambda: intake, "what a crash left is not taken up yet: senders hear AE"),
        },
    )
    return serve(settings, "ingest", health, read, expiries("mllp", certificates), share=share)


def begin_parent(settings: Settings, folder: Path, pulse: Pulse) -> MetricsServer | None:
    """Serve what all workers say; their ready files lie in `folder` as NUMBER.json."""
    workers = settings.mllp.workers

    def addresses() -> dict[str, str]:
        files = {str(number): folder / f"{number}.json" for number in range(workers)}
        found = {name: address_in(path.read_text()) for name, path in files.items() if path.exists()}
        return {name: address for name, address in found.items() if address}

    def ready() -> str:
        return "" if pages(addresses(), "/health/ready") else "no worker is ready"

    def counted() -> Iterator[Sample]:
        yield Sample(names.WORKERS, len(pages(addresses(), "/health/live")))

    health = Health(live={"loop": pulse}, ready={"workers": Remembered(ready)})
    return serve(settings, "ingest", health, counted, others=lambda: joined(pages(addresses(), "/metrics")))


def on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], Any]) -> Any:
    """What the loop makes of the work, between two of its turns; raises TimeoutError where it does not turn."""
    answer: Future[Any] = Future()

    def do() -> None:
        try:
            answer.set_result(work())
        except Exception as error:
            answer.set_exception(error)

    loop.call_soon_threadsafe(do)
    return answer.result(COPY_S)
