"""The ingest service: listen, take up what a crash left behind, and stop without losing an answer.

The listener opens whether the broker is there or not. While it is away senders hear `AE`; when it comes, this
process joins the roster and normalises what crashes left behind, at first alone and, where there is much of it,
beside new messages. Each of these is answered once it has its own events.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvloop

from dosestream import hot_path, logs, ready
from dosestream.audit.trail import POLL_S, Trail
from dosestream.events.receipt import ReceiptClock
from dosestream.kafka.codec import codec_for
from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.normalised_up_to import HL7_GROUP, NormalisedUpTo
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.start_check import StartCheck
from dosestream.kafka.topics import Topic
from dosestream.repeats.desk import Desk
from dosestream.repeats.store import Store
from dosestream.repeats.turns import Repeats
from dosestream.settings import Settings, SettingsError, doubts
from dosestream.settings.mapping import described
from dosestream.tls import LOOK_S, Certificates, TlsError
from services.ingest import workers
from services.ingest.audit import Audit
from services.ingest.gathering import Doors, Gathering
from services.ingest.intake import Intake
from services.ingest.listener import Listener
from services.ingest.publications import Publications
from services.ingest.reload import reloaded

if TYPE_CHECKING:
    from dosestream.metrics.server import MetricsServer

log = logging.getLogger("dosestream.ingest")

# The listener waits so long for what a crash left behind to be normalised.
STARTING_S = 3.0
# What is under way when the service is told to stop gets so long to be answered.
DRAIN_S = 12.0
# Then what is on its way to the audit topic gets so long.
AUDIT_S = 2.0
# The thread that keeps the marks must not hold the loop up for long.
SWITCH_INTERVAL_S = 0.001
# A message leaves no cycles behind, so the collector need not look after every few of them.
COLLECT_AFTER = (50_000, 20, 50)

Reread = Callable[[], Settings]


def run(settings: Settings, reread: Reread) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop, 1 when the service cannot start.

    `reread` reads the configuration again, on SIGHUP; it raises SettingsError where it is broken.
    """
    logs.configure("ingest")
    # It would say with every try that a broker is away; the publisher says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    share = workers.Share.mine()
    if share is None and settings.mllp.workers > 1:
        return workers.Parent(settings).run()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Service(settings, reread, share or workers.ALONE).serve())


class _Service:
    """One process that listens."""

    def __init__(self, settings: Settings, reread: Reread, share: workers.Share) -> None:
        self._settings = settings
        self._reread = reread
        self._share = share
        # Told by health: no more is to be sent here.
        self._stopping = threading.Event()

    async def serve(self) -> int:
        """Until a signal; the exit code."""
        loop = self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        settings, share = self._settings, self._share
        if share.number == 0:
            doubts.tell(settings, log)
        publications = Publications(settings, codec_for(settings.kafka, later=True))
        self._trail = Trail(settings.kafka, publications.codec, "ingest")
        self._audit = Audit(self._trail)
        self._certificates: Certificates | None = None
        self._listener: Listener | None = None
        self._topics = StartCheck(settings.kafka, "ingest", quiet=share.number > 0)
        self._topics.start()
        # Of what is normalised again; what comes new has a publisher of its own.
        publisher = Publisher(settings.kafka, linger_ms=2.0)
        marks = NormalisedUpTo(
            settings.kafka,
            topic=str(Topic.HL7_RAW),
            group=HL7_GROUP,
            normalise=lambda raw, position: self._intake.publications.repaired(raw, position),
            publisher=publisher,
            codec=publications.codec,
            caretaker=share.number == 0,
        )
        clock = ReceiptClock(worker=share.number, workers=share.workers)
        self._intake = Intake(
            settings, publications, LoopPublisher(settings.kafka, loop), marks, loop, clock, self._audit
        )
        desk = Desk(
            settings,
            str(Topic.HL7_RAW),
            marks,
            publications.codec,
            self._opened,
            caretaker=share.number == 0,
        )
        desk.start()
        metrics = self._serve_metrics()
        try:
            await self._repaired(marks)
            return 0 if self._stop.is_set() else await self._listen()
        finally:
            if metrics is not None:
                metrics.close()
            marks.stop()
            await self._intake.publisher.close()
            await asyncio.gather(
                loop.run_in_executor(None, self._trail.close, AUDIT_S),
                loop.run_in_executor(None, publisher.close),
            )
            await loop.run_in_executor(None, desk.close)

    def _serve_metrics(self) -> "MetricsServer | None":
        self._metrics_at = ""
        if not self._settings.metrics.port_of("ingest"):
            return None
        from services.ingest.metrics import begin

        server = begin(
            *(self._settings, self._loop, self._intake, self._trail),
            lambda: self._listener,
            lambda: self._certificates,
            self._topics,
            share=self._share.workers > 1,
        )
        if server is not None:
            self._metrics_at = server.url
            self._stopping = server.health.stopping
        return server

    def _opened(self, store: Store) -> None:
        """On the thread of the marks."""
        self._intake.repeats = Repeats(store, self._loop)

    async def _repaired(self, marks: NormalisedUpTo) -> None:
        """Wait a little for the repair; it goes on beside where the broker is away or there is much of it."""
        until = self._loop.time() + STARTING_S
        while not (marks.repaired.is_set() or self._stop.is_set()) and self._loop.time() < until:
            await asyncio.sleep(0.02)

    async def _listen(self) -> int:
        gathering = Gathering(Doors.inherited(os.environ), self._share.number)
        listener = self._listener = Listener(self._settings, self._intake, gathering)
        address = await self._open(listener)
        if address is None:
            return 1
        listener.gather()
        self._loop.add_signal_handler(signal.SIGUSR1, lambda: _report(listener))
        self._loop.add_signal_handler(signal.SIGHUP, lambda: self._reload(listener))
        ready.announce(address | ({"metrics": self._metrics_at} if self._metrics_at else {}))
        self._audit.configuration(None, self._settings)
        log.info("mapping: %s", described(self._settings.mapping))
        beside = [self._loop.create_task(self._tend_trail()), self._loop.create_task(self._look())]
        await self._stop.wait()
        self._stopping.set()
        for task in beside:
            task.cancel()
        await listener.close(DRAIN_S)
        await self._intake.publisher.close()
        await self._intake.watch.close()
        if self._intake.repeats is not None:
            self._intake.repeats.flush()
        _report(listener)
        return 0

    async def _open(self, listener: Listener) -> dict[str, object] | None:
        """Where it listens; None where it cannot, and the log says why."""
        shared, mllp = self._share.workers > 1, self._settings.mllp
        asked = f"{mllp.host}:{mllp.port}"
        address: dict[str, object] = {}
        try:
            address["host"], address["port"] = await listener.open(shared=shared)
            log.info("listening on %s:%d, %s", address["host"], address["port"], hot_path.form())
            if mllp.tls.certificate:
                asked = f"{mllp.tls.host or mllp.host}:{mllp.tls.port}"
                self._certificates = Certificates(mllp.tls, self._audit.certificate)
                self._certificates.look(self._loop.time())
                host, port = listener.open_tls(self._certificates, shared=shared)
                address["tls"] = {"host": host, "port": port}
                log.info("listening for TLS on %s:%d; %s", host, port, self._certificates.loaded.told)
        except OSError as error:
            log.error("%s cannot be listened on: %s", asked, error.strerror)
            return None
        except TlsError as error:
            log.error("TLS cannot be listened for: %s", error)
            return None
        return address

    async def _tend_trail(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self._trail.poll()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._certificates is not None:
                self._certificates.look(self._loop.time())

    def _reload(self, listener: Listener) -> None:
        """Take a changed configuration; a broken one is told, and the old one stays."""
        try:
            wanted = self._reread()
        except SettingsError as error:
            for mistake in error.mistakes:
                log.error("the configuration is kept as it was: %s", mistake)
            self._audit.configuration_kept(len(error.mistakes))
            return
        settings, fixed = reloaded(self._settings, wanted)
        for name in fixed:
            log.warning("%s changes with the next start only", name)
        self._audit.configuration(self._settings, settings)
        self._settings = listener.settings = settings
        if self._certificates is not None:
            self._certificates.reload(settings.mllp.tls)
        self._intake.reload(settings)
        log.info("the configuration was read again; mapping: %s", described(settings.mapping))


def _report(listener: Listener) -> None:
    counts = ", ".join(f"{name}: {count}" for name, count in sorted(listener.intake.counts.items()))
    log.info("%d connections; %s", listener.connections, counts or "nothing heard yet")
    for line in listener.intake.watch.lines():
        log.info("%s", line)
