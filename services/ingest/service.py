"""The ingest service: repair what a crash left behind, listen, and stop without losing an answer."""

import asyncio
import logging
import signal
import sys

import uvloop

from dosestream import logs, ready
from dosestream.kafka.admin import BrokerAwayError, publish_schemas
from dosestream.kafka.codec import codec_for
from dosestream.kafka.loop_publisher import LoopPublisher
from dosestream.kafka.normalised_up_to import HL7_GROUP, NormalisedUpTo, RepairStoppedError
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.topics import Topic
from dosestream.settings import Settings
from services.ingest.intake import Intake
from services.ingest.listener import Listener
from services.ingest.publications import Publications

log = logging.getLogger("dosestream.ingest")

RETRY_S = 1.0
# What is under way when the service is told to stop gets so long to be answered.
DRAIN_S = 12.0
# The poll thread must get at the interpreter soon: answers of Kafka are on every message's way.
SWITCH_INTERVAL_S = 0.001


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop, 1 when the service cannot start."""
    logs.configure("ingest")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    publications = Publications(settings, codec_for(settings.kafka))
    publisher = Publisher(settings.kafka)
    marks = NormalisedUpTo(
        settings.kafka,
        topic=str(Topic.HL7_RAW),
        group=HL7_GROUP,
        normalise=publications.repaired,
        publisher=publisher,
        codec=publications.codec,
    )
    try:
        if not await _repair(settings, marks, stop):
            return 0
        intake = Intake(settings, publications, LoopPublisher(settings.kafka, loop), marks)
        return await _listen(settings, intake, stop)
    finally:
        await loop.run_in_executor(None, publisher.close)
        await loop.run_in_executor(None, marks.close)


async def _repair(settings: Settings, marks: NormalisedUpTo, stop: asyncio.Event) -> bool:
    """Wait for the broker, publish the schemas, normalise what a crash left behind; False when stopped."""
    loop = asyncio.get_running_loop()
    stopped = loop.create_task(stop.wait())
    stopped.add_done_callback(lambda _: marks.stop())
    while not stop.is_set():
        try:
            await loop.run_in_executor(None, publish_schemas, settings.kafka)
            if count := await loop.run_in_executor(None, marks.repair):
                log.info("%d raw records were normalised again", count)
            marks.start()
            return True
        except BrokerAwayError as error:
            log.warning("not ready yet: %s", error)
            await asyncio.wait([stopped], timeout=RETRY_S)
        except RepairStoppedError:
            break
    return False


async def _listen(settings: Settings, intake: Intake, stop: asyncio.Event) -> int:
    listener = Listener(settings, intake)
    try:
        host, port = await listener.open()
    except OSError as error:
        log.error("%s:%d cannot be listened on: %s", settings.mllp.host, settings.mllp.port, error.strerror)
        return 1
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: _report(listener))
    ready.announce({"host": host, "port": port})
    log.info("listening on %s:%d", host, port)
    await stop.wait()
    await listener.close(DRAIN_S)
    await listener.intake.publisher.close()
    _report(listener)
    return 0


def _report(listener: Listener) -> None:
    counts = ", ".join(f"{name}: {count}" for name, count in sorted(listener.intake.counts.items()))
    log.info("%d connections; %s", listener.connections, counts or "nothing heard yet")
