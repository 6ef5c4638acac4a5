"""Ingest as a process of its own against a real broker: raw, normalised, and only then the answer."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from reading import records

from dosestream.client.send import MllpSender, SendError, code, control_id, send_files
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import Order, Patient, RawMessage, Rejection
from dosestream.hl7.batch import split
from dosestream.hl7.framing import Frame, Framer, frame
from dosestream.kafka.normalised_up_to import HL7_GROUP
from dosestream.kafka.publisher import Position, Publisher
from dosestream.kafka.roster import Member, Roster
from dosestream.kafka.stretch import INSTANCE_HEADER
from dosestream.kafka.topics import Topic
from dosestream.life import Life
from dosestream.settings import MIB, KafkaSettings

pytestmark = pytest.mark.stack

R = TypeVar("R", RawMessage, Patient, Order, Rejection)
READY_S = 120.0


class Ingest:
    """The service as a child process on a free port."""

    def __init__(self, kafka: KafkaSettings, folder: Path, config: str = "", *arguments: str) -> None:
        ready, self.log = folder / "ready.json", folder / "ingest.log"
        ready.unlink(missing_ok=True)
        settings = folder / "dosestream.toml"
        settings.write_text(config)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("dosestream"), "ingest", *arguments],
                env={
                    **os.environ,
                    "DOSESTREAM_CONFIG": str(settings),
                    "DOSESTREAM_KAFKA": kafka.bootstrap,
                    "DOSESTREAM_MLLP_PORT": "0",
                    "DOSESTREAM_READY": str(ready),
                    "DOSESTREAM_REPEATS": str(folder / "repeats"),
                },
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + READY_S
        while not ready.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        self.port = int(json.loads(ready.read_text())["port"])

    def sender(self, timeout_s: float = 20.0) -> MllpSender:
        return MllpSender("127.0.0.1", self.port, timeout_s)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20.0)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def ingest(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    service = Ingest(kafka, tmp_path_factory.mktemp("ingest"))
    yield service
    assert service.stop() == 0


@pytest.fixture
def sent_by() -> str:
    """MSH-3 of this test's messages, so that it finds its own records."""
    return f"TEST{secrets.token_hex(6)}"


class Find:
    """Finds the records of one test in a topic."""

    def __init__(self, kafka: KafkaSettings, source: str) -> None:
        self._kafka, self._source = kafka, source

    def __call__(self, topic: Topic, kind: type[R]) -> list[R]:
        return [record for _, record in records(self._kafka, topic, kind) if record.source == self._source]


@pytest.fixture
def find(kafka: KafkaSettings, sent_by: str) -> Find:
    return Find(kafka, f"{sent_by}|HOSP")


def msh(sent_by: str, kind: str, control: str, rest: str = "") -> str:
    return f"MSH|^~\\&|{sent_by}|HOSP|DS|CITY|20260301120000||{kind}|{control}|P|2.5{rest}\r"


def adt(sent_by: str, control: str, patient: str = "4711", rest: str = "") -> bytes:
    return (
        msh(sent_by, "ADT^A08", control, rest) + f"EVN||20260301\rPID|||{patient}^^^HOSP||DOE^JOHN\r"
    ).encode()


def answers(connection: socket.socket, count: int) -> list[bytes]:
    """So many answers, unframed."""
    framer, found = Framer(MIB), list[bytes]()
    while len(found) < count:
        data = connection.recv(65536)
        assert data, f"closed after {len(found)} of {count} answers"
        found += [piece.body for piece in framer.feed(data) if isinstance(piece, Frame)]
    return found


def test_raw_and_normalised_are_there_when_the_answer_is(ingest: Ingest, find: Find, sent_by: str) -> None:
    order = (
        msh(sent_by, "ORM^O01", "1")
        + "PID|||4711^^^HOSP||DOE^JOHN\rORC|NW|P1|F1\rOBR|1|P1|F1\rORC|NW|P2\rOBR|1|P2\r"
    )
    with ingest.sender() as sender:
        answer = sender.send(order.encode())
    assert (code(answer), control_id(answer)) == ("AA", b"1")
    (raw,) = find(Topic.HL7_RAW, RawMessage)
    assert (raw.body, raw.answer, raw.message_type, raw.control_id) == (order.encode(), "AA", "ORM^O01", "1")
    orders = find(Topic.ORDER, Order)
    assert sorted(o.placer_order_number for o in orders) == ["P1", "P2"]
    assert {o.received_at for o in orders} == {raw.received_at}


def test_an_event_names_its_raw_record(
    ingest: Ingest, kafka: KafkaSettings, find: Find, sent_by: str
) -> None:
    with ingest.sender() as sender:
        sender.send(adt(sent_by, "1"))
    (event,) = find(Topic.PATIENT, Patient)
    raws = dict(records(kafka, Topic.HL7_RAW, RawMessage))
    assert raws[Position(event.raw_partition, event.raw_offset)].body == adt(sent_by, "1")


def test_pipelined_messages_are_answered_in_order(ingest: Ingest, find: Find, sent_by: str) -> None:
    controls = [str(number) for number in range(300)]
    with ingest.connect() as connection:
        connection.sendall(b"".join(frame(adt(sent_by, control, patient=control)) for control in controls))
        found = answers(connection, len(controls))
    assert [control_id(answer).decode() for answer in found] == controls
    assert {code(answer) for answer in found} == {"AA"}
    assert {event.control_id for event in find(Topic.PATIENT, Patient)} == set(controls)


def test_an_identical_message_gets_the_same_answer_and_no_second_event(
    ingest: Ingest, find: Find, sent_by: str
) -> None:
    message = frame(adt(sent_by, "1"))
    with ingest.connect() as one, ingest.connect() as other:
        one.sendall(message + message)
        other.sendall(message)
        found = answers(one, 2) + answers(other, 1)
    assert [code(answer) for answer in found] == ["AA"] * 3
    assert len(find(Topic.HL7_RAW, RawMessage)) == len(find(Topic.PATIENT, Patient)) == 1


def test_what_we_do_not_use_is_kept_raw_and_accepted(ingest: Ingest, find: Find, sent_by: str) -> None:
    with ingest.sender() as sender:
        assert code(sender.send((msh(sent_by, "SIU^S12", "1") + "SCH|1\r").encode())) == "AA"
    assert len(find(Topic.HL7_RAW, RawMessage)) == 1
    assert find(Topic.REJECTED, Rejection) == []


REFUSED = [
    ("no patient", "ADT^A08", "", "AE", "no_patient_id", b"PID^1^3"),
    ("an unknown event", "ADT^Z99", "", "AR", "event", b"MSH^1^9^1^2"),
    ("enhanced mode", "ADT^Z99", "|||AL|NE", "CR", "event", b"MSH^1^9^1^2"),
]


@pytest.mark.parametrize(
    ("kind", "rest", "answer_code", "rejected_code", "location"),
    [r[1:] for r in REFUSED],
    ids=[r[0] for r in REFUSED],
)
def test_refused(
    ingest: Ingest,
    find: Find,
    sent_by: str,
    kind: str,
    rest: str,
    answer_code: str,
    rejected_code: str,
    location: bytes,
) -> None:
    message = msh(sent_by, kind, "1", rest).encode()
    with ingest.sender() as sender:
        answer = sender.send(message)
    assert code(answer) == answer_code
    assert location in answer
    (rejection,) = find(Topic.REJECTED, Rejection)
    assert (rejection.code, rejection.body, rejection.answer) == (rejected_code, message, answer_code)
    (raw,) = find(Topic.HL7_RAW, RawMessage)
    assert raw.answer == answer_code
    assert rejection.raw_offset >= 0


def test_on_reject_aa_accepts_what_cannot_be_mapped(
    kafka: KafkaSettings, tmp_path: Path, find: Find, sent_by: str
) -> None:
    service = Ingest(kafka, tmp_path, '[mllp]\non_reject = "AA"\n')
    try:
        with service.sender() as sender:
            assert code(sender.send(msh(sent_by, "ADT^A08", "1").encode())) == "AA"
    finally:
        assert service.stop() == 0
    (rejection,) = find(Topic.REJECTED, Rejection)
    assert (rejection.code, rejection.answer) == ("no_patient_id", "AA")


def rejected_with(kafka: KafkaSettings, mark: bytes) -> list[Rejection]:
    return [record for _, record in records(kafka, Topic.REJECTED, Rejection) if mark in record.body]


def test_a_frame_without_msh_is_refused_and_kept(ingest: Ingest, kafka: KafkaSettings, sent_by: str) -> None:
    body = f"PID|1||{sent_by}\r".encode()
    with ingest.connect() as connection:
        connection.sendall(frame(body))
        (answer,) = answers(connection, 1)
        connection.sendall(frame(adt(sent_by, "2")))
        (after,) = answers(connection, 1)
    assert (code(answer), code(after)) == ("AR", "AA")
    (rejection,) = rejected_with(kafka, body)
    assert (rejection.code, rejection.body) == ("no_msh", body)
    assert rejection.raw_offset >= 0


def test_bytes_without_a_frame_are_refused_and_kept(
    ingest: Ingest, kafka: KafkaSettings, sent_by: str
) -> None:
    garbage = f"GET /{sent_by} HTTP/1.1\r\n\r\n".encode()
    with ingest.connect() as connection:
        connection.sendall(garbage)
        (answer,) = answers(connection, 1)
        connection.sendall(frame(adt(sent_by, "2")))
        (after,) = answers(connection, 1)
    assert (code(answer), code(after)) == ("AR", "AA")
    (rejection,) = rejected_with(kafka, sent_by.encode())
    assert (rejection.code, rejection.body) == ("junk", garbage)


def test_a_start_byte_inside_a_frame_drops_what_came_before(
    ingest: Ingest, kafka: KafkaSettings, find: Find, sent_by: str
) -> None:
    half = adt(sent_by, "1")[:-9]
    with ingest.connect() as connection:
        connection.sendall(b"\x0b" + half + frame(adt(sent_by, "2")))
        (answer,) = answers(connection, 1)
    assert (code(answer), control_id(answer)) == ("AA", b"2")
    assert [(r.code, r.body) for r in find(Topic.REJECTED, Rejection)] == [("frame_restart", half)]


def test_a_connection_that_ends_in_mid_frame_leaves_its_bytes(
    ingest: Ingest, kafka: KafkaSettings, find: Find, sent_by: str
) -> None:
    half = adt(sent_by, "1")[:-9]
    with ingest.connect() as connection:
        connection.sendall(b"\x0b" + half)
    deadline = time.monotonic() + 90
    while not (found := find(Topic.REJECTED, Rejection)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [(r.code, r.body, r.answer) for r in found] == [("truncated", half, "")]


def test_a_sender_that_closes_its_half_still_hears_its_answer(ingest: Ingest, sent_by: str) -> None:
    with ingest.connect() as connection:
        connection.sendall(frame(adt(sent_by, "1")))
        connection.shutdown(socket.SHUT_WR)
        (answer,) = answers(connection, 1)
        assert code(answer) == "AA"
        assert connection.recv(1) == b""


def test_20_megabytes_are_refused_and_the_connection_stays(ingest: Ingest, find: Find, sent_by: str) -> None:
    big = adt(sent_by, "1") + b"OBX|1|ED|" + b"x" * (20 * MIB) + b"\r"
    with ingest.connect() as connection:
        connection.sendall(frame(big))
        (answer,) = answers(connection, 1)
        connection.sendall(frame(adt(sent_by, "2")))
        (after,) = answers(connection, 1)
    assert (code(answer), control_id(answer), code(after)) == ("AR", b"1", "AA")
    (rejection,) = find(Topic.REJECTED, Rejection)
    assert (rejection.code, rejection.raw_offset) == ("too_large", -1)
    assert big.startswith(rejection.body)


def test_a_message_of_the_largest_size_is_stored(ingest: Ingest, find: Find, sent_by: str) -> None:
    start = adt(sent_by, "1") + b"OBX|1|ED|"
    big = start + b"x" * (16 * MIB - len(start) - 1) + b"\r"
    with ingest.sender(60.0) as sender:
        assert code(sender.send(big)) == "AA"
    (raw,) = find(Topic.HL7_RAW, RawMessage)
    assert raw.content_hash == content_hash(big)


def test_a_batch_gets_an_answer_per_message(ingest: Ingest, find: Find, sent_by: str) -> None:
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + adt(sent_by, "1") + adt(sent_by, "2", "4712") + b"BTS|2\rFTS|1\r"
    with ingest.connect() as connection:
        connection.sendall(frame(batch))
        found = answers(connection, 2)
    assert [(code(a), control_id(a)) for a in found] == [("AA", b"1"), ("AA", b"2")]
    assert len(find(Topic.HL7_RAW, RawMessage)) == 2


def test_an_acknowledgement_is_not_answered(ingest: Ingest, find: Find, sent_by: str) -> None:
    with ingest.connect() as connection:
        connection.sendall(frame(msh(sent_by, "ACK^A01^ACK", "1").encode() + b"MSA|AA|7\r"))
        connection.sendall(frame(adt(sent_by, "2")))
        (answer,) = answers(connection, 1)
    assert control_id(answer) == b"2"
    assert len(find(Topic.HL7_RAW, RawMessage)) == 2


def test_six_hundred_connections_are_served_at_once(ingest: Ingest, sent_by: str) -> None:
    connections = [ingest.connect() for _ in range(600)]
    try:
        for number, connection in enumerate(connections):
            connection.sendall(frame(adt(sent_by, str(number), patient=str(number))))
        assert {code(answers(connection, 1)[0]) for connection in connections} == {"AA"}
    finally:
        for connection in connections:
            connection.close()


def test_a_stop_answers_what_was_read_and_closes_the_rest(
    kafka: KafkaSettings, tmp_path: Path, find: Find, sent_by: str
) -> None:
    service = Ingest(kafka, tmp_path)
    with service.connect() as idle, service.connect() as busy:
        busy.sendall(b"".join(frame(adt(sent_by, str(n), patient=str(n))) for n in range(200)))
        framer = Framer(MIB)
        told = framer.feed(busy.recv(65536))
        assert service.stop() == 0
        assert idle.recv(1) == b""
        while data := busy.recv(65536):
            told += framer.feed(data)
    assert {code(piece.body) for piece in told} == {"AA"}
    stored = {raw.control_id for raw in find(Topic.HL7_RAW, RawMessage)}
    assert stored == {event.control_id for event in find(Topic.PATIENT, Patient)}
    assert len(stored) == len(told)


def test_a_raw_record_without_events_is_normalised_at_the_next_start(
    kafka: KafkaSettings, tmp_path: Path, find: Find, sent_by: str
) -> None:
    # A process that is over was on the roster, and stored one record raw before it died.
    roster = Roster(kafka, str(Topic.HL7_RAW), HL7_GROUP)
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    life = Life(f"gone-{sent_by}", Life.mine().machine, gone.pid, 1)
    roster.write(Member(life, "", "1", roster.ends()))
    body = adt(sent_by, "1")
    raw = RawMessage(
        source=f"{sent_by}|HOSP",
        control_id="1",
        message_type="ADT^A08",
        received_at=1_772_366_400_000_001,
        transport="mllp",
        content_hash=content_hash(body),
        body=body,
    )
    publisher = Publisher(kafka)
    headers = [(INSTANCE_HEADER, life.name.encode())]
    position = publisher.publish_and_wait(str(Topic.HL7_RAW), b"key", Codec().encode(raw), headers)
    publisher.close()
    again = Ingest(kafka, tmp_path)
    assert again.stop() == 0
    # Another process of the machine may have taken it over at the same time: the same event then.
    events = find(Topic.PATIENT, Patient)
    assert events
    for event in events:
        assert (event.received_at, event.source) == (raw.received_at, raw.source)
        assert Position(event.raw_partition, event.raw_offset) == position


def test_kill_9_in_the_middle_of_a_stream_loses_nothing_that_was_answered(
    kafka: KafkaSettings, tmp_path: Path, find: Find, sent_by: str
) -> None:
    service = Ingest(kafka, tmp_path)
    controls = [str(number) for number in range(400)]
    with service.connect() as connection:
        connection.sendall(b"".join(frame(adt(sent_by, control, patient=control)) for control in controls))
        answered = answers(connection, 50)
        service.kill()
    again = Ingest(kafka, tmp_path)
    try:
        events = find(Topic.PATIENT, Patient)
        stored = {raw.control_id for raw in find(Topic.HL7_RAW, RawMessage)}
        assert {control_id(answer).decode() for answer in answered} <= {event.control_id for event in events}
        assert {event.control_id for event in events} == stored
        with again.sender() as sender:
            assert {code(sender.send(adt(sent_by, control, patient=control))) for control in controls} == {
                "AA"
            }
    finally:
        assert again.stop() == 0
    # What was stored before the crash came again under the same identity: an effect of its own it has not.
    ids = {event.event_id for event in find(Topic.PATIENT, Patient)}
    assert len(ids) == len(controls)


def test_without_a_broker_senders_hear_ae_and_the_connection_works_again(
    embedded_kafka: EmbeddedKafka, kafka: KafkaSettings, tmp_path: Path, find: Find, sent_by: str
) -> None:
    service = Ingest(kafka, tmp_path)
    try:
        with service.connect() as connection, service.connect() as other:
            connection.sendall(frame(adt(sent_by, "1")))
            assert code(answers(connection, 1)[0]) == "AA"
            embedded_kafka.stop()
            try:
                connection.settimeout(10)
                other.settimeout(10)
                connection.sendall(frame(adt(sent_by, "2")))
                other.sendall(frame(adt(sent_by, "3", rest="|||AL|NE")))
                (refused,) = answers(connection, 1)
                (refused_too,) = answers(other, 1)
            finally:
                embedded_kafka.launch()
                embedded_kafka.wait_ready(200)
            assert (code(refused), control_id(refused), b"\rERR|" in refused) == ("AE", b"2", True)
            assert code(refused_too) == "CE"
            accepted = ""
            for _ in range(20):
                connection.sendall(frame(adt(sent_by, "2")))
                accepted = code(answers(connection, 1)[0])
                if accepted == "AA":
                    break
            assert accepted == "AA"
    finally:
        assert service.stop() == 0
    assert "2" in {event.control_id for event in find(Topic.PATIENT, Patient)}


def test_every_mesa_message_is_answered(
    ingest: Ingest, test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted((test_data / "hl7" / "mesa").glob("*.hl7"))
    plain = [path for path in files if "2xx-j" not in path.name]
    assert send_files(plain, "127.0.0.1", ingest.port) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(len(split(path.read_bytes())) for path in plain)
    assert all(line.endswith(" AA") for line in lines)


def test_each_file_gets_its_own_answer_also_behind_one_that_has_two(
    ingest: Ingest, sent_by: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    twice, nonsense, good = (tmp_path / f"{name}.hl7" for name in ("1_twice", "2_nonsense", "3_good"))
    twice.write_bytes(adt(sent_by, "1", rest="|||AL|AL"))
    nonsense.write_bytes(b"no message\r")
    good.write_bytes(adt(sent_by, "2"))
    assert send_files([twice, nonsense, good], "127.0.0.1", ingest.port) == 1
    answers_told = [line.split(":")[0].split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert answers_told == ["CA", "AR", "AA"]


def test_the_client_says_so_when_nobody_listens(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "one.hl7"
    path.write_bytes(adt("X", "7"))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        assert send_files([path], "127.0.0.1", port) == 1
        with MllpSender("127.0.0.1", port) as sender, pytest.raises(SendError, match=f"127.0.0.1:{port}"):
            sender.send(path.read_bytes())
    assert "7 not answered" in capsys.readouterr().out
