"""Cleanup as a service: once a day at the site's hour, or once and no more."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from types import FrameType
from zoneinfo import ZoneInfo

import psycopg

from dosestream import ready
from dosestream.events.codec import Codec
from dosestream.kafka.admin import BrokerAwayError, set_retention
from dosestream.kafka.codec import codec_for
from dosestream.kafka.publisher import PublishError
from dosestream.kafka.reader import ReadError
from dosestream.kafka.snapshots import SnapshotReader, SnapshotWriter
from dosestream.kafka.start_check import StartCheck
from dosestream.kafka.wanted import topic_limits
from dosestream.metrics.health import Pulse
from dosestream.reconcile.rules import rules_from
from dosestream.settings import Settings, doubts
from services.cleanup.forget import Tally
from services.cleanup.run import BusyError, Run, StoppedError

log = logging.getLogger("dosestream.cleanup")

# With a server away the day's run is tried again so much later.
AGAIN_S = 300.0
# How often the service shows that it turns, and how long one page of a run may take.
WAKE_S = 5.0
PAGE_S = 900.0
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PublishError, ReadError, BrokerAwayError)


def next_run(now: datetime, hour: int, zone: str) -> datetime:
    """The next full `hour` after `now`, by the clock of the zone."""
    here = now.astimezone(ZoneInfo(zone))
    today = here.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today > here else today + timedelta(days=1)


def clean(
    settings: Settings, stopping: threading.Event, *, dry: bool, beat: Callable[[], None] = lambda: None
) -> Tally:
    """One run; `beat` is called while it goes on.

    Raises:
        BusyError: another one is under way.
        StoppedError: `stopping` was set.
        any of AWAY: a server is away; what was done stays done.
    """

    def pause(seconds: float) -> None:
        beat()
        if stopping.wait(seconds):
            raise StoppedError("asked to stop")

    codec: Codec = codec_for(settings.kafka)
    writer = SnapshotWriter(settings.kafka, codec, settings.site.patient_key_secret.encode())
    reader = SnapshotReader(settings.kafka, codec)
    try:
        run = Run(
            connect=lambda: psycopg.connect(settings.postgres.url, autocommit=True),
            codec=codec,
            rules=rules_from(settings),
            retention=settings.retention,
            writer=writer,
            fetch=reader.fetch,
            pause=pause,
        )
        tally = run.once(dry=dry)
        if not dry:
            set_retention(settings.kafka, topic_limits(settings.retention))
        return tally
    finally:
        writer.close()
        reader.close()


def run(settings: Settings) -> int:
    """Clean up every day until SIGTERM or SIGINT. Returns the exit code."""
    stopping = threading.Event()
    _stop_on_signals(stopping)
    doubts.tell(settings, log)
    # One page of a run may take long.
    pulse, told = Pulse(limit_s=PAGE_S), {"hour": settings.retention.hour}
    topics = StartCheck(settings.kafka, "cleanup")
    topics.start()
    metrics = None
    if settings.metrics.port_of("cleanup"):
        from services.cleanup.metrics import begin

        metrics = begin(settings, topics, pulse)
    ready.announce(told if metrics is None else {**told, "metrics": metrics.url})
    again = False
    while True:
        now = datetime.now(tz=ZoneInfo("UTC"))
        due = next_run(now, settings.retention.hour, settings.site.timezone or "UTC")
        wait = AGAIN_S if again else (due - now).total_seconds()
        log.info("cleaning up in %.0f minutes", wait / 60)
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            pulse.beat()
            if stopping.wait(min(left, WAKE_S)):
                return 0
        again = False
        try:
            clean(settings, stopping, dry=False, beat=pulse.beat)
        except StoppedError:
            return 0
        except BusyError as busy:
            log.warning("%s: this run is left out", busy)
        except AWAY as away:
            log.warning("a server is away, tried again later: %s", str(away).strip().splitlines()[0])
            again = True


def once(settings: Settings, *, dry: bool) -> Tally:
    """One run in the foreground, ended by SIGTERM or SIGINT; raises as `clean`."""
    stopping = threading.Event()
    _stop_on_signals(stopping)
    doubts.tell(settings, log)
    return clean(settings, stopping, dry=dry)


def _stop_on_signals(stopping: threading.Event) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
