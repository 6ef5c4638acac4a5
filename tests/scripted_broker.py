"""Kafka brokers on the test's own event loop, which fail as they are told.

They speak what a producer needs (ApiVersions, Metadata, InitProducerId, Produce version 7) and who commits for groups
(FindCoordinator, ListOffsets, OffsetCommit, OffsetFetch), read and written with aiokafka's own structs. They know an
idempotent producer as Kafka does (KIP-98, ProducerStateManager): the same batch again has the offset that it has, of
the last five; a gap in the sequence is refused.
"""

import asyncio
import socket
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from io import BytesIO
from typing import Any, Final

from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.commit import (
    OffsetCommitRequest_v2,
    OffsetCommitResponse_v2,
    OffsetFetchRequest_v2,
    OffsetFetchResponse_v2,
)
from aiokafka.protocol.coordination import FindCoordinatorRequest_v0, FindCoordinatorResponse_v0
from aiokafka.protocol.metadata import MetadataRequest_v1, MetadataResponse_v1
from aiokafka.protocol.offset import OffsetRequest_v1, OffsetResponse_v1
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7
from aiokafka.protocol.transaction import InitProducerIdRequest_v0, InitProducerIdResponse_v0
from aiokafka.record.memory_records import MemoryRecords

from dosestream.kafka.publisher import Publication
from dosestream.kafka.records import Partition
from dosestream.settings import KafkaSettings

HOST: Final = "127.0.0.1"
PARTITIONS: Final = 4
REMEMBERED: Final = 5
EARLIEST: Final = -2
PRODUCE, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 0, 2, 3, 8, 9, 10
API_VERSIONS, INIT_PRODUCER_ID = 18, 22
VERSIONS: Final = [
    (PRODUCE, 3, 7),
    (LIST_OFFSETS, 1, 1),
    (METADATA, 1, 1),
    (OFFSET_COMMIT, 2, 2),
    (OFFSET_FETCH, 1, 2),
    (FIND_COORDINATOR, 0, 0),
    (API_VERSIONS, 0, 0),
    (INIT_PRODUCER_ID, 0, 0),
]
CORRUPT, UNKNOWN_TOPIC, NOT_LEADER, TOO_LARGE, NOT_COORDINATOR, UNAUTHORISED = 2, 3, 6, 10, 16, 29
UNSUPPORTED_VERSION, OUT_OF_ORDER, OLD_EPOCH, INVALID_RECORD = 35, 45, 47, 87


class Said(Enum):
    """What leaves the broker as its answer."""

    ANSWER = auto()
    NOTHING = auto()
    HALF = auto()
    GARBAGE = auto()
    OTHER_CORRELATION = auto()
    NO_PARTITIONS = auto()
    OTHER_PARTITIONS = auto()


@dataclass(frozen=True)
class Fault:
    """What becomes of one produce request.

    Attributes:
        code: of every batch; 0: what is due.
        stores: the batches are appended, whatever is said of them.
        closes: the connection ends afterwards. Where nothing, or half, is said and it stays, nothing more is heard.
    """

    code: int = 0
    stores: bool = False
    said: Said = Said.ANSWER
    closes: bool = False


@dataclass
class Log:
    """A log, and what is known of the producers that wrote to it."""

    records: list[Publication] = field(default_factory=list)
    # By producer id: the epoch, and (first sequence, last sequence, first offset) of its newest batches.
    producers: dict[int, tuple[int, deque[tuple[int, int, int]]]] = field(default_factory=dict)

    def append(self, batch: Any, found: list[Publication]) -> tuple[int, int]:
        """(error code, first offset)."""
        epoch, newest = self.producers.get(
            batch.producer_id, (batch.producer_epoch, deque(maxlen=REMEMBERED))
        )
        first = batch.base_sequence
        last = (first + len(found) - 1) % 2**31
        if batch.producer_epoch < epoch:
            return OLD_EPOCH, -1
        if batch.producer_epoch > epoch:
            epoch, newest = batch.producer_epoch, deque(maxlen=REMEMBERED)
        for one in newest:
            if one[:2] == (first, last):
                return 0, one[2]
        # A producer that is not known may begin with any number (KIP-360).
        if newest and first != (newest[-1][1] + 1) % 2**31:
            return OUT_OF_ORDER, -1
        offset = len(self.records)
        newest.append((first, last, offset))
        self.producers[batch.producer_id] = (epoch, newest)
        self.records += found
        return 0, offset


class Cluster:
    """What all brokers of a cluster know, and what they are told to do wrong.

    Attributes:
        logs: by partition.
        committed: what groups committed.
        faults: of the next produce requests, one each.
        others: the same of the next requests with another call's number; nothing is stored there.
        forbidden: topics that nobody may see, or write to.
        poison: keys of records that no partition takes.
        deaf: nodes that take connections and answer nothing.
        most: records of a batch that is not too large.
        asked: how often, by the call's number.
    """

    def __init__(self, nodes: int = 1) -> None:
        self.logs: defaultdict[Partition, Log] = defaultdict(Log)
        self.committed: defaultdict[str, dict[Partition, int]] = defaultdict(dict)
        self.topics: set[str] = set()
        self.leaders: dict[Partition, int] = {}
        self.faults: deque[Fault] = deque()
        self.others: defaultdict[int, deque[Fault]] = defaultdict(deque)
        self.forbidden: set[str] = set()
        self.poison: set[bytes] = set()
        self.deaf: set[int] = set()
        self.most = 1 << 30
        self.asked: Counter[int] = Counter()
        self.producers = 0
        self.brokers = [Broker(self, number) for number in range(1, nodes + 1)]

    @property
    def settings(self) -> KafkaSettings:
        """For a client; records fail soon."""
        bootstrap = ",".join(f"{HOST}:{one.port}" for one in self.brokers)
        return KafkaSettings(bootstrap=bootstrap, delivery_timeout_ms=500)

    def lead(self, node: int) -> None:
        """All partitions move to a node; -1: nobody leads them."""
        self.leaders = {Partition(topic, n): node for topic in self.topics for n in range(PARTITIONS)}

    def leader(self, place: Partition) -> int:
        """Where a partition lies; the first node has what was not moved."""
        return self.leaders.get(place, 1)

    def copies(self, record: Publication) -> int:
        """How often it is stored."""
        return sum(
            log.records.count(record) for place, log in self.logs.items() if place.topic == record.topic
        )

    def metadata(self, wanted: list[str] | None) -> Any:
        """Of these topics, which make themselves; None: of all."""
        self.topics |= {topic for topic in wanted or () if topic not in self.forbidden}
        topics: list[Any] = []
        for topic in sorted(self.topics) if wanted is None else wanted:
            if topic in self.forbidden:
                topics.append((UNAUTHORISED, topic, False, []))
                continue
            leaders = [(n, self.leader(Partition(topic, n))) for n in range(PARTITIONS)]
            topics.append((0, topic, False, [(0, n, node, [node], [node]) for n, node in leaders]))
        alive = [(one.node, HOST, one.port, None) for one in self.brokers if one.there]
        return MetadataResponse_v1(alive, alive[0][0], topics)

    def store(self, node: int, place: Partition, held: bytes, fault: Fault) -> tuple[int, int]:
        """(error code, first offset) of a batch."""
        batch = MemoryRecords(held).next_batch()
        if batch is None or not batch.validate_crc():
            return CORRUPT, -1
        found = [Publication(place.topic, one.key, one.value, list(one.headers)) for one in batch]
        if place.topic in self.forbidden:
            return UNAUTHORISED, -1
        if self.leader(place) != node:
            return NOT_LEADER, -1
        if len(found) > self.most:
            return TOO_LARGE, -1
        if any(record.key in self.poison for record in found):
            return INVALID_RECORD, -1
        # No broker says that it stored what it did not.
        if fault.stores or (fault.code == 0 and fault.said is Said.ANSWER):
            code, offset = self.logs[place].append(batch, found)
            return (fault.code, -1) if fault.code else (code, offset)
        return fault.code, -1


class Broker:
    """One of them: a port, which stays its own while it is away."""

    def __init__(self, cluster: Cluster, node: int) -> None:
        self.cluster = cluster
        self.node = node
        self.there = False
        self._kept = _bound(0)
        self.port = int(self._kept.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def come(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, sock=_bound(self.port))
        self.there = True

    async def go(self) -> None:
        """Be away: no listener, and no connection any more."""
        self.there = False
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def end(self) -> None:
        """Give the port up."""
        await self.go()
        self._kept.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._writers.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._answer(reader, writer):
                    pass
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._writers.discard(writer)
            self._serving.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether there may be another."""
        frame = BytesIO(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")))
        call, version, correlation, _ = RequestHeader_v1.SCHEMA.decode(frame)
        if self.node in self.cluster.deaf:
            await reader.read()
            return False
        self.cluster.asked[call] += 1
        faults = self.cluster.faults if call == PRODUCE else self.cluster.others[call]
        fault = faults.popleft() if faults else Fault()
        if call == API_VERSIONS and version > 0:
            fault = Fault(code=UNSUPPORTED_VERSION)
        response = (
            self._produce(frame, fault) if call == PRODUCE else OTHERS[call](self.cluster, frame, fault)
        )
        said = correlation.to_bytes(4, "big") + response.encode()
        if fault.said is Said.OTHER_CORRELATION:
            said = (correlation + 1).to_bytes(4, "big") + said[4:]
        elif fault.said is Said.GARBAGE:
            said = said[:4] + b"\xff" * (len(said) - 4)
        whole = len(said).to_bytes(4, "big") + said
        if fault.said is Said.HALF:
            whole = whole[: len(whole) // 2]
        if fault.said is not Said.NOTHING:
            writer.write(whole)
            await writer.drain()
        if fault.said in (Said.NOTHING, Said.HALF) and not fault.closes:
            await reader.read()
            return False
        return not fault.closes

    def _produce(self, frame: BytesIO, fault: Fault) -> Any:
        asked = ProduceRequest_v7.decode(frame)
        assert (asked.transactional_id, asked.required_acks) == (None, -1)
        topics: list[Any] = []
        for topic, parts in asked.topics:
            told = [
                (n, *self.cluster.store(self.node, Partition(topic, n), held, fault)) for n, held in parts
            ]
            if fault.said is Said.OTHER_PARTITIONS:
                told = [(n + PARTITIONS, code, offset) for n, code, offset in told]
            topics.append((topic, [(n, code, offset, -1, 0) for n, code, offset in told]))
        return ProduceResponse_v7([] if fault.said is Said.NO_PARTITIONS else topics, 0)


def _versions(_: Cluster, __: BytesIO, fault: Fault) -> Any:
    return ApiVersionResponse_v0(fault.code, VERSIONS)


def _metadata(cluster: Cluster, frame: BytesIO, _: Fault) -> Any:
    return cluster.metadata(MetadataRequest_v1.decode(frame).topics)


def _identity(cluster: Cluster, frame: BytesIO, fault: Fault) -> Any:
    InitProducerIdRequest_v0.decode(frame)
    cluster.producers += 1
    return InitProducerIdResponse_v0(0, fault.code, -1 if fault.code else cluster.producers, 0)


def _coordinator(cluster: Cluster, frame: BytesIO, fault: Fault) -> Any:
    FindCoordinatorRequest_v0.decode(frame)
    first = cluster.brokers[0]
    return FindCoordinatorResponse_v0(fault.code, first.node, HOST, first.port)


def _offsets(cluster: Cluster, frame: BytesIO, fault: Fault) -> Any:
    asked = OffsetRequest_v1.decode(frame)
    topics: list[Any] = []
    for topic, parts in asked.topics:
        ends = [
            (n, 0 if when == EARLIEST else len(cluster.logs[Partition(topic, n)].records))
            for n, when in parts
        ]
        topics.append((topic, [(n, fault.code, -1, offset) for n, offset in ends]))
    return OffsetResponse_v1(topics)


def _commit(cluster: Cluster, frame: BytesIO, fault: Fault) -> Any:
    asked = OffsetCommitRequest_v2.decode(frame)
    topics: list[Any] = []
    for topic, parts in asked.topics:
        if fault.code == 0:
            cluster.committed[asked.consumer_group] |= {Partition(topic, n): at for n, at, _ in parts}
        topics.append((topic, [(n, fault.code) for n, _, _ in parts]))
    return OffsetCommitResponse_v2(topics)


def _committed(cluster: Cluster, frame: BytesIO, fault: Fault) -> Any:
    asked = OffsetFetchRequest_v2.decode(frame)
    known = cluster.committed[asked.consumer_group]
    topics: list[Any] = []
    for topic, parts in asked.topics if fault.code == 0 else []:
        topics.append((topic, [(n, known.get(Partition(topic, n), -1), "", 0) for n in parts]))
    return OffsetFetchResponse_v2(topics, fault.code)


OTHERS: Final[dict[int, Callable[[Cluster, BytesIO, Fault], Any]]] = {
    API_VERSIONS: _versions,
    METADATA: _metadata,
    INIT_PRODUCER_ID: _identity,
    FIND_COORDINATOR: _coordinator,
    LIST_OFFSETS: _offsets,
    OFFSET_COMMIT: _commit,
    OFFSET_FETCH: _committed,
}


def _bound(port: int) -> socket.socket:
    """A socket of a port that others of ours may be bound to, and nobody else gets."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


@asynccontextmanager
async def scripted(nodes: int = 1, *, there: bool = True) -> AsyncIterator[Cluster]:
    """Brokers that are there, or away at first, and gone afterwards."""
    cluster = Cluster(nodes)
    try:
        for one in cluster.brokers:
            if there:
                await one.come()
        yield cluster
    finally:
        for one in cluster.brokers:
            await one.end()
