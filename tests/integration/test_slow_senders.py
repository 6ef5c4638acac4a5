"""Hundreds of connections that send a byte a second beside one healthy sender: all are served."""

import secrets
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from test_ingest import Find, Ingest, adt, answers

from dosestream.client.send import code, control_id
from dosestream.events.records import Patient, RawMessage
from dosestream.hl7.framing import CR, FS, VT, frame
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

pytestmark = pytest.mark.stack

SLOW = 500
LETTERS = 5


@pytest.fixture(scope="module")
def ingest(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    service = Ingest(kafka, tmp_path_factory.mktemp("ingest"))
    yield service
    assert service.stop() == 0


@contextmanager
def trickling(connections: list[socket.socket], streams: list[bytes]) -> Iterator[threading.Event]:
    """From each stream a byte a second, on a thread, until LETTERS were sent of each; the event says that they were."""
    over, done = threading.Event(), threading.Event()

    def trickle() -> None:
        for at in range(LETTERS):
            for connection, stream in zip(connections, streams, strict=True):
                connection.sendall(stream[at : at + 1])
            if over.wait(1.0):
                return
        done.set()

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def test_a_healthy_sender_is_answered_in_order_beside_them_and_they_are_when_they_end(
    ingest: Ingest, kafka: KafkaSettings
) -> None:
    healthy, slow = f"F{secrets.token_hex(6)}", f"L{secrets.token_hex(6)}"
    streams = [VT + adt(slow, str(number), patient=str(number)) + FS + CR for number in range(SLOW)]
    with ExitStack() as stack:
        connections = [stack.enter_context(ingest.connect()) for _ in range(SLOW)]
        connection = stack.enter_context(ingest.connect())
        sent = 0
        with trickling(connections, streams) as trickled:
            while not trickled.is_set():
                connection.sendall(frame(adt(healthy, str(sent), patient=str(sent))))
                (answer,) = answers(connection, 1)
                assert (code(answer), control_id(answer).decode()) == ("AA", str(sent))
                sent += 1
        assert sent > LETTERS
        # None of the slow ones was cut off or answered before its time.
        with selectors.DefaultSelector() as readable:
            for one in connections:
                readable.register(one, selectors.EVENT_READ)
            assert readable.select(0) == []
        for one, stream in zip(connections, streams, strict=True):
            one.sendall(stream[LETTERS:])
        heard = [answers(one, 1)[0] for one in connections]
        assert [(code(a), control_id(a).decode()) for a in heard] == [("AA", str(n)) for n in range(SLOW)]
    for sender, count in ((healthy, sent), (slow, SLOW)):
        find = Find(kafka, f"{sender}|HOSP")
        expected = sorted(map(str, range(count)))
        assert sorted(record.control_id for record in find(Topic.HL7_RAW, RawMessage)) == expected
        assert sorted(event.control_id for event in find(Topic.PATIENT, Patient)) == expected
