"""Ingest in several processes, stopped, killed and started again: one answer, one event, nothing left behind."""

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_stack import children, is_alive, wait_until
from test_ingest import Find, Ingest, adt, answers, msh

from dosestream.client.send import code, control_id
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.events.records import Patient, RawMessage
from dosestream.hl7.framing import Frame, Framer, frame
from dosestream.kafka.topics import Topic
from dosestream.settings import MIB, KafkaSettings
from services.ingest.gathering import SEEN_S

pytestmark = pytest.mark.stack

# Connections as the system spreads them: few senders have several workers, too.
SPREAD = "[mllp]\ngather = 0\n"


@pytest.fixture
def sent_by(request: pytest.FixtureRequest) -> str:
    return f"W{os.urandom(6).hex()}"


@pytest.fixture
def find(kafka: KafkaSettings, sent_by: str) -> Find:
    return Find(kafka, f"{sent_by}|HOSP")


@pytest.fixture
def start(kafka: KafkaSettings, tmp_path: Path) -> Iterator[Callable[..., Ingest]]:
    """Starts the service over tmp_path; the test's end kills what runs."""
    running: list[Ingest] = []

    def begin(*arguments: str, config: str = "", folder: Path = tmp_path) -> Ingest:
        folder.mkdir(exist_ok=True)
        running.append(Ingest(kafka, folder, config, *arguments))
        return running[-1]

    yield begin
    for service in running:
        if service.process.poll() is None:
            service.kill()


def ask(service: Ingest, messages: list[bytes]) -> list[str]:
    """Each message over a connection of its own, all at once; the codes."""
    connections = [service.connect() for _ in messages]
    try:
        for connection, message in zip(connections, messages, strict=True):
            connection.sendall(frame(message))
        return [code(answers(connection, 1)[0]) for connection in connections]
    finally:
        for connection in connections:
            connection.close()


def controls(records: list[Patient] | list[RawMessage]) -> list[str]:
    return sorted(record.control_id for record in records)


def test_the_same_messages_over_all_workers_are_stored_once_and_answered_alike(
    start: Callable[..., Ingest], find: Find, sent_by: str
) -> None:
    service = start("--workers", "2", config=SPREAD)
    good, bad = adt(sent_by, "1"), msh(sent_by, "ADT^Z99", "2").encode()
    assert ask(service, [good, bad] * 20) == ["AA", "AR"] * 20
    assert len([pid for pid in children(service.process.pid) if is_alive(pid)]) == 2
    assert service.stop() == 0
    assert controls(find(Topic.HL7_RAW, RawMessage)) == ["1", "2"]
    assert controls(find(Topic.PATIENT, Patient)) == ["1"]


AFTER = [
    ("the end of the service", False, False),
    ("kill -9 of it", True, False),
    ("the loss of its file", False, True),
]


@pytest.mark.parametrize(("kill", "lose"), [a[1:] for a in AFTER], ids=[a[0] for a in AFTER])
def test_a_repeat_is_known_after(
    start: Callable[..., Ingest], find: Find, sent_by: str, tmp_path: Path, kill: bool, lose: bool
) -> None:
    good, bad = adt(sent_by, "1"), msh(sent_by, "ADT^Z99", "2").encode()
    service = start()
    assert ask(service, [good, bad]) == ["AA", "AR"]
    if kill:
        service.kill()
    else:
        assert service.stop() == 0
    if lose:
        shutil.rmtree(tmp_path / "repeats")
    service = start()
    assert ask(service, [good, bad]) == ["AA", "AR"]
    assert service.stop() == 0
    assert controls(find(Topic.HL7_RAW, RawMessage)) == ["1", "2"]
    # What was finished just before the kill may be normalised again: the same event then.
    events = find(Topic.PATIENT, Patient)
    assert len({event.event_id for event in events}) == 1
    assert kill or len(events) == 1


def test_what_another_host_received_is_known_in_a_while(
    start: Callable[..., Ingest], find: Find, sent_by: str, tmp_path: Path
) -> None:
    here, there = start(), start(folder=tmp_path / "there")
    told = [code for number in range(90) for code in ask(here, [adt(sent_by, str(number))])]
    assert told == ["AA"] * 90
    numbers = iter(range(90))

    def known() -> bool:
        """A repeat that was not known yet is stored a second time; the next one is tried after a pause."""
        time.sleep(1)
        number = next(numbers)
        assert ask(there, [adt(sent_by, str(number))]) == ["AA"]
        return controls(find(Topic.HL7_RAW, RawMessage)).count(str(number)) == 1

    wait_until(known, "what one host received is known to the other")


def shares(service: Ingest) -> list[int]:
    """How many connections each of two workers has, the fewest first."""

    def told() -> list[str]:
        return re.findall(r"(\d+) connections;", service.log.read_text())

    before = len(told())
    service.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: len(told()) == before + 2, "both workers tell their counts")
    return sorted(int(count) for count in told()[before:])


@contextlib.contextmanager
def connected(service: Ingest, sent_by: str, first: int, count: int) -> Iterator[None]:
    """So many senders that had an answer each and stay."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(service.connect()) for _ in range(count)]
        for number, connection in enumerate(connections, first):
            connection.sendall(frame(adt(sent_by, str(number))))
        assert [code(answers(connection, 1)[0]) for connection in connections] == ["AA"] * count
        yield


def test_few_senders_share_one_worker_and_many_are_spread(
    start: Callable[..., Ingest], find: Find, sent_by: str
) -> None:
    service = start("--workers", "2", config="[mllp]\ngather = 4\n")
    with connected(service, sent_by, 0, 4):
        assert shares(service) == [0, 4]
        with connected(service, sent_by, 4, 3):
            assert shares(service) == [3, 4]
            with connected(service, sent_by, 7, 13):
                assert shares(service) == [10, 10]
    wait_until(lambda: shares(service) == [0, 0], "they are gone")
    assert service.stop() == 0
    assert len(find(Topic.PATIENT, Patient)) == 20


def test_beyond_its_limit_of_connections_a_worker_gives_them_to_another(
    start: Callable[..., Ingest], sent_by: str
) -> None:
    service = start("--workers", "2", config="[mllp]\nmax_connections = 3\n")
    with connected(service, sent_by, 0, 6):
        assert shares(service) == [3, 3]
        with service.connect() as refused, contextlib.suppress(ConnectionResetError):
            assert refused.recv(1) == b""
    assert service.stop() == 0


def test_new_senders_are_heard_while_the_worker_they_belong_to_is_gone_or_hangs(
    start: Callable[..., Ingest], sent_by: str
) -> None:
    service = start("--workers", "2")
    first, _ = children(service.process.pid)
    os.kill(first, signal.SIGSTOP)
    time.sleep(SEEN_S + 2)
    # The system still has it accept half of the connections; those are answered when it goes on.
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(service.connect()) for _ in range(24)]
        for number, connection in enumerate(connections):
            connection.sendall(frame(adt(sent_by, str(number))))
        assert select.select(connections, [], [], 10)[0]
        os.kill(first, signal.SIGCONT)
        assert {code(answers(connection, 1)[0]) for connection in connections} == {"AA"}
    with connected(service, sent_by, 24, 2):
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: "is started again" in service.log.read_text(), "its end is seen")
        with connected(service, sent_by, 26, 8):
            pass
    wait_until(lambda: service.log.read_text().count("listening on 127.0.0.1") == 3, "it listens again")
    with connected(service, sent_by, 34, 8):
        assert shares(service) == [0, 8]
    assert service.stop() == 0


def flood(service: Ingest, sent_by: str, first: int, count: int) -> list[socket.socket]:
    """So many messages on the wire over eight connections, none of their answers read."""
    connections = [service.connect() for _ in range(8)]
    for number in range(first, first + count):
        message = adt(sent_by, str(number), patient=str(number))
        connections[number % len(connections)].sendall(frame(message))
    return connections


def heard(connections: list[socket.socket], left: int) -> set[str]:
    """The control ids answered AA; from each connection so many answers, fewer where it is cut."""
    found = set()
    for connection in connections:
        framer = Framer(MIB)
        count = 0
        with connection, contextlib.suppress(ConnectionError):
            while count < left and (data := connection.recv(65536)):
                told = [piece.body for piece in framer.feed(data) if isinstance(piece, Frame)]
                count += len(told)
                found |= {control_id(answer).decode() for answer in told if code(answer) == "AA"}
    return found


KILLED = ["one worker of three", "all three workers", "the parent"]


@pytest.mark.parametrize("victim", KILLED)
def test_kill_9_under_load_of(start: Callable[..., Ingest], find: Find, sent_by: str, victim: str) -> None:
    service = start("--workers", "3", config=SPREAD)
    workers = children(service.process.pid)
    assert len(workers) == 3
    connections = flood(service, sent_by, 0, 400)
    # Some are answered, and most are under way.
    assert connections[0].recv(1, socket.MSG_PEEK)
    targets = {"one worker of three": workers[:1], "all three workers": workers}.get(victim)
    if targets is None:
        service.kill()
        wait_until(lambda: not any(map(is_alive, workers)), "the workers end with their parent")
        told = heard(connections, 50)
        service = start("--workers", "3", config=SPREAD)
    else:
        for pid in targets:
            os.kill(pid, signal.SIGKILL)
        told = heard(connections, 50)
        listening = f"listening on 127.0.0.1:{service.port}"
        wait_until(lambda: service.log.read_text().count(listening) == 3 + len(targets), "they listen again")

    def all_normalised() -> bool:
        return set(controls(find(Topic.HL7_RAW, RawMessage))) == set(controls(find(Topic.PATIENT, Patient)))

    wait_until(all_normalised, "every raw record has its events")
    assert told <= set(controls(find(Topic.PATIENT, Patient)))
    # The senders try again: every message is there, each under one identity.
    for connection in flood(service, sent_by, 0, 400):
        assert {code(answer) for answer in answers(connection, 50)} == {"AA"}
        connection.close()
    assert service.stop() == 0
    events = find(Topic.PATIENT, Patient)
    assert len({event.event_id for event in events}) == len(set(controls(events))) == 400
    if victim == KILLED[0]:
        # What the healthy workers had under way was not normalised twice: only the dead one's may be.
        assert len(events) < 800


def test_sighup_takes_a_changed_configuration_and_keeps_the_old_one_when_it_is_broken(
    start: Callable[..., Ingest], sent_by: str, tmp_path: Path
) -> None:
    service = start("--workers", "2", config=f'{SPREAD}on_reject = "AE"\n')
    config = tmp_path / "dosestream.toml"
    numbers = iter(range(1000))

    def told() -> set[str]:
        return set(ask(service, [msh(sent_by, "ADT^A08", str(next(numbers))).encode() for _ in range(8)]))

    def reload(text: str, sign: str) -> None:
        config.write_text(text)
        before = service.log.read_text().count(sign)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: service.log.read_text().count(sign) >= before + 2, f"two workers say {sign!r}")

    assert told() == {"AE"}
    reload(f'{SPREAD}on_reject = "AA"\nport = 1\n[kafka]\nreplication = 2\n', "was read again")
    assert told() == {"AA"}
    assert "kafka changes with the next start only" in service.log.read_text()
    reload(f'{SPREAD}on_reject = "perhaps"\n', "is kept as it was")
    assert told() == {"AA"}
    assert service.stop() == 0


def test_the_listener_opens_without_a_broker_and_takes_messages_when_it_comes(
    start: Callable[..., Ingest], embedded_kafka: EmbeddedKafka, find: Find, sent_by: str
) -> None:
    embedded_kafka.stop()
    try:
        service = start()
        with service.connect() as connection:
            connection.settimeout(10)
            connection.sendall(frame(adt(sent_by, "1")))
            assert code(answers(connection, 1)[0]) == "AE"
    finally:
        embedded_kafka.launch()
        embedded_kafka.wait_ready(200)
    with service.connect() as connection:

        def accepted() -> bool:
            connection.sendall(frame(adt(sent_by, "1")))
            return code(answers(connection, 1)[0]) == "AA"

        wait_until(accepted, "the message is taken")
    assert service.stop() == 0
    assert controls(find(Topic.HL7_RAW, RawMessage)) == controls(find(Topic.PATIENT, Patient)) == ["1"]
