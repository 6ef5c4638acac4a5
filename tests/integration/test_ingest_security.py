"""TLS, networks, certificates of sources and the audit trail, with the real service and broker."""

import contextlib
import os
import re
import secrets
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from certificates import Authority, Pair
from reading import records
from running_stack import wait_until
from test_ingest import Find, Ingest, adt, answers
from test_ingest_workers import shares

from dosestream.audit.trail import TOPIC
from dosestream.client.send import MllpSender, SendError, code, send_files, tls_context
from dosestream.events.codec import CodecError
from dosestream.events.identity import content_hash
from dosestream.events.records import Audit, Patient, RawMessage, Rejection
from dosestream.hl7.framing import frame
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def sent_by() -> str:
    return f"SEC{secrets.token_hex(6)}"


@pytest.fixture
def start(kafka: KafkaSettings, tmp_path: Path, authority: Authority) -> Iterator["Start"]:
    one = Start(kafka, tmp_path, authority)
    yield one
    for service in one.running:
        if service.process.poll() is None:
            service.kill()


class Start:
    """Starts ingest with a TLS port; its certificate can be changed under it."""

    def __init__(self, kafka: KafkaSettings, folder: Path, authority: Authority) -> None:
        self._kafka, self.folder, self.authority = kafka, folder, authority
        self.running: list[Ingest] = []

    def __call__(self, config: str = "", *arguments: str, mllp: str = "", client_ca: bool = False) -> Ingest:
        self.put(self.authority.sign("server"))
        trusted = f"client_ca = '{self.authority.certificate}'\nrequire_client_certificate = true\n"
        tls = f"port = 0\ncertificate = 'server.pem'\nkey = 'server.key'\n{trusted if client_ca else ''}"
        text = f"[mllp]\n{mllp}\n[mllp.tls]\n{tls}\n{config}"
        self.running.append(Ingest(self._kafka, self.folder, text, *arguments))
        return self.running[-1]

    def put(self, pair: Pair) -> None:
        """Let the pair be the listener's."""
        (self.folder / "server.pem").write_bytes(pair.certificate.read_bytes())
        (self.folder / "server.key").write_bytes(pair.key.read_bytes())

    def tls(self, service: Ingest, shown: Pair | None = None) -> MllpSender:
        """A sender over TLS that trusts the authority."""
        context = tls_context(self.authority.certificate, *((shown.certificate, shown.key) if shown else ()))
        return MllpSender("127.0.0.1", tls_port(service), 20, context)


def tls_port(service: Ingest) -> int:
    found = re.search(r"listening for TLS on 127\.0\.0\.1:(\d+)", service.log.read_text())
    assert found is not None, service.log.read_text()
    return int(found[1])


def audit(kafka: KafkaSettings, **fields: object) -> list[Audit]:
    """The audit records with these values in these fields; other tests share the topic."""
    return [
        record
        for _, record in records(kafka, TOPIC, Audit, CodecError)
        if all(getattr(record, name) == value for name, value in fields.items())
    ]


def test_tls_beside_the_plain_port_on_every_worker(start: Start, sent_by: str) -> None:
    service = start("", "--workers", "2", mllp="gather = 0")
    for number in range(6):
        with start.tls(service) as sender:
            assert code(sender.send(adt(sent_by, f"tls-{number}"))) == "AA"
        with service.sender() as plain:
            assert code(plain.send(adt(sent_by, f"plain-{number}"))) == "AA"
    assert service.stop() == 0


def test_senders_over_tls_share_a_worker_with_others(start: Start, sent_by: str) -> None:
    service = start("", "--workers", "2", mllp="gather = 3")
    with ExitStack() as stack:
        senders = [stack.enter_context(start.tls(service)) for _ in range(4)]
        senders.append(stack.enter_context(service.sender()))
        for number, sender in enumerate(senders):
            assert code(sender.send(adt(sent_by, str(number)))) == "AA"
        assert shares(service) == [2, 3]
    assert service.stop() == 0


def test_a_whole_pipeline_in_the_first_packet_behind_the_handshake_is_answered(
    start: Start, sent_by: str
) -> None:
    service = start()
    context = tls_context(start.authority.certificate)
    for turn in range(20):
        with (
            socket.create_connection(("127.0.0.1", tls_port(service)), 20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(b"".join(frame(adt(sent_by, f"{turn}-{n}")) for n in range(5)))
            assert [code(one) for one in answers(connection, 5)] == ["AA"] * 5
    assert service.stop() == 0


OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]


@pytest.mark.parametrize("version", OLD, ids=["TLS 1.0", "TLS 1.1"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(start: Start, version: ssl.TLSVersion) -> None:
    service = start()
    context = tls_context(start.authority.certificate)
    context.minimum_version, context.maximum_version = version, version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", tls_port(service)), 20) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")
    assert service.stop() == 0
    assert "1 connections were refused from 127.0.0.1: the TLS handshake failed" in service.log.read_text()


def test_a_client_needs_a_certificate_of_the_authority_where_one_is_required(
    start: Start, sent_by: str, tmp_path: Path, kafka: KafkaSettings
) -> None:
    service = start(client_ca=True)
    stranger = Authority(tmp_path / "elsewhere", "Elsewhere").sign("ris")
    for shown in (None, stranger):
        with start.tls(service, shown) as sender, pytest.raises(SendError):
            sender.send(adt(sent_by, "1"))
    with start.tls(service, start.authority.sign("ris")) as sender:
        assert code(sender.send(adt(sent_by, "2"))) == "AA"
    assert service.stop() == 0
    assert [one.control_id for one in records_of(kafka, sent_by)] == ["2"]
    (receipt,) = audit(kafka, kind="receipt", source=f"{sent_by}|HOSP")
    assert (receipt.transport, receipt.tls_subject) == ("mllps", "CN=ris,O=Hospital")


def records_of(kafka: KafkaSettings, sent_by: str) -> list[RawMessage]:
    return Find(kafka, f"{sent_by}|HOSP")(Topic.HL7_RAW, RawMessage)


def test_who_may_not_send_as_a_source_is_told_so_and_the_source_is_not_kept_from_the_same_message(
    start: Start, sent_by: str, kafka: KafkaSettings
) -> None:
    config = (
        f"[[source]]\nname = '{sent_by}'\nsending_application = '{sent_by}'\ncertificate = 'ris.example'\n"
    )
    service = start(config, client_ca=True)
    message, own = adt(sent_by, "1"), start.authority.sign("ris", dns=("RIS.example",))
    with service.sender() as plain, start.tls(service, start.authority.sign("other")) as other:
        for stranger in (plain, other, plain):
            answer = stranger.send(message)
            assert code(answer) == "AR"
            assert f"may not send as {sent_by}".encode() in answer
        unguarded = adt(f"{sent_by}X", "2")
        assert code(plain.send(unguarded)) == "AA", "the connection stays, and others may send on it"
    with start.tls(service, own) as sender:
        assert code(sender.send(message)) == "AA"
    with service.sender() as plain:
        assert code(plain.send(message)) == "AR"
    assert service.stop() == 0
    find = Find(kafka, sent_by)
    assert sorted(one.refused for one in find(Topic.HL7_RAW, RawMessage)) == ["", "peer_not_allowed"]
    assert [one.control_id for one in find(Topic.PATIENT, Patient)] == ["1"]
    (rejection,) = find(Topic.REJECTED, Rejection)
    assert (rejection.code, rejection.body) == ("peer_not_allowed", message)
    told = [(one.answer, one.repeat, one.code) for one in audit(kafka, kind="receipt", source=sent_by)]
    refused = "peer_not_allowed"
    assert told == [
        *(("AR", False, refused), ("AR", True, refused), ("AR", True, refused)),
        *(("AA", False, ""), ("AR", True, refused)),
    ]


def test_a_refused_message_makes_no_event_after_a_crash_either(
    start: Start, sent_by: str, kafka: KafkaSettings
) -> None:
    config = f"[[source]]\nname = '{sent_by}'\nsending_application = '{sent_by}'\npeers = ['192.0.2.0/24']\n"
    service = start(config)
    with service.sender() as plain:
        assert code(plain.send(adt(sent_by, "1"))) == "AR"
    service.kill()
    # The mark of what has its events may lie before the message: it is normalised again, without that rule.
    service = start()
    with service.sender() as plain:
        assert code(plain.send(adt(sent_by, "2"))) == "AA"
    assert service.stop() == 0
    assert Find(kafka, sent_by)(Topic.PATIENT, Patient) == []


def test_the_certificate_says_the_source_where_msh_does_not(
    start: Start, sent_by: str, kafka: KafkaSettings
) -> None:
    service = start(f"[[source]]\nname = 'engine-{sent_by}'\ncertificate = 'urn:engine'\n", client_ca=True)
    with start.tls(service, start.authority.sign("e", uris=("urn:engine",))) as sender:
        assert code(sender.send(adt(sent_by, "1"))) == "AA"
    assert service.stop() == 0
    assert len(Find(kafka, f"engine-{sent_by}")(Topic.PATIENT, Patient)) == 1


def test_an_address_that_is_not_listed_is_refused_before_a_byte_is_read_and_told_in_counts(
    start: Start, kafka: KafkaSettings
) -> None:
    def counted() -> int:
        # Scanners are refused on the same trail.
        why = {"service": "ingest", "peer": "127.0.0.1", "code": "address_not_allowed"}
        found = audit(kafka, kind="connection_refused", **why)
        return sum(one.count for one in found)

    before = counted()
    service = start(mllp="allow = ['192.0.2.0/24']")
    for port in (service.port, tls_port(service)):
        for _ in range(25):
            with (
                contextlib.suppress(ConnectionResetError),
                socket.create_connection(("127.0.0.1", port), 20) as refused,
            ):
                assert refused.recv(1) == b""
    assert service.stop() == 0
    said = re.findall(r"(\d+) connections were refused from 127\.0\.0\.1", service.log.read_text())
    assert len(said) <= 2
    assert sum(map(int, said)) == 50
    assert counted() - before == 50


def test_a_new_certificate_is_shown_to_new_connections_and_the_old_ones_stay(
    start: Start, sent_by: str, kafka: KafkaSettings
) -> None:
    service = start()

    def serial() -> str:
        context = tls_context(start.authority.certificate)
        with (
            socket.create_connection(("127.0.0.1", tls_port(service)), 20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            shown = connection.getpeercert()
            assert shown is not None
            return str(shown["serialNumber"])

    def told(word: str) -> None:
        before = service.log.read_text().count(word)
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: service.log.read_text().count(word) > before, word)

    first = serial()
    with start.tls(service) as old:
        assert code(old.send(adt(sent_by, "1"))) == "AA"
        start.put(start.authority.sign("server", file="second"))
        told("the configuration was read again")
        second = serial()
        assert second != first
        (start.folder / "server.pem").write_text("broken")
        told("the TLS certificate is kept as it was")
        assert serial() == second
        assert code(old.send(adt(sent_by, "2"))) == "AA"
    assert service.stop() == 0


def test_every_receipt_is_on_the_audit_trail(start: Start, sent_by: str, kafka: KafkaSettings) -> None:
    service = start()
    good = adt(sent_by, "1")
    bad = good.replace(b"ADT^A08", b"ADT^Z99").replace(b"|1|P", b"|2|P")
    with service.sender() as sender:
        heard = [code(sender.send(message)) for message in (good, good, bad)]
    assert heard == ["AA", "AA", "AR"]
    assert service.stop() == 0
    found = audit(kafka, kind="receipt", source=f"{sent_by}|HOSP")
    assert [(one.control_id, one.answer, one.repeat, one.code) for one in found] == [
        *(("1", "AA", False, ""), ("1", "AA", True, ""), ("2", "AR", False, "event")),
    ]
    assert [one.content_hash for one in found] == [content_hash(good), content_hash(good), content_hash(bad)]
    stored = {
        (position.partition, position.offset)
        for position, raw in records(kafka, Topic.HL7_RAW, RawMessage)
        if raw.source == f"{sent_by}|HOSP"
    }
    assert {(one.raw_partition, one.raw_offset) for one in found if not one.repeat} == stored
    life = found[0].event_id.rpartition("-")[0]
    mine = [one for one in audit(kafka, service="ingest") if one.event_id.startswith(f"{life}-")]
    numbers = sorted(int(one.event_id.rpartition("-")[2]) for one in mine)
    assert numbers == list(range(1, len(mine) + 1))
    kinds = {one.kind for one in mine}
    assert kinds >= {
        "started",
        "configuration",
        "certificate",
        "connection_opened",
        "connection_closed",
        "stopped",
    }


def test_send_speaks_tls_and_says_why_it_cannot(
    start: Start, sent_by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start()
    file = tmp_path / "message.hl7"
    file.write_bytes(adt(sent_by, "1"))
    ours, theirs = start.authority.certificate, Authority(tmp_path / "elsewhere").certificate
    assert send_files([file], "127.0.0.1", tls_port(service), tls=tls_context(ours)) == 0
    assert send_files([file], "127.0.0.1", tls_port(service), tls=tls_context(theirs)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("1 AA")
    assert "CERTIFICATE_VERIFY_FAILED" in said[1]
    assert service.stop() == 0
