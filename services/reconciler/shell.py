"""Faust as subscription, batches and worker, nothing more: the ledger in PostgreSQL is the truth.

No tables, joins, windows, `take()` or exactly_once: its joins raise NotImplementedError, its windows expire
by the wall clock, and it commits past offsets that were not processed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.types import TP

from dosestream.kafka import security
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import FACTS
from dosestream.settings import KafkaSettings, Settings
from services.reconciler.apart import EngineError, EngineGoneError, EngineProcess
from services.reconciler.consumer import LedgerTransport
from services.reconciler.engine import StoppingError

log = logging.getLogger("dosestream.reconciler")

GROUP = "dosestream-reconciler"
BATCH = 500
WITHIN_S = 0.05
# How often idle tails are looked for and the ledger is committed to Kafka, for lag metrics only.
HOUSEKEEPING_S = 2.0


class ConsumingOnly(BootStrategy):  # type: ignore[misc]
    """Nothing is published through Faust: no producer connects."""

    enable_kafka_producer = False


class LedgerApp(faust.App):  # type: ignore[misc]
    """A Faust app that carries the ledger's positions to its consumer."""

    BootStrategy = ConsumingOnly
    positions: Callable[[], Mapping[Partition, int]]
    on_ready: Callable[[], None]

    def _new_transport(self) -> LedgerTransport:
        return LedgerTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """None: without tables nothing lies on disk, and Faust's folder would stand where one happens to be."""

    def on_rebalance_end(self) -> None:
        """The group has given out its partitions, and ours are positioned: the service is ready, also where none was
        left for it."""
        super().on_rebalance_end()
        if not self.consumer.assignment():
            log.info("no partition is left for this reconciler: it stands by for the others")
        self.on_ready()


def credentials(kafka: KafkaSettings) -> Credentials | None:
    """Who we are to the broker, as Faust says it.

    Raises:
        SettingsError: a password or certificate cannot be read.
    """
    context = security.tls_context(kafka)
    if security.is_sasl(kafka):
        return SASLCredentials(
            username=kafka.user,
            password=security.password(kafka),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None


def subscribe(
    kafka: KafkaSettings,
    group: str,
    member: str,
    positions: Callable[[], Mapping[Partition, int]],
    on_ready: Callable[[], None],
) -> tuple[LedgerApp, Any]:
    """An app of this consumer group without agents, and the channel of every topic of facts."""
    brokers = [f"kafka://{address}" for address in kafka.bootstrap.split(",")]
    app = LedgerApp(
        group,
        broker=";".join(brokers),
        broker_credentials=credentials(kafka),
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        stream_wait_empty=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        consumer_group_instance_id=member,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=kafka.max_record_bytes,
        broker_max_poll_records=2000,
        stream_buffer_maxsize=8192,
        loghandlers=[],
    )
    app.positions, app.on_ready = positions, on_ready
    return app, app.topic(*[str(name) for name in FACTS], key_type=bytes, value_type=bytes)


def build(settings: Settings, engine: EngineProcess, member: str, on_ready: Callable[[], None]) -> LedgerApp:
    """The app: one agent over every topic of facts, and the housekeeping timer."""
    app, topic = subscribe(settings.kafka, GROUP, member, engine.positions, on_ready)

    async def apply(events: Sequence[Any]) -> None:
        records = [(m.topic, m.partition, m.offset, m.value) for m in (event.message for event in events)]
        await asyncio.to_thread(engine.hand_over, records)

    @app.agent(topic, name="facts", concurrency=1)  # type: ignore[untyped-decorator]
    async def facts(stream: Any) -> None:
        async for events in stream.noack_take(BATCH, within=WITHIN_S):
            await _never_raise(apply, engine, events)

    @app.timer(HOUSEKEEPING_S)  # type: ignore[untyped-decorator]
    async def housekeeping() -> None:
        async def work(_: object) -> None:
            assigned = [Partition(tp.topic, tp.partition) for tp in app.consumer.assignment()]
            positions = await asyncio.to_thread(engine.housekeep, assigned)
            await app.consumer._commit(
                {TP(*partition): positions[partition] for partition in assigned if partition in positions}
            )

        await _never_raise(work, engine, ())

    return app


async def _never_raise(
    work: Callable[[Sequence[Any]], Awaitable[object]], engine: EngineProcess, events: Sequence[Any]
) -> None:
    """Nothing raises out of an agent: what goes wrong is logged, and its records are read again, since the
    ledger stands before them."""
    try:
        await work(events)
    except (StoppingError, EngineGoneError, EngineError):
        return
    except asyncio.CancelledError:
        raise
    except Exception:
        if not engine.stopping.is_set():
            log.exception("batch not applied; it is read again from the ledger")
