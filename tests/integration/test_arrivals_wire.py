"""The DICOM port against peers that do what they must not, and against many at once."""

import os
import shutil
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sr_builder as sr
from arrivals_running import (
    CALLED,
    EXPLICIT,
    Running,
    audited,
    dose_report,
    image_header,
    new_uid,
    process,
    running,
    settings_for,
)
from certificates import Authority
from pydicom import dcmread
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined, unused-ignore]
from running_stack import wait_until

from dosestream.audit.trail import now
from dosestream.events.records import RawMessage, Study
from dosestream.kafka.topics import Topic
from dosestream.settings import DicomSettings, DicomTlsSettings, KafkaSettings, SourceSettings
from dosestream.tls import identity
from services.arrivals.listener import REQUEST_S, Listener

MIB = 1 << 20


@pytest.fixture(scope="module")
def arrivals(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = settings_for(kafka, tmp_path_factory.mktemp("repeats"), DicomSettings(port=0))
    with running(settings) as service:
        yield service


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def request(sop_class: str, transfer_syntax: str = EXPLICIT, calling: str = "CT1") -> bytes:
    context = b"\x01\0\0\0" + item(0x30, sop_class.encode()) + item(0x40, transfer_syntax.encode())
    user = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
    body = b"\0\1\0\0" + CALLED.ljust(16).encode() + calling.ljust(16).encode() + b"\0" * 32
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user)
    return struct.pack(">BBL", 1, 0, len(body)) + body


def element(tag: int, value: bytes) -> bytes:
    """A command element, implicit little endian (PS3.7 6.3.1)."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, tag, len(value)) + value


def store_command(sop_class: str, uid: str) -> bytes:
    body = b"".join(
        (
            element(0x0002, sop_class.encode()),
            element(0x0100, b"\x01\0"),
            element(0x0110, b"\x01\0"),
            element(0x0700, b"\0\0"),
            element(0x0800, b"\x01\0"),
            element(0x1000, uid.encode()),
        )
    )
    return element(0, struct.pack("<L", len(body))) + body


def p_data(body: bytes, control: int) -> bytes:
    fragment = struct.pack(">LBB", len(body) + 2, 1, control) + body
    return struct.pack(">BBL", 4, 0, len(fragment)) + fragment


class Peer:
    """A peer that writes PDUs by hand."""

    def __init__(self, port: int, sop_class: str = sr.CT_IMAGE, **more: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.sendall(request(sop_class, **more))
        self.accepted = self.pdu()

    def pdu(self) -> bytes:
        """The next PDU, empty at the connection's end."""
        try:
            head = self.exactly(6)
            return head + self.exactly(int.from_bytes(head[2:], "big")) if len(head) == 6 else b""
        except ConnectionError:
            return b""

    def exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (piece := self.socket.recv(size - len(found))):
            found += piece
        return found

    def send(self, *pdus: bytes) -> None:
        self.socket.sendall(b"".join(pdus))

    def status(self) -> int:
        """Of the next C-STORE-RSP."""
        answer = self.pdu()
        at = answer.index(struct.pack("<HHL", 0, 0x0900, 2)) + 8
        return int.from_bytes(answer[at : at + 2], "little")

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def encoded(instance: Any, syntax: str = EXPLICIT) -> bytes:
    """The data set of an instance as it goes over the wire."""
    body = sr.part10(instance, syntax)
    start = body.index(b"DICM") + 4
    return body[start + int.from_bytes(body[start + 8 : start + 12], "little") + 12 :]


def resident_kib(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


def test_an_image_of_any_size_costs_no_memory(kafka: KafkaSettings, tmp_path: Path) -> None:
    settings = settings_for(kafka, tmp_path / "repeats", DicomSettings(port=0))
    with process(settings, tmp_path) as arrivals:
        with arrivals.storer() as storer:
            assert storer.store(sr.part10(image_header())) == 0x0000
        before = resident_kib(arrivals.pid, "VmRSS")
        picture = image_header()
        pieces, piece = 300 * 8, p_data(b"\x55" * (MIB // 8), 0)
        pixels = b"\xe0\x7f\x10\0OW\0\0" + struct.pack("<L", pieces * MIB // 8)
        with Peer(arrivals.port) as peer:
            peer.send(p_data(store_command(sr.CT_IMAGE, picture.SOPInstanceUID), 3))
            peer.send(p_data(encoded(picture) + pixels, 0))
            for _ in range(pieces - 1):
                peer.send(piece)
            peer.send(p_data(b"\x55" * (MIB // 8), 2))
            assert peer.status() == 0x0000
        peak = resident_kib(arrivals.pid, "VmHWM")
        (raw,) = arrivals.published(Topic.DICOM_RAW, RawMessage, picture.SOPInstanceUID)
    assert len(raw.body) < 3000
    # 300 MiB went through.
    assert peak - before < 24 * 1024


def test_an_association_dropped_in_the_middle_of_a_store_stores_nothing_and_hinders_nobody(
    arrivals: Running,
) -> None:
    report, lost = dose_report(), new_uid()
    with Peer(arrivals.port, sr.DOSE_SR) as peer:
        peer.send(p_data(store_command(sr.DOSE_SR, lost), 3), p_data(encoded(report)[:500], 0))
    with arrivals.storer() as storer:
        assert storer.store(sr.part10(report)) == 0x0000
    assert len(arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)) == 1
    assert arrivals.published(Topic.DICOM_RAW, RawMessage, lost) == []
    wait_until(lambda: open_associations(arrivals) == 0, "the association is gone")


def open_associations(arrivals: Running) -> int:
    assert arrivals.service is not None
    listener = arrivals.service._listener
    assert listener is not None
    return listener.associations


def test_a_data_set_in_another_transfer_syntax_than_agreed_is_refused_and_kept(arrivals: Running) -> None:
    report = dose_report()
    with Peer(arrivals.port, sr.DOSE_SR) as peer:
        for body, expected in (
            (encoded(report, "1.2.840.10008.1.2.2"), 0xC000),
            (encoded(report), 0x0000),
        ):
            peer.send(p_data(store_command(sr.DOSE_SR, report.SOPInstanceUID), 3), p_data(body, 2))
            assert peer.status() == expected
    raws = arrivals.published(Topic.DICOM_RAW, RawMessage, report.SOPInstanceUID)
    assert [raw.answer for raw in raws] == ["C000", "0000"]


class Rude(NamedTuple):
    """What a peer sends once it is associated."""

    sent: bytes


RUDE = {
    "a PDU without end in length": Rude(struct.pack(">BBL", 4, 0, 0x7FFFFFFF)),
    "a PDU of no type": Rude(struct.pack(">BBL", 99, 0, 4) + b"1234"),
    "a command that is none": Rude(p_data(element(0x0100, b"\x77\x77"), 3)),
    "a fragment of no context": Rude(struct.pack(">BBLLBB", 4, 0, 6, 2, 77, 3)),
    "a fragment longer than its PDU": Rude(struct.pack(">BBLLBB", 4, 0, 6, 4000, 1, 3)),
}


@pytest.mark.parametrize("rude", RUDE.values(), ids=RUDE.keys())
def test_a_peer_that_breaks_the_protocol_is_cut_off_and_others_go_on(arrivals: Running, rude: Rude) -> None:
    with Peer(arrivals.port) as peer:
        assert peer.accepted[0] == 2
        peer.send(rude.sent)
        last = peer.pdu()
        # A-ABORT, or the connection's end.
        assert not last or last[0] == 7
    with arrivals.storer() as storer:
        assert storer.store(sr.part10(dose_report())) == 0x0000


@pytest.fixture
def impatient(kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A listener that waits three seconds for what was begun, with room for two."""
    monkeypatch.setattr("services.arrivals.service.Listener", partial(Listener, stalled_s=3.0))
    dicom = DicomSettings(port=0, max_associations=2)
    with running(settings_for(kafka, tmp_path, dicom)) as service:
        yield service


def test_whoever_began_a_message_and_does_not_go_on_loses_the_place(impatient: Running) -> None:
    with Peer(impatient.port) as in_a_message, Peer(impatient.port) as in_a_pdu:
        in_a_message.send(p_data(store_command(sr.CT_IMAGE, "1.2"), 3))
        in_a_pdu.send(p_data(store_command(sr.CT_IMAGE, "1.2"), 3)[:40])
        for peer in (in_a_message, in_a_pdu):
            last = peer.pdu()
            assert not last or last[0] == 7
        wait_until(lambda: open_associations(impatient) == 0, "both places are free")


def test_connections_that_end_without_a_request_give_their_places_back(impatient: Running) -> None:
    for _ in range(8):
        socket.create_connection(("127.0.0.1", impatient.port)).close()
    wait_until(lambda: open_associations(impatient) == 0, "their places are free", REQUEST_S / 2)
    with impatient.storer() as storer:
        assert storer.store(sr.part10(dose_report())) == 0x0000


def test_a_peer_that_never_releases_keeps_its_place_and_the_next_is_told_to_come_later(
    impatient: Running,
) -> None:
    with impatient.storer() as storer, Peer(impatient.port):
        assert storer.store(sr.part10(dose_report())) == 0x0000
        time.sleep(4.5)
        refused = impatient.associate(sr.CT_IMAGE)
        assert refused.is_rejected
        answer = refused.acceptor.primitive
        # Rejected transient, by the presentation service: local limit exceeded (PS3.8 9.3.4).
        assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
        # Being idle is no fault.
        assert storer.store(sr.part10(dose_report())) == 0x0000


def test_fifty_associations_at_once_are_all_answered(arrivals: Running) -> None:
    reports = [dose_report() for _ in range(50)]
    statuses: dict[int, int] = {}
    together = threading.Barrier(len(reports))

    def store(number: int) -> None:
        body = encoded(reports[number])
        together.wait()
        with Peer(arrivals.port, sr.DOSE_SR) as peer:
            command = store_command(sr.DOSE_SR, reports[number].SOPInstanceUID)
            peer.send(p_data(command, 3), p_data(body, 2))
            statuses[number] = peer.status()

    threads = [threading.Thread(target=store, args=(number,)) for number in range(len(reports))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(statuses.values()) == [0x0000] * 50
    for report in reports[::10]:
        assert len(arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)) == 1


class Caller(NamedTuple):
    """Who calls, and the result, source and reason of the rejection; None where it is accepted."""

    calling: str
    called: str
    rejected: tuple[int, int, int] | None


CALLERS = {
    "a known source": Caller("CT1", CALLED, None),
    "an unknown AE title": Caller("STRANGER", CALLED, (1, 1, 3)),
    "another called AE title": Caller("CT1", "OTHER", (1, 1, 7)),
    "a known source at another address": Caller("ELSEWHERE", CALLED, (1, 1, 3)),
}


@pytest.fixture(scope="module")
def strict(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    dicom = DicomSettings(port=0, known_sources_only=True, require_called_ae_title=True)
    elsewhere = SourceSettings(name="elsewhere", ae_title="ELSEWHERE", peers=("192.0.2.0/24",))
    with running(settings_for(kafka, tmp_path_factory.mktemp("repeats"), dicom, elsewhere)) as service:
        yield service


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS.keys())
def test_who_may_associate(strict: Running, caller: Caller) -> None:
    association = strict.associate(Verification, calling=caller.calling, called=caller.called)
    if caller.rejected is None:
        assert association.is_established
        assert association.send_c_echo().Status == 0x0000
        association.release()
        return
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == caller.rejected
    wait_until(lambda: refused(strict) >= {("127.0.0.1", "association_rejected")}, "the audit record")


def refused(arrivals: Running) -> set[tuple[str, str]]:
    """Hosts and codes of the connections that the audit trail has as refused."""
    trail = audited(arrivals.settings.kafka)
    return {(one.peer, one.code) for one in trail if one.kind == "connection_refused"}


def test_connections_are_on_the_audit_trail(arrivals: Running) -> None:
    # Others may have had this port before.
    since = now()
    association = arrivals.associate(Verification)
    host, port = association.dul.socket.socket.getsockname()
    peer = f"{host}:{port}"
    association.release()

    def kinds() -> list[str]:
        trail = audited(arrivals.settings.kafka)
        return [one.kind for one in trail if one.peer == peer and one.received_at >= since]

    wait_until(lambda: kinds() == ["connection_opened", "connection_closed"], "the audit records")


def test_an_address_that_is_not_allowed_is_cut_off_before_a_byte_is_read(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    dicom = DicomSettings(port=0, allow=("192.0.2.0/24",))
    with (
        running(settings_for(kafka, tmp_path, dicom)) as arrivals,
        socket.create_connection(("127.0.0.1", arrivals.port), timeout=10) as peer,
    ):
        assert peer.recv(1) == b""
        wait_until(lambda: ("127.0.0.1", "address_not_allowed") in refused(arrivals), "the audit record")


def test_over_tls_a_report_is_stored_and_a_peer_without_certificate_is_not_heard(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    server, client = authority.sign("server"), authority.sign("client")
    ours, theirs = str(server.certificate), str(authority.certificate)
    tls = DicomTlsSettings(port=0, certificate=ours, key=str(server.key), client_ca=theirs)
    settings = settings_for(kafka, tmp_path / "repeats", DicomSettings(port=0))
    settings = replace(settings, dicom=replace(settings.dicom, tls=tls))
    report = dose_report()
    with running(settings) as arrivals:
        assert arrivals.service is not None
        listener = arrivals.service._listener
        assert listener is not None and listener.tls_port is not None
        # Who connects and says nothing hinders nobody.
        with socket.create_connection(("127.0.0.1", listener.tls_port)):
            context = ssl.create_default_context(cafile=theirs)
            ae: Any = AE(ae_title="CT1")
            ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
            ae.requested_contexts = [build_context(sr.DOSE_SR, EXPLICIT)]
            without = ae.associate("127.0.0.1", listener.tls_port, tls_args=(context, "127.0.0.1"))
            assert not without.is_established
            wait_until(lambda: ("127.0.0.1", "tls_handshake") in refused(arrivals), "the audit record")
            context.load_cert_chain(client.certificate, client.key)
            association = ae.associate("127.0.0.1", listener.tls_port, tls_args=(context, "127.0.0.1"))
            assert association.is_established
            assert association.send_c_store(dcmread(BytesIO(sr.part10(report)))).Status == 0x0000
            association.release()
    assert len(arrivals.published(Topic.STUDY, Study, report.SOPInstanceUID)) == 1


def test_a_renewed_certificate_holds_after_a_hangup_signal_and_a_broken_one_does_not(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    first, second = authority.sign("first"), authority.sign("second")
    pem, key = tmp_path / "server.pem", tmp_path / "server.key"

    def put(certificate: Path, its_key: Path) -> None:
        shutil.copyfile(certificate, pem)
        shutil.copyfile(its_key, key)

    def shown(port: int) -> str:
        """Whose certificate a new connection sees."""
        context = ssl.create_default_context(cafile=str(authority.certificate))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as peer,
        ):
            return identity(peer.getpeercert() or {})[0]

    put(first.certificate, first.key)
    config = '[dicom.tls]\nport = 0\ncertificate = "server.pem"\nkey = "server.key"\n'
    settings = settings_for(kafka, tmp_path / "repeats", DicomSettings(port=0))
    with process(settings, tmp_path, config=config) as arrivals:
        port = int(arrivals.ready["tls_port"])
        assert shown(port) == "CN=first,O=Hospital"
        with arrivals.storer() as storer:
            put(second.certificate, first.key)
            os.kill(arrivals.pid, signal.SIGHUP)
            wait_until(lambda: "kept as it was" in (tmp_path / "log").read_text(), "the mistake in the log")
            assert shown(port) == "CN=first,O=Hospital"
            put(second.certificate, second.key)
            os.kill(arrivals.pid, signal.SIGHUP)
            wait_until(lambda: shown(port) == "CN=second,O=Hospital", "the new certificate")
            assert storer.store(sr.part10(dose_report())) == 0x0000
    read = [one for one in audited(kafka) if one.kind == "certificate"][-3:]
    assert [one.code for one in read] == ["", "broken", ""]
    assert [one.detail.partition(",")[0] for one in read[::2]] == ["CN=first", "CN=second"]
