"""A reconciler that starts while the brokers refuse it, or while the group has nothing for it: it waits, tells why, and
ends when it is asked to."""

import os
import secrets
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient, NewTopic
from own_broker import own_broker
from reconciler_running import Service

from dosestream.db.migrate import migrate
from dosestream.kafka.admin import publish_schemas
from dosestream.kafka.client import admin_config
from dosestream.kafka.wanted import wanted_topics
from dosestream.settings import KafkaSettings
from services.reconciler.shell import GROUP

REFUSED = "the brokers cannot be read"
STANDS_BY = "it stands by for the others"
# Of Faust: the consumer begins to join its group.
JOINS = "LedgerThread]: Starting"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    """A broker whose topics have one partition each: a second reconciler gets none."""
    with own_broker(tmp_path_factory.mktemp("kafka"), topics=False) as settings:
        admin = AdminClient(admin_config(settings))
        asked = admin.create_topics(
            [
                NewTopic(one.name, 1, 1, config=dict(one.config))
                for one in wanted_topics(settings, site=False)
            ],
            operation_timeout=30,
        )
        for made in asked.values():
            made.result(60)
        publish_schemas(settings)
        yield settings


@pytest.fixture
def make(
    kafka: KafkaSettings, fresh_database: Callable[[], str], tmp_path: Path
) -> Iterator[Callable[..., Service]]:
    """Makes reconcilers of one group on one database; the test's end stops them."""
    url = fresh_database()
    migrate(url)
    made: list[Service] = []

    def one(name: str, bootstrap: str = "") -> Service:
        made.append(Service(kafka, url, tmp_path / name, name, bootstrap))
        return made[-1]

    yield one
    for service in made:
        service.close()


# What a broker may do to a client's first request.


def close(connection: socket.socket) -> None:
    """Nothing but to hang up."""


def reset(connection: socket.socket) -> None:
    """A connection reset: what is a firewall's, or of a broker that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def break_off(connection: socket.socket) -> None:
    """The beginning of an answer."""
    connection.sendall(struct.pack(">i", 400) + b"\0\0\0\1")


def say_something_else(connection: socket.socket) -> None:
    """Another protocol's answer."""
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@dataclass
class Gate:
    """A way to the broker that refuses the consumer's first connections and lets everybody else pass.

    Who asks is told by the client id of the first request (Kafka protocol guide, "Request header").
    """

    broker: str
    refuse: Callable[[socket.socket], None]
    times: float
    refused: int = 0
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __post_init__(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self) -> str:
        """Where to connect."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def shut(self) -> None:
        """No more of it."""
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._meet, args=(self._listener.accept()[0],), daemon=True).start()

    def _meet(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            first = client.recv(4096)
            # Size, API key, API version, correlation id, then the client id as a string with its length.
            if first[14:].startswith(b"faust") and self.refused < self.times:
                self.refused += 1
                self.refuse(client)
                return
            host, _, port = self.broker.rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                server.sendall(first)
                threading.Thread(target=_forward, args=(server, client), daemon=True).start()
                _forward(client, server)


def _forward(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while content := one.recv(65536):
            other.sendall(content)
    with suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def gate(kafka: KafkaSettings) -> Iterator[Callable[[Callable[[socket.socket], None], float], Gate]]:
    made: list[Gate] = []

    def one(refuse: Callable[[socket.socket], None], times: float) -> Gate:
        made.append(Gate(kafka.bootstrap, refuse, times))
        return made[-1]

    yield one
    for found in made:
        found.shut()


@pytest.mark.parametrize("refuse", [close, reset, break_off, say_something_else])
def test_a_consumer_that_is_refused_tries_again_until_it_is_let_in(
    make: Callable[..., Service], gate: Callable[..., Gate], refuse: Callable[[socket.socket], None]
) -> None:
    way = gate(refuse, 3)
    service = make("one", way.address)
    service.start()
    assert way.refused == 3
    assert service.log.read_text().count(REFUSED) == 3
    prefix = secrets.token_hex(4)
    service.say(prefix, 3)
    service.wait(lambda: service.rows(prefix) == 3, "the rows of what was said")


@pytest.mark.parametrize("silent", [False, True], ids=["refused again and again", "left without an answer"])
def test_who_asks_it_to_end_while_it_is_refused_is_obeyed(
    make: Callable[..., Service], gate: Callable[..., Gate], silent: bool
) -> None:
    ended = threading.Event()
    way = gate(lambda _: bool(silent and ended.wait(120)), float("inf"))
    service = make("one", way.address)
    process = service.launch()
    service.wait(lambda: way.refused > (0 if silent else 2), "the consumer refused")
    assert process.poll() is None and not service.is_ready
    asked = way.refused
    process.terminate()
    assert process.wait(90) == 0
    assert not service.is_ready
    # It did not wait until the answer was overdue, to ask again.
    assert not silent or way.refused == asked
    ended.set()


def test_a_reconciler_without_a_partition_stands_by_and_takes_over(make: Callable[..., Service]) -> None:
    first, second = make("first"), make("second")
    first.start()
    second.start()
    # Which of them got the partitions is the group's affair.
    first.wait(lambda: STANDS_BY in first.log.read_text() + second.log.read_text(), "one stands by")
    idle = second if STANDS_BY in second.log.read_text() else first
    busy = first if idle is second else second
    # Longer than housekeeping comes around, with nothing to commit.
    prefix = secrets.token_hex(4)
    first.say(prefix, 3)
    first.wait(lambda: first.rows(prefix) == 3, "the rows of what was said")
    assert busy.process is not None and idle.process is not None
    busy.process.kill()
    busy.process.wait(60)
    again = secrets.token_hex(4)
    first.say(again, 3)
    first.wait(lambda: first.rows(again) == 3, "the rows of what was said to the other")
    assert idle.process.poll() is None


def shares_out_anew(kafka: KafkaSettings) -> bool:
    """Whether the group waits for its members to join again."""
    admin = AdminClient(admin_config(kafka))
    (future,) = admin.describe_consumer_groups([GROUP], request_timeout=20).values()
    return bool(future.result(20).state == ConsumerGroupState.PREPARING_REBALANCING)


@pytest.mark.parametrize("stays", [True, False], ids=["who stays gets its share", "who is asked to end ends"])
def test_a_reconciler_that_waits_for_its_first_share_of_the_partitions(
    kafka: KafkaSettings, make: Callable[..., Service], stays: bool
) -> None:
    first, second = make("first"), make("second")
    stopped, process = first.start(), second.launch()
    # The group may share out for others, too, that were here before.
    second.wait(lambda: JOINS in second.log.read_text(), "its consumer starts")
    # From now on it answers nobody, so the group waits for it until its session is over.
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        second.wait(lambda: shares_out_anew(kafka), "the group shares out its partitions")
        assert process.poll() is None
        if stays:
            second.wait_ready()
            prefix = secrets.token_hex(4)
            second.say(prefix, 3)
            second.wait(lambda: second.rows(prefix) == 3, "the rows of what was said")
        else:
            process.terminate()
            assert process.wait(60) == 0
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
