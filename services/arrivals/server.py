"""The listening socket: allow-listed addresses, TLS off the accepting thread, many callers at once."""

import logging
import ssl
from collections.abc import Callable
from typing import Any, Final

from pynetdicom.transport import ThreadedAssociationServer

from dosestream.settings import Settings
from dosestream.tls import HANDSHAKE_S, words
from services.arrivals.admission import may_connect

log = logging.getLogger("dosestream.arrivals")

# Why a connection or an association is refused, in the audit trail.
ADDRESS_NOT_ALLOWED: Final = "address_not_allowed"
TLS_HANDSHAKE: Final = "tls_handshake"
ASSOCIATION_REJECTED: Final = "association_rejected"


class SharedContexts(list[Any]):
    """Presentation contexts that nobody changes: pynetdicom copies them deeply for each association, 40 ms each."""

    def __deepcopy__(self, memo: object) -> "SharedContexts":
        return self


class Server(ThreadedAssociationServer):  # type: ignore[misc]
    """pynetdicom's server. Set before it serves: `settings`; `tls`, which gives the context of each new connection;
    `refused`, which hears host, code and detail.
    """

    settings: Settings
    tls: Callable[[], ssl.SSLContext] | None = None
    refused: Callable[[str, str, str], None]
    request_queue_size = 128
    # A scanner's connection must not keep the process from ending.
    daemon_threads = True

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        if may_connect(self.settings, client_address[0]):
            return True
        log.warning("%s: connection refused: its address is not allowed (dicom.allow)", client_address[0])
        self.refused(client_address[0], ADDRESS_NOT_ALLOWED, "")
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        if self.tls is not None:
            try:
                request.settimeout(HANDSHAKE_S)
                request = self.tls().wrap_socket(request, server_side=True)
            except OSError as error:
                reason = words(error)
                log.warning("%s: no TLS: %s", client_address[0], reason)
                self.refused(client_address[0], TLS_HANDSHAKE, reason)
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        log.warning("%s: the connection failed before it was an association", client_address[0])
