"""An MLLP client: sends HL7 messages one by one and reads their answers."""

import socket
import ssl
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from dosestream.hl7.batch import split
from dosestream.hl7.framing import Frame, Framer, frame
from dosestream.hl7.header import Header, read_header

MAX_ANSWER_BYTES = 1024 * 1024
ACCEPTED = frozenset({"AA", "CA"})
SUFFIXES = frozenset({".hl7", ".txt"})
# Answers asked for in enhanced mode; none where both fields say never.
NEVER = "NE"


class SendError(Exception):
    """The message was not answered: check that the listener runs at that address, then send it again."""


class MllpSender:
    """One connection to a listener, opened when needed and again after a failure.

    Use as a context manager: `with MllpSender(host, port) as sender: answer = sender.send(message)`.
    With `tls` it speaks TLS; the listener's certificate must be for `server_name`, else for the host.
    """

    def __init__(
        self,
        host: str,
        port: int,
        timeout_s: float = 15.0,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        self._address = (host, port)
        self._tls = tls
        self._server_name = server_name or host
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._framer = Framer(MAX_ANSWER_BYTES)
        self._answers: list[bytes] = []

    def __enter__(self) -> "MllpSender":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, message: bytes) -> bytes:
        """Send one message and wait for its answer (unframed); empty where the message asks for none.

        An answer to an earlier message, told by MSA-2, is passed over: what has no MSH is answered without MSA-2.

        Raises:
            SendError: no connection, or no answer within the timeout. The connection is given up.
        """
        header = read_header(message)
        if header is not None and header.word(15) == header.word(16) == NEVER:
            self._write(frame(message))
            return b""
        self._write(frame(message))
        deadline = time.monotonic() + self._timeout_s
        own = (b"", header.field(10) if header is not None else b"")
        while True:
            answer = self._read(deadline)
            if control_id(answer) in own:
                return answer

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._framer, self._answers = None, Framer(MAX_ANSWER_BYTES), []

    def _write(self, data: bytes) -> None:
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(data)
        except OSError as error:
            self._fail(error)

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(self._address, self._timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=self._server_name)
        except OSError:
            plain.close()
            raise

    def _read(self, deadline: float) -> bytes:
        assert self._socket is not None
        while not self._answers:
            left = deadline - time.monotonic()
            if left <= 0:
                self._fail(TimeoutError(f"no answer within {self._timeout_s:g} s"))
            try:
                self._socket.settimeout(left)
                data = self._socket.recv(65536)
            except OSError as error:
                self._fail(error)
            if not data:
                self._fail(ConnectionError("the connection was closed before the answer"))
            self._answers += [piece.body for piece in self._framer.feed(data) if isinstance(piece, Frame)]
        return self._answers.pop(0)

    def _fail(self, error: OSError) -> NoReturn:
        self.close()
        host, port = self._address
        reason = f"no answer within {self._timeout_s:g} s" if isinstance(error, TimeoutError) else error
        raise SendError(f"{host}:{port}: {reason}") from error


def tls_context(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """TLS 1.2 or newer as a client: `ca` are the authorities to trust (else the system's), `certificate` and
    `key` what to show to a listener that asks.

    Raises:
        SendError: one of the files cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        files = ", ".join(str(path) for path in (ca, certificate, key) if path is not None)
        raise SendError(f"{files}: of no use for TLS: {error.strerror or error}") from error
    return context


def code(answer: bytes) -> str:
    """MSA-1 of an answer; empty where there is none."""
    return _msa(answer, 1).decode("latin-1")


def control_id(answer: bytes) -> bytes:
    """MSA-2 of an answer; empty where there is none."""
    return _msa(answer, 2)


def send_files(
    files: Iterable[Path],
    host: str,
    port: int,
    timeout_s: float = 15.0,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
) -> int:
    """Send every message of the files (folders: their `*.hl7` and `*.txt`) over one connection.

    Prints a line per message: file, MSH-10, code. Returns 1 when a message was refused or not answered, a
    file could not be read, or there was nothing to send; else 0.
    """
    sent = refused = 0
    with MllpSender(host, port, timeout_s, tls, server_name) as sender:
        for path in _walk(files):
            try:
                data = path.read_bytes()
            except OSError as error:
                print(f"{path}: cannot be read: {error.strerror}", file=sys.stderr)
                refused += 1
                continue
            # What holds no MSH is sent as it is: the listener says what is wrong with it.
            for message in split(data) or [data]:
                sent += 1
                header = read_header(message)
                name = header.field(10).decode("latin-1") if header is not None else "-"
                try:
                    answer = sender.send(message)
                except SendError as error:
                    print(f"{path} {name} not answered: {error}", flush=True)
                    return 1
                told = code(answer) if answer else "-"
                print(f"{path} {name} {told}{_why(answer)}", flush=True)
                refused += told not in ACCEPTED and told != "-"
    if not sent and not refused:
        print("nothing to send: name files, or folders that hold *.hl7 or *.txt files", file=sys.stderr)
        return 1
    return 1 if refused else 0


def _walk(files: Iterable[Path]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        else:
            yield path


def _msa(answer: bytes, number: int) -> bytes:
    header = read_header(answer)
    for segment in answer.split(b"\r"):
        if segment.startswith(b"MSA"):
            fields = segment.split(_separator(header))
            return fields[number] if number < len(fields) else b""
    return b""


def _why(answer: bytes) -> str:
    """ERR-8, else MSA-3, of a refusal, for the person at the terminal."""
    if code(answer) in ACCEPTED or not answer:
        return ""
    header = read_header(answer)
    for segment in answer.split(b"\r"):
        fields = segment.split(_separator(header))
        if fields[0] == b"ERR" and len(fields) > 8 and fields[8]:
            return f": {fields[8].decode('latin-1')}"
    text = _msa(answer, 3).decode("latin-1")
    return f": {text}" if text else ""


def _separator(header: Header | None) -> bytes:
    return header.delimiters.field.encode() if header is not None else b"|"
