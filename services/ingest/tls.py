"""TLS over asyncio: who is at the other side, and the handshake of one connection."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Final

from dosestream.admission import Peer, address_of
from dosestream.tls import HANDSHAKE_S, identity, words

SHUTDOWN_TIMEOUT_S: Final = 5.0
BACKLOG: Final = 1024
PAUSE_S: Final = 0.1
# A connection that is closed so is reset.
RESET: Final = struct.pack("ii", 1, 0)


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


class TlsServer:
    """A listening socket whose connections are looked at before a byte is read, and then speak TLS."""

    def __init__(
        self,
        *,
        context: Callable[[], ssl.SSLContext],
        welcomes: Callable[[str], bool],
        made: Callable[[], asyncio.Protocol],
        failed: Callable[[str, str], None],
        gives: Callable[[int], bool],
        changed: Callable[[], None],
    ) -> None:
        """Asks and tells its owner as connections come.

        Args:
            context: of the next handshake.
            welcomes: whether a connection from this host is taken.
            made: the protocol of a connection whose handshake ended well.
            failed: hears host and reason where it did not.
            gives: whether a connection, a descriptor, went to another process.
            changed: hears that `under_way` is another.
        """
        self._context = context
        self._welcomes = welcomes
        self._made = made
        self._failed = failed
        self._gives = gives
        self._changed = changed
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
            if self._gives(connection.fileno()):
                connection.close()
            else:
                self._begin(connection, str(address[0]))

    def take(self, connection: socket.socket) -> None:
        """A connection that another process accepted."""
        try:
            host = str(connection.getpeername()[0])
        except OSError:
            # It is gone already.
            connection.close()
            return
        self._begin(connection, host)

    def _begin(self, connection: socket.socket, host: str) -> None:
        if not self._welcomes(host):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
            return
        task = asyncio.get_running_loop().create_task(self._shake(connection, host))
        self._shaking.add(task)
        task.add_done_callback(self._shaken)
        self._changed()

    def _shaken(self, task: asyncio.Task[None]) -> None:
        self._shaking.discard(task)
        self._changed()

    async def _shake(self, connection: socket.socket, host: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._made,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
            )
        except OSError as error:
            self._failed(host, words(error))
