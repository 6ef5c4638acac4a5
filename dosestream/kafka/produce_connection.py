"""A connection to one broker that carries produce requests, on an event loop.

aiokafka opens it, with TLS and SASL; then its transport is ours, so that an answer needs no task and no stream.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aiokafka.conn import create_conn

from dosestream.kafka.outgoing import Batch
from dosestream.kafka.produce import Answer, answers, request

CLIENT: Final = "dosestream"
# A frame's length, and the correlation id that it begins with.
SIZE, CORRELATION = 4, 4
LARGEST_ANSWER: Final = 16 << 20

Answered = Callable[[list[Answer]], None]
Lost = Callable[["ProduceConnection", str], None]


class Sent(NamedTuple):
    """A request without an answer, and when it was sent, by the loop's clock."""

    correlation: int
    batches: list[Batch]
    at: float


class ProduceConnection(asyncio.Protocol):
    """Requests are answered in their order. `lost` is called once, when there is no connection any more; what was
    not answered is in `unanswered`.
    """

    def __init__(self, opened: Any, loop: asyncio.AbstractEventLoop, answered: Answered, lost: Lost) -> None:
        """Takes over what `create_conn` opened."""
        self._opened = opened
        self._loop = loop
        self._answered = answered
        self._lost: Lost | None = lost
        self._correlation = 0
        self._held = b""
        self.unanswered: deque[Sent] = deque()
        self._transport: asyncio.Transport = opened._writer.transport
        self._transport.set_protocol(self)
        # Between requests nothing else tells that a network is gone.
        if (connected := self._transport.get_extra_info("socket")) is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def send(self, batches: list[Batch], timeout_ms: int) -> None:
        """One request; the broker may take `timeout_ms` for all replicas."""
        self._correlation = (self._correlation + 1) & 0x7FFFFFFF
        self.unanswered.append(Sent(self._correlation, batches, self._loop.time()))
        # Where it is about to end, `lost` is about to be called.
        if not self._transport.is_closing():
            self._transport.writelines(request(self._correlation, CLIENT, timeout_ms, batches))

    def close(self, reason: str) -> None:
        """End it at once."""
        self._transport.abort()
        self._end(reason)

    def data_received(self, data: bytes) -> None:
        """Part of the answers, or several."""
        held = self._held + data if self._held else data
        at = 0
        while len(held) - at >= SIZE:
            size = int.from_bytes(held[at : at + SIZE], "big")
            if size > LARGEST_ANSWER:
                self.close("it sends what is no answer")
                return
            end = at + SIZE + size
            if end > len(held):
                break
            if not self._take(held[at + SIZE : end]):
                self.close("it sends what is no answer")
                return
            at = end
        self._held = held[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        """The broker, or the network, ended it."""
        self._end(type(exc).__name__ if exc is not None else "it closed the connection")

    def _take(self, frame: bytes) -> bool:
        if not self.unanswered:
            return False
        sent = self.unanswered[0]
        if int.from_bytes(frame[:CORRELATION], "big") != sent.correlation:
            return False
        try:
            found = list(answers(frame))
        except ValueError:
            return False
        # An answer that leaves a batch out would leave its partition waiting for ever.
        if len(found) != len(sent.batches) or {one.place for one in found} != {b.place for b in sent.batches}:
            return False
        self.unanswered.popleft()
        self._answered(found)
        return True

    def _end(self, reason: str) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            self._opened.close()
            lost(self, reason)


async def open_connection(
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    timeout_ms: int,
    access: dict[str, Any],
    answered: Answered,
    lost: Lost,
) -> ProduceConnection:
    """Connect, and say who we are; `access` is what aiokafka's client takes.

    Raises:
        KafkaError: it is no broker, or does not let us in.
        OSError, TimeoutError: nobody answers.
    """
    opened = await create_conn(host, port, client_id=CLIENT, request_timeout_ms=timeout_ms, **access)
    return ProduceConnection(opened, loop, answered, lost)
