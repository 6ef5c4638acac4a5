"""The reconciler: facts from the topics, rows in the dose database, changed rows out again."""

import logging
import os
import signal
import socket
import threading

import faust
import psycopg

from dosestream.kafka.codec import codec_for
from dosestream.kafka.reader import ReadError
from dosestream.ready import announce
from dosestream.reconcile.rules import rules_from
from dosestream.settings import Settings
from services.reconciler.engine import Engine
from services.reconciler.outbox import Outbox
from services.reconciler.shell import build

log = logging.getLogger("dosestream.reconciler")

AWAY_S = 1.0


def run(settings: Settings) -> int:
    """Reconcile until SIGTERM or SIGINT; returns 0, or 1
    where the worker broke and must be started again. A server that is away at the start is waited for."""
    rules = rules_from(settings)
    codec = codec_for(settings.kafka)
    engine = Engine(settings, codec, rules)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        try:
            engine.start()
            break
        except (psycopg.OperationalError, ReadError) as away:
            log.warning("waiting for a server: %s", str(away).strip().splitlines()[0])
            stop.wait(AWAY_S)
    if stop.is_set():
        engine.close()
        return 0
    outbox = Outbox(settings, codec)
    outbox.start()
    # Static membership: a restart within the session timeout keeps its partitions.
    member = os.environ.get("DOSESTREAM_MEMBER") or f"{socket.gethostname()}-reconciler"
    app = build(settings, engine, member, lambda: announce({"pid": os.getpid(), "rules_hash": rules.hash}))
    worker = faust.Worker(app, loglevel="ERROR", redirect_stdouts=False, override_logging=False, quiet=True)
    failed = False
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        failed = bool(ended.code)
    finally:
        outbox.stop()
        engine.close()
        outbox.join(timeout=10)
    return 1 if failed else 0
