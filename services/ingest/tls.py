"""TLS: the listener's own certificate, read again when its files change, and the handshake of one connection."""

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from dosestream.admission import Peer, address_of
from dosestream.settings import TlsSettings

log = logging.getLogger("dosestream.ingest")

# A certificate that ends within this is told with every look at it, once a day.
WARN_BEFORE: Final = timedelta(days=30)
WARN_EVERY_S: Final = 86_400.0
HANDSHAKE_TIMEOUT_S: Final = 10.0
SHUTDOWN_TIMEOUT_S: Final = 5.0
BACKLOG: Final = 1024
PAUSE_S: Final = 0.1
# A connection that is closed so is reset.
RESET: Final = struct.pack("ii", 1, 0)

# OpenSSL's names of the parts of a subject in the order of RFC 4514, and the short ones it writes.
SHORT: Final = {
    "commonName": "CN",
    "organizationalUnitName": "OU",
    "organizationName": "O",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "countryName": "C",
    "domainComponent": "DC",
}


class TlsError(Exception):
    """The files cannot be used; the sentence says which, and why."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a certificate of ours ends."""

    file: str
    subject: str
    ends: datetime


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read: the context of new connections, who we are, when which certificate ends."""

    context: ssl.SSLContext
    expiries: tuple[Expiry, ...]

    @property
    def told(self) -> str:
        """The listener's certificate in a few words."""
        own = self.expiries[0]
        return f"{own.subject}, until {own.ends:%Y-%m-%d %H:%M} UTC"


def load(tls: TlsSettings) -> Loaded:
    """Read the files.

    Raises:
        TlsError: one of them cannot be read or is of no use, or the key is another certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    expiries = _expiries(tls.certificate)
    try:
        # A password is given so that none is asked for on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        raise TlsError(
            f"{tls.key}: not the key of {tls.certificate}, or it has a password: {_words(error)}"
        ) from error
    if tls.client_ca:
        expiries += _expiries(tls.client_ca)
        try:
            context.load_verify_locations(tls.client_ca)
        except OSError as error:
            raise TlsError(f"{tls.client_ca}: no authority's certificate: {_words(error)}") from error
        required = tls.require_client_certificate
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return Loaded(context, expiries)


class Certificates:
    """The files of `[mllp.tls]`, as they were when they were last of use."""

    def __init__(self, tls: TlsSettings, told: Callable[[str, str], None]) -> None:
        """`told` hears of every reading: a code, empty where it holds from now on, and what it was.

        Raises:
            TlsError: the files cannot be used.
        """
        self._tls = tls
        self._told = told
        self._marks = marks(tls)
        self._warned_at: float | None = None
        self.loaded = load(tls)
        told("", self.loaded.told)

    def reload(self, tls: TlsSettings | None = None) -> None:
        """Read the files again; new connections get what they hold. Where they are of no use the old ones stay."""
        self._tls = tls or self._tls
        self._marks = marks(self._tls)
        try:
            self.loaded = load(self._tls)
        except TlsError as error:
            log.error("the TLS certificate is kept as it was: %s", error)
            self._told("broken", str(error))
            return
        self._warned_at = None
        log.info("TLS certificate: %s", self.loaded.told)
        self._told("", self.loaded.told)

    def look(self, now: float) -> None:
        """Read the files again where they changed; once a day warn of what ends soon. `now` is in seconds of
        any clock that goes on.
        """
        if marks(self._tls) != self._marks:
            self.reload()
        if self._warned_at is None or now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            for sentence in warnings(self.loaded.expiries, datetime.now(UTC)):
                log.warning("%s", sentence)


def marks(tls: TlsSettings) -> tuple[object, ...]:
    """What changes with the files."""
    return tuple(_mark(path) for path in (tls.certificate, tls.key, tls.client_ca) if path)


def warnings(expiries: tuple[Expiry, ...], at: datetime) -> list[str]:
    """A sentence for each certificate that ends soon, or has ended."""
    return [
        f"{one.file}: the certificate of {one.subject} "
        + (
            f"ends in {(one.ends - at).days} days: renew it"
            if one.ends > at
            else f"ended {one.ends:%Y-%m-%d}: renew it"
        )
        for one in expiries
        if one.ends - at < WARN_BEFORE
    ]


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """The other side of an open connection, with its certificate where it showed one that is trusted."""
    host, port = host_of(transport)
    address = address_of(host)
    if transport.get_extra_info("ssl_object") is None:
        return Peer(f"{host}:{port}", address, "mllp")
    subject, names = identity(transport.get_extra_info("peercert") or {})
    return Peer(f"{host}:{port}", address, "mllps", subject, names)


def host_of(transport: asyncio.BaseTransport) -> tuple[str, int]:
    """Host and port of the other side; empty and 0 where it is gone already."""
    address = transport.get_extra_info("peername") or ("", 0)
    return str(address[0]), int(address[1])


def identity(certificate: dict[str, Any]) -> tuple[str, frozenset[str]]:
    """Subject (RFC 4514) and names of a certificate as `ssl` gives it: CN, and DNS and URI alternatives."""
    parts = [pair for relative in certificate.get("subject", ()) for pair in relative]
    subject = ",".join(f"{SHORT.get(name, name)}={value}" for name, value in reversed(parts))
    names = [value for name, value in parts if name == "commonName"]
    names += [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "URI")]
    return subject, frozenset(name.lower() for name in names)


class TlsServer:
    """A listening socket whose connections are looked at before a byte is read, and then speak TLS."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        welcomes: Callable[[str], bool],
        made: Callable[[], asyncio.Protocol],
        failed: Callable[[str, str], None],
    ) -> None:
        """`welcomes` says of a host whether it is taken; `made` makes the protocol of a connection whose
        handshake ended well; `failed` hears host and reason where it did not.
        """
        self._context = context
        self._welcomes = welcomes
        self._made = made
        self._failed = failed
        self._shaking: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    def open(self, host: str, port: int, *, shared: bool) -> tuple[str, int]:
        """Listen; the address, with the port the system chose where 0 was asked for.

        Raises:
            OSError: the address cannot be had.
        """
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._socket = socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=shared)
        self._socket.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(self._socket))
        where = self._socket.getsockname()
        return str(where[0]), int(where[1])

    @property
    def under_way(self) -> int:
        """Handshakes that are not over."""
        return len(self._shaking)

    def close(self) -> None:
        """Accept nothing more, and give up the handshakes under way."""
        for task in (self._accepting, *self._shaking):
            if task is not None:
                task.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError:
                # Too many open files, say, or the peer is gone already: the next may do.
                await asyncio.sleep(PAUSE_S)
                continue
            host = str(address[0])
            if not self._welcomes(host):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
                continue
            task = loop.create_task(self._shake(connection, host))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake(self, connection: socket.socket, host: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._made,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
            )
        except OSError as error:
            self._failed(host, _words(error))


def _expiries(path: str) -> tuple[Expiry, ...]:
    # Imported where it is needed: it takes a while to load.
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as error:
        raise TlsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TlsError(f"{path}: no certificate in PEM") from error
    return tuple(Expiry(path, one.subject.rfc4514_string(), one.not_valid_after_utc) for one in found)


def _mark(path: str) -> object:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _words(error: BaseException) -> str:
    """OpenSSL's reason without the place in its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return "took too long"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).lower() or type(error).__name__
