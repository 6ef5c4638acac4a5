"""MLLP connections: bytes to frames, answers back in order, and the limits that keep one sender from all."""

import asyncio
import logging
import time
from collections import deque
from typing import Any

from dosestream.hl7.batch import is_batch, split
from dosestream.hl7.framing import Frame, Framer, FramingError, frame
from dosestream.hl7.header import read_header
from dosestream.settings import Settings
from services.ingest.intake import Intake

log = logging.getLogger("dosestream.ingest")

SWEEP_S = 0.5
# The contract's ten seconds, less what the answer needs to get out.
ANSWER_DEADLINE_S = 9.0
# Bytes outside a frame are answered when nothing follows them for so long.
JUNK_SILENCE_S = 1.0


class Slot:
    """The place of one message in the order of answers."""

    __slots__ = ("_connection", "answers", "header_bytes", "since")

    def __init__(self, connection: "Connection", body: bytes) -> None:
        self._connection = connection
        self.since = time.monotonic()
        self.header_bytes = body
        self.answers: list[bytes] | None = None

    def answer(self, answers: list[bytes]) -> None:
        """The answers, unframed; those that come after the deadline's are dropped."""
        if self.answers is None:
            self.answers = answers
            self.header_bytes = b""
            self._connection.answered()


class Connection(asyncio.Protocol):
    """One sender."""

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._framer = Framer(listener.settings.kafka.max_message_bytes)
        self._slots: deque[Slot] = deque()
        self._transport: Any = None
        self._paused = False
        self._write_paused = False
        self._closing = False
        self._peer = ""
        self._heard_at = time.monotonic()
        self._frame_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        address = transport.get_extra_info("peername") or ("", 0)
        self._peer = f"{address[0]}:{address[1]}"
        if not self._listener.admit(self):
            log.warning("%s: refused: there are as many connections as allowed", self._peer)
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard_at = time.monotonic()
        was_inside = self._framer.inside
        for piece in self._framer.feed(data):
            was_inside = False
            if isinstance(piece, Frame):
                self._take(piece.body)
            else:
                self._take_error(piece)
        if self._framer.inside and not was_inside:
            self._frame_since = self._heard_at
        self._pace()

    def eof_received(self) -> bool:
        self._close_when_answered()
        return True  # the other half stays open until everything is answered

    def connection_lost(self, exc: Exception | None) -> None:
        for error in self._framer.end():
            self._listener.intake.take_error(error, self._peer, None)
        self._listener.forget(self)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._pace()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._pace()

    def answered(self) -> None:
        """Write what is answered, up to the first message that is not."""
        out = []
        while self._slots and (answers := self._slots[0].answers) is not None:
            self._slots.popleft()
            out += [frame(answer) for answer in answers]
        if out and not self._transport.is_closing():
            self._transport.write(b"".join(out))
        if self._closing and not self._slots:
            self._transport.close()
        elif self._paused:
            self._pace()

    def sweep(self, now: float) -> None:
        """Deadlines: of answers, of frames, of bytes that are no frame, of idle connections; room again."""
        intake, mllp = self._listener.intake, self._listener.settings.mllp
        for slot in list(self._slots):
            if slot.answers is None and now - slot.since > ANSWER_DEADLINE_S:
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
            self._pace()

    def drain(self) -> None:
        """Read nothing more; close when everything is answered."""
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._close_when_answered()

    def _take(self, body: bytes) -> None:
        for message in split(body) if is_batch(body) else (body,):
            slot = Slot(self, message)
            self._slots.append(slot)
            self._listener.intake.take(message, self._peer, slot.answer)

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

    def _pace(self) -> None:
        """Stop reading while this connection, or all together, have too much under way."""
        mllp = self._listener.settings.mllp
        full = (
            len(self._slots) >= mllp.in_flight_per_connection
            or self._write_paused
            or self._listener.intake.under_way >= mllp.in_flight
        )
        if self._closing or self._transport.is_closing() or full == self._paused:
            return
        self._paused = full
        if full:
            self._transport.pause_reading()
        else:
            # The frame's deadline counts the sender's time, not ours.
            self._frame_since = time.monotonic()
            self._transport.resume_reading()


class Listener:
    """The listening socket and its connections."""

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self.settings = settings
        self.intake = intake
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self) -> tuple[str, int]:
        """Listen; the address, with the port the system chose where 0 was asked for.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        mllp = self.settings.mllp
        self._server = await loop.create_server(
            lambda: Connection(self), mllp.host, mllp.port, backlog=1024, reuse_address=True
        )
        self._sweeper = loop.create_task(self._sweep())
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def close(self, timeout_s: float) -> None:
        """Accept and read nothing more, answer what was read, then close every connection."""
        assert self._server is not None
        assert self._sweeper is not None
        self._server.close()
        for connection in list(self._connections):
            connection.drain()
        deadline = time.monotonic() + timeout_s
        while (self._connections or self.intake.under_way) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self._sweeper.cancel()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for another connection."""
        if len(self._connections) >= self.settings.mllp.max_connections:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is over."""
        self._connections.discard(connection)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for connection in list(self._connections):
                connection.sweep(now)
