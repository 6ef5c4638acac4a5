"""The reconciler: facts from the topics, rows in the dose database, changed rows out again."""

import gc
import logging
import os
import signal
import socket
import threading
import time

import faust

from dosestream.kafka.codec import codec_for
from dosestream.kafka.start_check import StartCheck
from dosestream.metrics.health import Pulse
from dosestream.ready import announce
from dosestream.reconcile.rules import rules_from
from dosestream.settings import Settings
from services.reconciler.apart import EngineProcess
from services.reconciler.engine import Engine
from services.reconciler.numbers import EngineNumbers
from services.reconciler.outbox import Outbox
from services.reconciler.shell import build

log = logging.getLogger("dosestream.reconciler")

# How often to look whether the engine has started, and how long an orderly end may take when it broke.
STARTED_S = 0.05
BEAT_S = 1.0
LAST_S = 5.0


def run(settings: Settings) -> int:
    """Reconcile until SIGTERM or SIGINT; returns 0, or 1 where the worker or its engine broke and must be
    started again. A server that is away at the start is waited for."""
    rules = rules_from(settings)
    ended = threading.Event()

    def gone() -> None:
        """Without its engine the service ends, in order where it can."""
        ended.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LAST_S)
        os._exit(1)

    # Before anything else: it starts no thread and opens nothing that the engine would share.
    numbers = EngineNumbers()
    engine = EngineProcess(
        lambda: Engine(settings, codec_for(settings.kafka, later=True), rules, numbers=numbers), gone
    )
    engine.launch()
    topics = StartCheck(settings.kafka, "reconciler")
    topics.start()
    pulse, positioned, metrics = Pulse(), threading.Event(), None
    if settings.metrics.port_of("reconciler"):
        from services.reconciler.metrics import begin

        metrics = begin(settings, numbers, positioned, topics, pulse)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    started = engine.ask("start")
    while not stop.is_set() and not started.done():
        pulse.beat()
        stop.wait(STARTED_S)
    if stop.is_set():
        engine.close()
        return int(ended.is_set())
    if started.exception() is not None:
        engine.close()
        return 1
    codec = codec_for(settings.kafka, later=True)
    outbox = Outbox(settings, codec)
    outbox.start()
    # Static membership: a restart within the session timeout keeps its partitions.
    member = os.environ.get("DOSESTREAM_MEMBER") or f"{socket.gethostname()}-reconciler"
    told: dict[str, object] = {"pid": os.getpid(), "rules_hash": rules.hash}
    if metrics is not None:
        told["metrics"] = metrics.url

    def is_positioned() -> None:
        positioned.set()
        announce(told)

    # Records and their events leave no circles behind, whatever the consumer library makes of them on the way.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    app = build(settings, engine, member, is_positioned)
    worker = faust.Worker(app, loglevel="ERROR", redirect_stdouts=False, override_logging=False, quiet=True)
    # It writes its escape sequences into a log, too.
    worker.spinner = None

    def beat() -> None:
        pulse.beat()
        if stop.is_set():
            # Asked before the worker listened to signals.
            os.kill(os.getpid(), signal.SIGTERM)
        worker.loop.call_later(BEAT_S, beat)

    worker.loop.call_soon(beat)
    failed = False
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        failed = bool(end.code)
        if worker.crash_reason is not None:
            kind = type(worker.crash_reason).__name__
            log.critical("reading the topics ended by %s: ending, to be started again", kind)
    finally:
        if metrics is not None:
            metrics.health.stopping.set()
        outbox.stop()
        engine.close()
        outbox.join(timeout=10)
    return 1 if failed or ended.is_set() else 0
