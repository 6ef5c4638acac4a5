"""TLS of a listener: its own certificate, read again when its files change, and who a peer's certificate names."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

log = logging.getLogger("dosestream.tls")

# A certificate that ends within this is told with every look at it, once a day.
WARN_BEFORE: Final = timedelta(days=30)
WARN_EVERY_S: Final = 86_400.0
# Whether the files changed is looked at so often.
LOOK_S: Final = 60.0
# What a peer has for its handshake.
HANDSHAKE_S: Final = 10.0

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


class ServerTls(Protocol):
    """The files of a listener, PEM, by whole paths, as `[mllp.tls]` and `[dicom.tls]` name them."""

    @property
    def certificate(self) -> str:
        """The certificate, followed by those between it and its authority."""

    @property
    def key(self) -> str:
        """Its key, without password; empty where it lies in the certificate's file."""

    @property
    def client_ca(self) -> str:
        """The authorities whose certificates peers may show; empty: none is asked for."""

    @property
    def peer_must_show(self) -> bool:
        """Whether a peer without a certificate is not heard; holds with `client_ca`."""


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


def load(tls: ServerTls) -> Loaded:
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
        context.load_cert_chain(tls.certificate, tls.key or None, password="")
    except OSError as error:
        raise TlsError(
            f"{tls.key or tls.certificate}: not the key of {tls.certificate}, or it has a password: {words(error)}"
        ) from error
    if tls.client_ca:
        expiries += _expiries(tls.client_ca)
        try:
            context.load_verify_locations(tls.client_ca)
        except OSError as error:
            raise TlsError(f"{tls.client_ca}: no authority's certificate: {words(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED if tls.peer_must_show else ssl.CERT_OPTIONAL
    return Loaded(context, expiries)


class Certificates:
    """The files of one listener, as they were when they were last of use. One thread reads, any may use `loaded`."""

    def __init__(self, tls: ServerTls, told: Callable[[str, str], None]) -> None:
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

    def reload(self, tls: ServerTls | None = None) -> None:
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


def marks(tls: ServerTls) -> tuple[object, ...]:
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


def identity(certificate: dict[str, Any]) -> tuple[str, frozenset[str]]:
    """Subject (RFC 4514) and names of a certificate as `ssl` gives it: CN, and DNS and URI alternatives."""
    parts = [pair for relative in certificate.get("subject", ()) for pair in relative]
    subject = ",".join(f"{SHORT.get(name, name)}={value}" for name, value in reversed(parts))
    names = [value for name, value in parts if name == "commonName"]
    names += [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "URI")]
    return subject, frozenset(name.lower() for name in names)


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


def words(error: BaseException) -> str:
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
