"""The worklist: orders from the dose database, to modalities by C-FIND."""

import logging
import signal
import threading
from types import FrameType

from dosestream import ready
from dosestream.settings import Settings
from services.worklist.finder import Finder
from services.worklist.listener import Listener

log = logging.getLogger("dosestream.worklist")


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
    ready.announce({"host": listener.host, "port": listener.port, "ae_title": worklist.ae_title})
    log.info("answering worklist queries as %s on %s:%d", worklist.ae_title, listener.host, listener.port)
    stopping.wait()
    listener.close()
    finder.close()
    log.info("stopped")
    return 0
