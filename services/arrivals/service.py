"""Arrivals: DICOM in, Kafka out."""

import logging
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from dosestream import ready
from dosestream.audit.trail import POLL_S, Kind, Trail, now
from dosestream.kafka.codec import codec_for
from dosestream.kafka.normalised_up_to import DICOM_GROUP, NormalisedUpTo
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.start_check import StartCheck
from dosestream.kafka.topics import Topic
from dosestream.metrics.health import Pulse
from dosestream.repeats.desk import Desk
from dosestream.repeats.opened import home
from dosestream.repeats.store import Store
from dosestream.repeats.waiting import WaitingRepeats
from dosestream.settings import Settings, doubts
from dosestream.tls import LOOK_S, Certificates, TlsError
from services.arrivals.folder import WatchedFolder
from services.arrivals.intake import ANSWER_DEADLINE_S, Intake
from services.arrivals.known import Known
from services.arrivals.listener import Listener
from services.arrivals.orthanc import Feed
from services.arrivals.publications import Publications

if TYPE_CHECKING:
    from dosestream.metrics.server import MetricsServer

log = logging.getLogger("dosestream.arrivals")

# The listener waits so long for what a crash left behind to be repaired.
STARTING_S: Final = 3.0
# How long a peer has to take its last answer and to release.
FAREWELL_S: Final = 0.5
# A signal may reach another thread; its handler runs on the main one, which wakes for it at least so often.
WAKE_S: Final = 1.0
# What is on its way to the audit topic at the end gets so long.
AUDIT_S: Final = 2.0


class Arrivals:
    """The service as an object: `start`, then `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        codec = codec_for(settings.kafka, later=True)
        publications = Publications(settings, codec)
        self._publisher = Publisher(settings.kafka)
        self._marks = NormalisedUpTo(
            settings.kafka,
            topic=str(Topic.DICOM_RAW),
            group=DICOM_GROUP,
            normalise=publications.repaired,
            publisher=self._publisher,
            codec=codec,
        )
        self._trail = Trail(settings.kafka, codec, "arrivals")
        self.intake = Intake(settings, publications, self._publisher, self._marks, self._trail)
        self._certificates: Certificates | None = None
        self._reread = threading.Event()
        self._over = threading.Event()
        self.pulse, self._trail_pulse = Pulse(), Pulse()
        self._poller = threading.Thread(target=self._tend, name="audit", daemon=True)
        self._poller.start()
        self._desk = Desk(settings, str(Topic.DICOM_RAW), self._marks, codec, self._opened)
        self._listener: Listener | None = None
        self._feeds: list[WatchedFolder | Feed] = []
        self._topics = StartCheck(settings.kafka, "arrivals")
        self._topics.start()
        self.metrics = self._serve_metrics()

    def start(self, stopping: threading.Event) -> Listener | None:
        """Repair what a crash left, then listen; where the broker is away or there is much to repair, listen
        beside. None where it was stopped before that.

        Raises:
            OSError: the address cannot be bound.
            TlsError: the certificate cannot be used.
        """
        self._desk.start()
        until = time.monotonic() + STARTING_S
        while not self._marks.repaired.is_set() and time.monotonic() < until:
            self.pulse.beat()
            if stopping.wait(0.05):
                return None
        dicom, cap = self._settings.dicom, self._settings.kafka.max_message_bytes
        if dicom.tls.certificate:
            self._certificates = Certificates(dicom.tls, self._certificate_read)
        self._listener = Listener(self._settings, self.intake, self._certificates)
        if dicom.watch:
            folder = Path(dicom.watch)
            self._feeds.append(WatchedFolder(folder, self.intake, dicom.watch_ae_title, dicom.ae_title, cap))
        if dicom.orthanc.url:
            self._feeds.append(Feed(dicom.orthanc, self.intake, dicom.ae_title, cap))
        self._trail.write(Kind.CONFIGURATION, now(), detail="at the start")
        for feed in self._feeds:
            feed.start()
        return self._listener

    def reread(self) -> None:
        """Read the files of the certificate again, soon; from any thread or signal handler."""
        self._reread.set()

    def stop(self) -> None:
        """Stop accepting, answer what is under way, put everything into Kafka."""
        if self.metrics is not None:
            self.metrics.health.stopping.set()
        for feed in self._feeds:
            feed.close()
        if self._listener is not None:
            self._listener.stop_accepting()
            if not self.intake.close(ANSWER_DEADLINE_S + 1):
                log.error("instances were still under way: their senders will send them again")
            until = time.monotonic() + FAREWELL_S
            while self._listener.associations and time.monotonic() < until:
                time.sleep(0.02)
            self._listener.close()
        self._marks.stop()
        self._publisher.close()
        self._over.set()
        self._poller.join()
        self._trail.close(AUDIT_S)
        self._desk.close()
        self.intake.known.close()
        if self.metrics is not None:
            self.metrics.close()

    def _serve_metrics(self) -> "MetricsServer | None":
        if not self._settings.metrics.port_of("arrivals"):
            return None
        from services.arrivals.metrics import begin

        return begin(
            *(self._settings, self.intake, self._trail),
            lambda: self._listener,
            lambda: self._certificates,
            self._topics,
            *(self.pulse, self._trail_pulse),
        )

    def _tend(self) -> None:
        look_at = 0.0
        while not self._over.wait(POLL_S):
            self._trail_pulse.beat()
            self._trail.poll()
            if self._certificates is None:
                continue
            if self._reread.is_set():
                self._reread.clear()
                self._certificates.reload()
            if (now_s := time.monotonic()) >= look_at:
                look_at = now_s + LOOK_S
                self._certificates.look(now_s)

    def _certificate_read(self, code: str, detail: str) -> None:
        self._trail.write(Kind.CERTIFICATE, now(), code=code, detail=detail)

    def _opened(self, store: Store) -> None:
        folder = home(self._settings.repeats) / self._marks.roster.cluster()
        self.intake.known = Known(folder / "arrivals.sqlite", time.time_ns() // 1000)
        self.intake.repeats = WaitingRepeats(store)


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns the exit code."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    doubts.tell(settings, log)
    arrivals = Arrivals(settings)
    signal.signal(signal.SIGHUP, lambda _number, _frame: arrivals.reread())
    try:
        listener = arrivals.start(stopping)
        if listener is not None:
            dicom = settings.dicom
            told: dict[str, object] = {
                "host": listener.host,
                "port": listener.port,
                "ae_title": dicom.ae_title,
            }
            if listener.tls_port is not None:
                told["tls_port"] = listener.tls_port
            if arrivals.metrics is not None:
                told["metrics"] = arrivals.metrics.url
            ready.announce(told)
            log.info("listening for DICOM as %s on %s:%d", dicom.ae_title, listener.host, listener.port)
            while not stopping.wait(WAKE_S):
                arrivals.pulse.beat()
    except TlsError as error:
        log.error("TLS cannot be listened for: %s", error)
        return 1
    except OSError as error:
        if error.filename:
            log.error("%s: %s", error.filename, error.strerror)
            return 1
        log.error(
            "cannot listen on %s:%d (%s): stop what uses it, or set dicom.port (DOSESTREAM_DICOM_PORT)",
            settings.dicom.host,
            settings.dicom.port,
            error.strerror,
        )
        return 1
    finally:
        arrivals.stop()
    log.info("stopped; %s", dict(arrivals.intake.counts) or "nothing arrived")
    return 0
