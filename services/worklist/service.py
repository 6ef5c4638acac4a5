"""The worklist: orders from the dose database, to modalities by C-FIND."""

import logging
import signal
import threading
from types import FrameType
from typing import Final

from dosestream import ready
from dosestream.metrics.health import Pulse
from dosestream.settings import Settings
from services.worklist.finder import Finder
from services.worklist.listener import Listener

log = logging.getLogger("dosestream.worklist")

# How often the main thread shows that it turns.
WAKE_S: Final = 1.0


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    worklist = settings.worklist
    finder = Finder(settings)
    try:
        listener = Listener(worklist, finder)
    except OSError as error:
        log.error(
            "cannot listen on %s:%d (%s): stop what uses it, or set worklist.port (DOSESTREAM_WORKLIST_PORT)",
            worklist.host,
            worklist.port,
            error.strerror,
        )
        return 1
    pulse, metrics = Pulse(), None
    told: dict[str, object] = {"host": listener.host, "port": listener.port, "ae_title": worklist.ae_title}
    if settings.metrics.port_of("worklist"):
        from services.worklist.metrics import begin

        metrics = begin(settings, finder, listener, pulse)
    if metrics is not None:
        told["metrics"] = metrics.url
    ready.announce(told)
    log.info("answering worklist queries as %s on %s:%d", worklist.ae_title, listener.host, listener.port)
    while not stopping.wait(WAKE_S):
        pulse.beat()
    if metrics is not None:
        metrics.health.stopping.set()
    listener.close()
    finder.close()
    log.info("stopped")
    return 0
