"""Three brokers, one of them killed under load: what was acknowledged is there, each effect once."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from fleet import Fleet, environment
from running_stack import wait_until
from three_brokers import Nodes, brokers

from dosestream.client.send import code
from dosestream.db.migrate import migrate
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.events.codec import Codec
from dosestream.events.records import RawMessage
from dosestream.hl7.framing import Frame, Framer, frame
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.kafka.cluster import Cluster
from dosestream.kafka.plan import plan
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.kafka.scan import Scanner
from dosestream.kafka.topics import Topic
from dosestream.kafka.wanted import wanted_topics
from dosestream.settings import MIB, KafkaSettings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

CONNECTIONS = 200
RATE = 1_000
MESSAGES = 10_000
# The first share is sent before a broker is killed.
BEFORE = 3_000
PATIENCE_S = 300.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Nodes]:
    """Three brokers with every topic, three copies of each."""
    with brokers(tmp_path / "kafka", 3) as nodes:
        create_topics(nodes.settings, site=False)
        publish_schemas(nodes.settings)
        yield nodes


def order(number: int) -> bytes:
    placed = f"P{number}|F{number}"
    return (
        f"MSH|^~\\&|RIS|HOSP|DS|CITY|20260301120000||ORM^O01|M{number}|P|2.5\r"
        f"PID|||W{number // 10}^^^HOSP||DOE^JANE||19800102|F\r"
        f"ORC|NW|{placed}||SC\rOBR|1|{placed}|CT1^CT^L||||||||||||||A{number}|RP|SPS||||CT\r"
    ).encode()


@dataclass
class Load:
    """Senders that together offer RATE messages a second, each one message at a time, again until `AA`."""

    port: int
    started: float = 0.0
    accepted: dict[str, float] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0

    async def run(self, count: int, kill: "asyncio.Future[None]") -> None:
        self.started = time.monotonic()
        await asyncio.gather(*(self._send(first, count, kill) for first in range(CONNECTIONS)))

    async def _send(self, first: int, count: int, kill: "asyncio.Future[None]") -> None:
        queue = list(range(first, count, CONNECTIONS))
        while queue:
            try:
                await self._converse(queue, kill)
            except (OSError, EOFError):
                self.reconnects += 1
                await asyncio.sleep(0.2)

    async def _converse(self, queue: list[int], kill: "asyncio.Future[None]") -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        framer = Framer(MIB)
        try:
            while queue:
                number = queue[0]
                await asyncio.sleep(self.started + number / RATE - time.monotonic())
                writer.write(frame(order(number)))
                answer = b""
                while not answer:
                    data = await asyncio.wait_for(reader.read(MIB), PATIENCE_S)
                    if not data:
                        raise EOFError
                    answer = next((e.body for e in framer.feed(data) if isinstance(e, Frame)), b"")
                said = code(answer)
                self.codes[said] += 1
                if said == "AA":
                    self.accepted[f"M{number}"] = time.monotonic()
                    queue.pop(0)
                else:
                    await asyncio.sleep(0.1)
                if len(self.accepted) >= BEFORE and not kill.done():
                    kill.set_result(None)
        finally:
            writer.close()

    def longest_silence_s(self) -> float:
        """Between two accepted messages."""
        times = sorted(self.accepted.values())
        return max(after - before for before, after in pairwise(times))


def stored(kafka: KafkaSettings) -> Counter[str]:
    """Control ids of the raw topic, and how often each is there."""
    reader, scanner, codec = PartitionReader(kafka), Scanner(kafka), Codec()
    try:
        places: list[Partition] = reader.partitions(str(Topic.HL7_RAW))
        found = Counter[str]()
        for batch in scanner.read({place: reader.watermarks(place) for place in places}):
            for record in batch:
                found[codec.decode(record.value or b"", RawMessage).control_id] += 1
        return found
    finally:
        reader.close()
        scanner.close()


def quorum_leader(nodes: Nodes) -> int:
    """The node that leads the quorum, as each node notes it: clients are told of any broker."""
    state = nodes.brokers[0].folder / "data" / "__cluster_metadata-0" / "quorum-state"
    return int(json.loads(state.read_text())["leaderId"])


def orders(url: str) -> tuple[int, int]:
    """Rows, and accessions, of the dose database."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*), count(DISTINCT accession_number) FROM dose.imaging_order"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


@pytest.mark.parametrize("victim", ["a broker that leads partitions", "the one that leads the quorum"])
def test_a_broker_killed_under_load_loses_nothing_acknowledged(
    cluster: Nodes, embedded_postgres: EmbeddedPostgres, tmp_path: Path, victim: str
) -> None:
    kafka = cluster.settings
    database = f"three_{victim.split()[0]}"
    embedded_postgres.make_database(database)
    url = embedded_postgres.url(database)
    migrate(url)
    wanted = wanted_topics(kafka, site=False)
    assert plan(wanted, Cluster(kafka).held(one.name for one in wanted)) == []
    assert {one.config["min.insync.replicas"] for one in wanted} == {"2"}
    leader = quorum_leader(cluster)
    killed = leader if "quorum" in victim else 1 + leader % 3
    common = {
        "DOSESTREAM_POSTGRES": url,
        "DOSESTREAM_MLLP_PORT": "0",
        "DOSESTREAM_REPEATS": str(tmp_path / "repeats"),
        "DOSESTREAM_MEMBER": "one",
    }
    with Fleet(tmp_path, common | environment(kafka)) as fleet:
        fleet.start("reconciler", {})
        load = Load(fleet.start("ingest", {})["port"])

        async def play() -> None:
            kill: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            sending = asyncio.create_task(load.run(MESSAGES, kill))
            await kill
            await asyncio.to_thread(cluster.kill, killed)
            await sending

        asyncio.run(play())
        took = time.monotonic() - load.started
        print(
            f"{victim}: {MESSAGES} messages in {took:.1f} s, answers {dict(load.codes)}, "
            f"longest time without AA {load.longest_silence_s():.1f} s, {load.reconnects} connections again"
        )
        # Every connection was kept, and every sender heard AA in the end, with one broker of three away.
        assert load.reconnects == 0
        assert len(load.accepted) == MESSAGES
        raw = stored(kafka)
        assert set(load.accepted) <= set(raw)
        with suppress(AssertionError):
            wait_until(lambda: orders(url)[0] >= MESSAGES, "every order is in the database", PATIENCE_S)
        assert orders(url) == (MESSAGES, MESSAGES), fleet.log("reconciler")[-3000:]
        # The broker comes back, and every copy with it.
        cluster.brokers[killed - 1].launch()
        cluster.brokers[killed - 1].wait_ready()
        assert set(fleet.stop().values()) == {0}
