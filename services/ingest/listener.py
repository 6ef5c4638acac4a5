"""MLLP connections: bytes to frames, answers back in order, and the limits that keep one sender from all."""

import asyncio
import logging
import socket
import time
from collections import deque
from typing import Any

from dosestream.admission import Peer, address_of
from dosestream.hl7.batch import is_batch, read_batch
from dosestream.hl7.framing import COMMIT_ACK, COMMIT_NAK, Frame, Framer, FramingError, frame
from dosestream.hl7.header import read_header
from dosestream.settings import Settings
from dosestream.tls import Certificates
from services.ingest.admission import Refusals, Why
from services.ingest.gathering import Gathering
from services.ingest.intake import Intake
from services.ingest.room import Room
from services.ingest.tls import TlsServer, host_of, peer_of

log = logging.getLogger("dosestream.ingest")

SWEEP_S = 0.5
# The contract's ten seconds, less what the answer needs to get out.
ANSWER_DEADLINE_S = 9.0
# Bytes outside a frame are answered when nothing follows them for so long.
JUNK_SILENCE_S = 1.0

# How a connection speaks that one worker gives to another.
PLAIN, TLS = b"p", b"t"

# A peer that vanished without a word: asked after a minute of silence, given up a minute later.
KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 120_000}


REASONS = {
    Why.ADDRESS: "their address is neither in mllp.allow nor in a source's peers",
    Why.FULL: "there are as many as mllp.max_connections allows",
    Why.TLS: "the TLS handshake failed; the last one's reason",
}


class Slot:
    """The place of one message in the order of answers."""

    __slots__ = ("_connection", "header_bytes", "out", "since")

    def __init__(self, connection: "Connection", body: bytes) -> None:
        self._connection = connection
        self.since = time.monotonic()
        self.header_bytes = body
        self.out: bytes | None = None

    def answer(self, answers: list[bytes], stored: bool) -> bool:
        """The answers, unframed; those that come after the deadline's are dropped. Whether they were not."""
        if self.out is not None:
            return False
        self.header_bytes = b""
        self.out = self._connection.framed(answers, stored)
        self._connection.answered()
        return True


class Connection(asyncio.Protocol):
    """One sender."""

    def __init__(self, listener: "Listener", *, given: bool = False) -> None:
        """`given`: by another worker, which accepted it."""
        self._listener = listener
        self._given = given
        self._room = listener.room
        self._framer = Framer(listener.settings.kafka.max_message_bytes)
        self._two_phase = listener.settings.mllp.release == 2
        self._slots: deque[Slot] = deque()
        self._transport: Any = None
        self._paused = False
        self._write_paused = False
        self._closing = False
        self._peer = Peer("", None, "mllp")
        self._admitted = False
        self._heard_at = time.monotonic()
        self._frame_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._peer = peer_of(transport)
        if self._given:
            self._listener.taken()
        elif self._peer.transport == "mllp" and self._listener.gives(PLAIN, descriptor(transport)):
            self._transport.abort()
            return
        # Behind a handshake it was asked before.
        if self._peer.transport == "mllp" and not self._listener.welcomes(host_of(transport)[0]):
            self._transport.abort()
            return
        self._admitted = True
        self._listener.admit(self)
        self._listener.intake.audit.opened(self._peer)
        keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._heard_at = time.monotonic()
        framer = self._framer
        was_inside = framer.inside
        for piece in framer.feed(data):
            was_inside = False
            if isinstance(piece, Frame):
                self._take(piece.body)
            else:
                self._take_error(piece)
        if framer.inside and not was_inside:
            self._frame_since = self._heard_at
        self.pace()

    def eof_received(self) -> bool:
        self._close_when_answered()
        # The other half stays open until everything is answered; TLS here knows no half.
        return self._peer.transport == "mllp"

    def connection_lost(self, exc: Exception | None) -> None:
        for error in self._framer.end():
            self._listener.intake.take_error(error, self._peer, None)
        if self._admitted:
            self._listener.intake.audit.closed(self._peer)
        self._listener.forget(self)

    def pause_writing(self) -> None:
        self._write_paused = True
        self.pace()

    def resume_writing(self) -> None:
        self._write_paused = False
        self.pace()

    def framed(self, answers: list[bytes], stored: bool) -> bytes:
        """The answers in their frames; in release 2 the commit block goes first, and a message that is not
        stored has nothing else.
        """
        if self._two_phase:
            answers = [COMMIT_ACK, *answers] if stored else [COMMIT_NAK]
        return b"".join(map(frame, answers))

    def answered(self) -> None:
        """Write what is answered, up to the first message that is not."""
        slots, closed = self._slots, self._transport.is_closing()
        while slots and (out := slots[0].out) is not None:
            slots.popleft()
            if out and not closed:
                self._transport.write(out)
        if self._closing and not slots:
            self._transport.close()
        elif self._paused:
            self.pace()
        self._room.made()

    def sweep(self, now: float) -> None:
        """Deadlines: of answers, of frames, of bytes that are no frame, of idle connections; room again."""
        intake, mllp = self._listener.intake, self._listener.settings.mllp
        for slot in list(self._slots):
            if slot.out is None and now - slot.since > ANSWER_DEADLINE_S:
                intake.refuse(read_header(slot.header_bytes), slot.answer)
        if self._framer.holds_junk and now - self._heard_at > JUNK_SILENCE_S:
            for error in self._framer.flush_junk(answered=True):
                self._take_error(error)
        if self._framer.inside and not self._paused and now - self._frame_since > mllp.frame_timeout_s:
            for error in self._framer.end():
                reason = f"The frame was not complete after {mllp.frame_timeout_s} seconds."
                self._take_error(FramingError("frame_timeout", reason, error.body, answered=True))
            self._close_when_answered()
        elif not self._slots and now - self._heard_at > mllp.idle_timeout_s:
            self._transport.close()
        if self._paused:
            self.pace()

    def drain(self) -> None:
        """Read nothing more; close when everything is answered."""
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._close_when_answered()

    def pace(self) -> None:
        """Stop reading while this connection, or all together, have too much under way."""
        if self._closing or self._transport.is_closing():
            return
        room = self._room
        full = (
            len(self._slots) >= self._listener.settings.mllp.in_flight_per_connection
            or self._write_paused
            or not room.has(self)
            or not room.may_grow(self, self._framer.size)
        )
        if full == self._paused:
            return
        self._paused = full
        if full:
            self._transport.pause_reading()
        else:
            # The frame's deadline counts the sender's time, not ours.
            self._frame_since = time.monotonic()
            self._transport.resume_reading()

    def _take(self, body: bytes) -> None:
        if self._two_phase and body in (COMMIT_ACK, COMMIT_NAK):
            # What the peer says about an answer of ours. One that it could not keep is told again when it
            # sends its message again.
            self._listener.intake.counts["answers refused" if body == COMMIT_NAK else "answers kept"] += 1
            return
        if not is_batch(body):
            slot = Slot(self, body)
            self._slots.append(slot)
            self._listener.intake.take(body, self._peer, slot.answer)
            return
        batch = read_batch(body)
        for message in batch.messages:
            slot = Slot(self, message)
            self._slots.append(slot)
            self._listener.intake.take(message, self._peer, slot.answer)
        for mistake in batch.mistakes:
            self._take_error(FramingError("batch_count", mistake, body))

    def _take_error(self, error: FramingError) -> None:
        slot = None
        if error.answered:
            slot = Slot(self, error.body)
            self._slots.append(slot)
        self._listener.intake.take_error(error, self._peer, slot.answer if slot is not None else None)

    def _close_when_answered(self) -> None:
        self._closing = True
        if not self._slots and self._transport is not None:
            self._transport.close()


class Listener:
    """The listening sockets and their connections."""

    def __init__(self, settings: Settings, intake: Intake, gathering: Gathering) -> None:
        self.settings = settings
        self.intake = intake
        self._gathering = gathering
        self._coming: set[asyncio.Task[None]] = set()
        self.room = Room(settings, intake)
        self._connections: set[Connection] = set()
        self._tls: TlsServer | None = None
        self._refused = Refusals()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self, *, shared: bool = False) -> tuple[str, int]:
        """Listen; the address, with the port the system chose where 0 was asked for. A shared port has a
        listener in several processes.

        Raises:
            OSError: the address cannot be had.
        """
        mllp = self.settings.mllp
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self),
            mllp.host,
            mllp.port,
            backlog=1024,
            reuse_address=True,
            reuse_port=shared or None,
        )
        self._sweeper = loop.create_task(self._sweep())
        # uvloop gives a list of sockets where asyncio has a tuple.
        server: Any = self._server
        address = server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    def open_tls(self, certificates: Certificates, *, shared: bool = False) -> tuple[str, int]:
        """Listen for TLS, too; as `open`. New connections get the context that is loaded when they come."""
        mllp = self.settings.mllp

        self._tls = TlsServer(
            context=lambda: certificates.loaded.context,
            welcomes=self.welcomes,
            made=lambda: Connection(self),
            failed=lambda host, reason: self._refuse(host, Why.TLS, reason),
            gives=lambda connection: self.gives(TLS, connection),
            changed=self._count,
        )
        return self._tls.open(mllp.tls.host or mllp.host, mllp.tls.port, shared=shared)

    def gather(self) -> None:
        """Take in what other workers give from now on; both listeners are open."""
        self._gathering.open(self._come)

    async def close(self, timeout_s: float) -> None:
        """Accept and read nothing more, answer what was read, then close every connection."""
        assert self._server is not None
        assert self._sweeper is not None
        self._gathering.close()
        self._server.close()
        if self._tls is not None:
            self._tls.close()
        if self._coming:
            await asyncio.wait(self._coming)
        for connection in list(self._connections):
            connection.drain()
        deadline = time.monotonic() + timeout_s
        while (self._connections or self.intake.under_way) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self._sweeper.cancel()
        self._tell_refused(time.monotonic(), all_of_them=True)

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None and self._server.is_serving()

    def welcomes(self, host: str) -> bool:
        """Whether a connection that just came is taken: from its address, and with room for another."""
        if not self.intake.admission.admits(address_of(host)):
            self._refuse(host, Why.ADDRESS)
        elif self._held >= self.settings.mllp.max_connections:
            self._refuse(host, Why.FULL)
        else:
            return True
        return False

    def gives(self, kind: bytes, connection: int) -> bool:
        """Whether a connection that just came, a descriptor, went to another worker."""
        mllp = self.settings.mllp
        return self._gathering.gives(kind, connection, min(mllp.gather, mllp.max_connections))

    def taken(self) -> None:
        """A connection that another worker gave is counted here from now on, or is over."""
        self._gathering.taken()

    def admit(self, connection: Connection) -> None:
        """The connection is open."""
        self._connections.add(connection)
        self._count()

    def forget(self, connection: Connection) -> None:
        """The connection is over."""
        self._connections.discard(connection)
        self._count()
        self.room.leave(connection)

    @property
    def _held(self) -> int:
        """Connections, and those that will be after their handshake."""
        return len(self._connections) + (self._tls.under_way if self._tls is not None else 0)

    def _count(self) -> None:
        self._gathering.has(self._held)

    def _come(self, kind: bytes, connection: socket.socket) -> None:
        """A connection that another worker accepted."""
        connection.setblocking(False)
        if kind == TLS:
            self.taken()
            assert self._tls is not None
            self._tls.take(connection)
            return
        task = asyncio.get_running_loop().create_task(self._take_in(connection))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _take_in(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(self, given=True), connection
            )
        except OSError:
            # Its peer is gone already.
            connection.close()
            self.taken()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            self._gathering.beat()
            for connection in list(self._connections):
                connection.sweep(now)
            self._tell_refused(now)

    def _refuse(self, host: str, why: Why, detail: str = "") -> None:
        self.intake.counts["connections refused"] += 1
        self._refused.add(host, why, detail)

    def _tell_refused(self, now: float, *, all_of_them: bool = False) -> None:
        for one in self._refused.due(now, all_of_them=all_of_them):
            log.warning(
                "%d connections were refused from %s: %s%s",
                *(one.attempts, one.host, REASONS[one.why], f" ({one.detail})" if one.detail else ""),
            )
            self.intake.audit.refused(one)


def descriptor(transport: asyncio.BaseTransport) -> int:
    """Of an open connection."""
    return int(transport.get_extra_info("socket").fileno())


def keep_alive(connection: socket.socket | None) -> None:
    """Let the system find out that a peer is gone; what it does not know it keeps at its own default."""
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
