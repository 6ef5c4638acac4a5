"""One logging configuration for every service: a line on standard error, no patient data.

What identifies a message in a log is its source, control id and position in Kafka, never its content. The text of
an exception nobody foresaw may quote what it met, so only its type and where it happened are logged.
`DOSESTREAM_LOG_LEVEL` sets the level, `DOSESTREAM_LOG_FORMAT` the form: `text` for a person, `json` for a collector.
"""

import faulthandler
import json
import logging
import os
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, TextIO

Trace = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
STANDARD_ERROR: Final = 2
NOISY: Final = ("pynetdicom", "pydicom", "aiokafka", "faust", "mode")


class Text(logging.Formatter):
    """A line for a person; an exception's frames follow it."""

    def __init__(self, service: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)s {service} %(message)s")

    def formatException(self, ei: Trace) -> str:  # noqa: N802
        """Where it happened, and what it is; not what it says."""
        return "\n".join(f"  {line}" for line in frames(ei))


class JsonLines(logging.Formatter):
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `service`, `logger`, `message`, and `exception` with
    the frames of one.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = "\n".join(frames(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


FORMS: Final = {"text": Text, "json": JsonLines}


def frames(trace: Trace) -> list[str]:
    """File, line and function of each frame, the innermost last, then the types of the exception and its causes."""
    found = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(trace[2])]
    error, seen = trace[1], set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        # PostgreSQL's own code of an error holds no value (its appendix A).
        state = getattr(error, "sqlstate", None)
        found.append(f"{type(error).__module__}.{type(error).__qualname__}{f' {state}' if state else ''}")
        error = error.__cause__ or error.__context__
    return found


def configure(service: str) -> logging.Logger:
    """Set up the process's logging and return the service's logger."""
    handler = logging.StreamHandler(sys.stderr)
    form = os.environ.get("DOSESTREAM_LOG_FORMAT") or "text"
    handler.setFormatter(FORMS.get(form, Text)(service))
    logging.basicConfig(
        handlers=[handler], level=os.environ.get("DOSESTREAM_LOG_LEVEL") or "INFO", force=True
    )
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)
    log = logging.getLogger(f"dosestream.{service}")
    if form not in FORMS:
        log.warning("DOSESTREAM_LOG_FORMAT is %r: text or json; text is used", form)
    _take_over(log)
    # Where a library in C crashes, what each thread did is all there is: file, line and function, no values.
    faulthandler.enable(file=STANDARD_ERROR)
    return log


def _take_over(log: logging.Logger) -> None:
    """What Python would write to standard error by itself comes as a line, too."""

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.critical("ended by an exception that nobody caught", exc_info=(kind, error, trace))

    def in_thread(hook: threading.ExceptHookArgs) -> None:
        if hook.exc_value is not None and not isinstance(hook.exc_value, SystemExit):
            name = hook.thread.name if hook.thread is not None else "a thread"
            trace = (hook.exc_type, hook.exc_value, hook.exc_traceback)
            log.critical("%s ended by an exception that nobody caught", name, exc_info=trace)

    def warn(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        # Its text may quote a value.
        log.debug("%s at %s:%d", category.__name__, filename, lineno)

    sys.excepthook, threading.excepthook, warnings.showwarning = uncaught, in_thread, warn
