"""What a sender may do on the wire beyond one frame after the other, against the real service and broker."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading import records
from running_stack import wait_until
from test_ingest import Find, Ingest, adt, answers, msh, rejected_with

from dosestream.client.send import code, control_id
from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.events.records import RawMessage, Rejection
from dosestream.hl7.framing import COMMIT_ACK, COMMIT_NAK, frame
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.kafka.topics import Topic
from dosestream.settings import MIB, KafkaSettings

pytestmark = pytest.mark.stack


@pytest.fixture
def sent_by() -> str:
    """MSH-3 of this test's messages, so that it finds its own records."""
    return f"WIRE{secrets.token_hex(6)}"


@pytest.fixture
def find(kafka: KafkaSettings, sent_by: str) -> Find:
    return Find(kafka, f"{sent_by}|HOSP")


@pytest.fixture(scope="module")
def ingest(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    service = Ingest(kafka, tmp_path_factory.mktemp("wire"), "[mllp]\nmax_connections = 20\n")
    yield service
    assert service.stop() == 0


def test_release_2_says_that_a_message_is_kept_before_it_is_acknowledged(
    kafka: KafkaSettings, tmp_path: Path, find: Find, sent_by: str
) -> None:
    service = Ingest(kafka, tmp_path, "[mllp]\nrelease = 2\n")
    try:
        with service.connect() as connection:
            for number in ("1", "2"):
                connection.sendall(frame(adt(sent_by, number)))
                kept, answer = answers(connection, 2)
                assert (kept, code(answer), control_id(answer)) == (COMMIT_ACK, "AA", number.encode())
                connection.sendall(frame(COMMIT_ACK if number == "1" else COMMIT_NAK))
            connection.sendall(frame(msh(sent_by, "ADT^A08", "3", "|||AL|NE").encode()))
            kept, refused = answers(connection, 2)
            assert (kept, code(refused)) == (COMMIT_ACK, "CE")
    finally:
        assert service.stop() == 0
    assert len(find(Topic.HL7_RAW, RawMessage)) == 3


def test_a_batch_that_counts_otherwise_is_answered_and_kept(
    ingest: Ingest, kafka: KafkaSettings, find: Find, sent_by: str
) -> None:
    batch = b"BHS|^~\\&|" + sent_by.encode() + b"\r" + adt(sent_by, "1") + adt(sent_by, "2") + b"BTS|3\r"
    with ingest.connect() as connection:
        connection.sendall(frame(batch) + frame(b"BHS|^~\\&\rBTS|0\r") + frame(adt(sent_by, "3")))
        found = answers(connection, 3)
    assert [(code(answer), control_id(answer)) for answer in found] == [
        *(("AA", b"1"), ("AA", b"2"), ("AA", b"3"))
    ]
    assert len(find(Topic.HL7_RAW, RawMessage)) == 3
    (rejection,) = rejected_with(kafka, b"BTS|3")
    assert (rejection.code, rejection.body) == ("batch_count", batch)


def test_a_connection_too_many_is_closed_and_there_is_room_again_when_one_ends(
    ingest: Ingest, sent_by: str
) -> None:
    held = [ingest.connect() for _ in range(20)]
    try:
        for number, connection in enumerate(held):
            connection.sendall(frame(adt(sent_by, f"held-{number}")))
            assert code(answers(connection, 1)[0]) == "AA"
        with ingest.connect() as refused:
            refused.settimeout(20)
            try:
                said = refused.recv(1)
            except ConnectionResetError:
                said = b""
            assert said == b""
    finally:
        for connection in held:
            connection.close()
    accepted = ""
    for attempt in range(100):
        try:
            with ingest.connect() as connection:
                connection.sendall(frame(adt(sent_by, f"later-{attempt}")))
                accepted = code(answers(connection, 1)[0])
                break
        except (ConnectionError, AssertionError, TimeoutError):
            continue
    assert accepted == "AA"
    wait_until(lambda: "connections were refused" in ingest.log.read_text(), "it is told")


def test_a_picture_of_30_megabytes_passes_when_the_cap_is_raised(tmp_path: Path, sent_by: str) -> None:
    taken: set[int] = set()
    small = KafkaSettings()
    broker = EmbeddedKafka(tmp_path / "kafka", small, ports.free(taken), ports.free(taken))
    broker.prepare()
    broker.launch()
    broker.wait_ready(200)
    create_topics(broker.client_settings(), site=False)
    broker.stop()
    # The topics were made under the default cap; the broker comes back with a larger one.
    large = KafkaSettings(max_message_bytes=40 * MIB)
    broker = EmbeddedKafka(tmp_path / "kafka", large, broker.port, broker.controller_port)
    broker.prepare()
    broker.launch()
    try:
        broker.wait_ready(200)
        settings = broker.client_settings()
        create_topics(settings, site=False)
        publish_schemas(settings)
        config = f"[kafka]\nmax_message_bytes = {large.max_message_bytes}\n"
        (tmp_path / "ingest").mkdir()
        service = Ingest(settings, tmp_path / "ingest", config)
        picture = b"JVBERi0x" * (30 * MIB // 8)
        message = (
            msh(sent_by, "ORU^R01", "1").encode()
            + b"PID|||4711^^^HOSP||DOE^JOHN\rORC|RE|P1|F1\rOBR|1|P1|F1|CT\r"
            + b"OBX|1|ED|PDF||^application^pdf^Base64^"
            + picture
            + b"||||||F\r"
        )
        try:
            with service.sender(60.0) as sender:
                assert code(sender.send(message)) == "AA"
        finally:
            assert service.stop() == 0
        ((_, raw),) = records(settings, Topic.HL7_RAW, RawMessage)
        assert raw.body == message
        assert records(settings, Topic.REJECTED, Rejection) == []
    finally:
        broker.stop()
