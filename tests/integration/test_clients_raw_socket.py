"""A bare socket that frames as badly as senders do: what is heard, what is kept, and that the connection lives on."""

import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from reading import records
from running_stack import wait_until
from test_ingest import Find, Ingest, adt, answers, msh

from dosestream.client.send import code, control_id
from dosestream.events.records import Patient, RawMessage, Rejection
from dosestream.hl7.framing import CR, FS, VT, frame
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

pytestmark = pytest.mark.stack

CAP = 64 * 1024
FRAME_TIMEOUT_S = 5
CONFIG = f"[kafka]\nmax_message_bytes = {CAP}\n[mllp]\nframe_timeout_s = {FRAME_TIMEOUT_S}\n"


@pytest.fixture(scope="module")
def ingest(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    service = Ingest(kafka, tmp_path_factory.mktemp("ingest"), CONFIG)
    yield service
    assert service.stop() == 0


@pytest.fixture
def sent_by() -> str:
    return f"R{secrets.token_hex(6)}"


@pytest.fixture
def find(kafka: KafkaSettings, sent_by: str) -> Find:
    return Find(kafka, f"{sent_by}|HOSP")


ALL = [("AA", "1"), ("AA", "2"), ("AA", "3")]

# Takes messages 1, 2 and 3; returns the packets to send.
Packets = Callable[[bytes, bytes, bytes], list[bytes]]


@dataclass(frozen=True)
class Case:
    """What is sent, and the answers: code and control id.

    Attributes:
        rejected: codes in the rejected topic, of records that name their sender.
    """

    name: str
    packets: Packets
    heard: list[tuple[str, str]] = field(default_factory=lambda: ALL)
    rejected: list[str] = field(default_factory=list)


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def cut(stream: bytes, *places: int) -> list[bytes]:
    return [stream[a:b] for a, b in pairwise((0, *places, len(stream)))]


def lf(message: bytes) -> bytes:
    return message.replace(b"\r", b"\n")


LARGE = b"OBX|1|TX|X||" + b"x" * CAP + b"\r"
FIRST_TOO_LARGE = [("AR", "1"), ("AA", "2"), ("AA", "3")]

CASES = [
    Case(
        "the start byte in a packet of its own",
        lambda a, b, c: [p for m in (a, b, c) for p in (VT, m + FS + CR)],
    ),
    Case(
        "the end bytes in packets of their own",
        lambda a, b, c: [p for m in (a, b, c) for p in (VT + m, FS, CR)],
    ),
    Case("one byte a packet", lambda a, b, c: bytewise(frame(a) + frame(b) + frame(c))),
    Case("all frames in one packet", lambda a, b, c: [frame(a) + frame(b) + frame(c)]),
    Case(
        "packets cut across frames",
        lambda a, b, c: cut(frame(a) + frame(b) + frame(c), 10, len(a) + 9, len(a) * 2),
    ),
    Case("no CR behind FS", lambda a, b, c: [VT + a + FS + VT + b + FS + VT + c + FS]),
    Case("FS CR LF", lambda a, b, c: [frame(a) + b"\n", frame(b) + b"\n" + frame(c) + b"\n"]),
    Case(
        "NULs between frames",
        lambda a, b, c: [b"\0\0" + frame(a) + b"\0", b"\0\0\0", frame(b) + b"\0" + frame(c)],
    ),
    Case("segments that end in LF", lambda a, b, c: [frame(lf(a)) + frame(lf(b)), frame(lf(c))]),
    Case("segments that end in CRLF", lambda a, b, c: [frame(m.replace(b"\r", b"\r\n")) for m in (a, b, c)]),
    Case("a byte-order mark", lambda a, b, c: [frame(b"\xef\xbb\xbf" + m) for m in (a, b, c)]),
    Case(
        "a start byte inside a frame",
        lambda a, b, c: [VT + a[:-20], frame(b), frame(c)],
        [("AA", "2"), ("AA", "3")],
        rejected=["frame_restart"],
    ),
    Case("two start bytes", lambda a, b, c: [VT + frame(a), frame(b), frame(c)]),
    Case(
        "junk before a frame",
        lambda a, b, c: [b"hello" + frame(a), frame(b), b"GET / HTTP/1.0\r\n" + frame(c)],
    ),
    Case(
        "a frame over the cap",
        lambda a, b, c: [frame(a + LARGE), frame(b) + frame(c)],
        FIRST_TOO_LARGE,
        rejected=["too_large"],
    ),
    Case(
        "a frame far over the cap, with start bytes of the next behind it",
        lambda a, b, c: [VT + a + LARGE, LARGE * 20, FS + CR + frame(b), frame(c)],
        FIRST_TOO_LARGE,
        rejected=["too_large"],
    ),
    Case(
        "an empty frame",
        lambda a, b, c: [frame(b""), frame(a) + frame(b) + frame(c)],
        [("AR", ""), *ALL],
    ),
]


@dataclass(frozen=True)
class Outcome:
    """What a case led to: its answers, the answer to one more message behind them, and what the topics hold."""

    heard: list[tuple[str, str]]
    afterwards: str
    raw: list[str]
    events: list[str]
    rejected: list[str]


def played(ingest: Ingest, sender: str, case: Case) -> tuple[list[tuple[str, str]], str]:
    """Send the packets of a case, and one good frame behind them, over one connection."""
    messages = [adt(sender, control, patient=control) for control in ("1", "2", "3")]
    with ingest.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in case.packets(*messages):
            connection.sendall(packet)
        told = [(code(a), control_id(a).decode()) for a in answers(connection, len(case.heard))]
        connection.sendall(frame(adt(sender, "9")))
        return told, code(answers(connection, 1)[0])


@pytest.fixture(scope="module")
def outcomes(ingest: Ingest, kafka: KafkaSettings) -> dict[str, Outcome]:
    """Every case played; the topics are read once, behind all of them."""
    senders = {case.name: f"R{secrets.token_hex(6)}" for case in CASES}
    told = {case.name: played(ingest, senders[case.name], case) for case in CASES}
    raw = [record for _, record in records(kafka, Topic.HL7_RAW, RawMessage)]
    events = [record for _, record in records(kafka, Topic.PATIENT, Patient)]
    rejections = [record for _, record in records(kafka, Topic.REJECTED, Rejection)]
    return {
        name: Outcome(
            *told[name],
            sorted(r.control_id for r in raw if r.source == f"{sender}|HOSP"),
            sorted(r.control_id for r in events if r.source == f"{sender}|HOSP"),
            sorted(r.code for r in rejections if r.source == f"{sender}|HOSP"),
        )
        for name, sender in senders.items()
    }


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_framing(outcomes: dict[str, Outcome], case: Case) -> None:
    kept = sorted([control for told, control in case.heard if told == "AA"] + ["9"])
    assert outcomes[case.name] == Outcome(case.heard, "AA", kept, kept, case.rejected)


def hang_up(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("end", [hang_up, reset])
def test_an_end_in_mid_frame_is_told_in_the_rejected_topic_and_no_other_connection_feels_it(
    ingest: Ingest, find: Find, sent_by: str, end: Callable[[socket.socket], None]
) -> None:
    with ingest.connect() as other:
        connection = ingest.connect()
        connection.sendall(frame(adt(sent_by, "1")) + VT + adt(sent_by, "2"))
        assert [code(a) for a in answers(connection, 1)] == ["AA"]
        end(connection)
        wait_until(lambda: [r.code for r in find(Topic.REJECTED, Rejection)] == ["truncated"], "it is told")
        other.sendall(frame(adt(sent_by, "3")))
        assert [code(a) for a in answers(other, 1)] == ["AA"]
    assert sorted(record.control_id for record in find(Topic.HL7_RAW, RawMessage)) == ["1", "3"]


def test_a_frame_that_is_never_complete_is_refused_and_its_connection_closed(
    ingest: Ingest, find: Find, sent_by: str
) -> None:
    # A byte at a time does not win time: the deadline is the frame's.
    with ingest.connect() as connection:
        connection.settimeout(0.2)
        connection.sendall(VT + adt(sent_by, "1"))
        heard = b""
        while True:
            connection.sendall(b"x")
            try:
                heard += connection.recv(65536)
                break
            except TimeoutError:
                continue
        connection.settimeout(60)
        while data := connection.recv(65536):
            heard += data
    assert b"\rMSA|AR|" in heard
    wait_until(lambda: [r.code for r in find(Topic.REJECTED, Rejection)] == ["frame_timeout"], "it is told")
    assert find(Topic.HL7_RAW, RawMessage) == []


def test_a_sender_that_reads_no_answers_is_slowed_and_no_other(
    ingest: Ingest, find: Find, sent_by: str
) -> None:
    # Each is answered with a text of some length; the answers fill the socket's buffers, which may grow to megabytes.
    message = frame(msh(sent_by, "ADT^Z99", "1").encode() + b"ZZZ|" + b"z" * 3000 + b"\r")
    with ingest.connect() as deaf, ingest.connect() as other:
        # No smaller: a window below a segment of the loopback's 64 KiB is opened by a timer, 200 ms for each 8 KiB.
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        deaf.settimeout(1.0)
        sent = 0
        with pytest.raises(TimeoutError):
            for _ in range(100_000):
                deaf.sendall(message)
                sent += 1
        other.sendall(frame(adt(sent_by, "9")))
        assert [code(a) for a in answers(other, 1)] == ["AA"]
        # It begins to read: every message it sent whole has its answer.
        deaf.settimeout(60)
        assert {code(a) for a in answers(deaf, sent)} == {"AR"}
