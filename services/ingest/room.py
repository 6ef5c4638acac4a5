"""Room for what is under way: how much is taken from the wire before answers have gone out."""

from typing import Protocol

from dosestream.settings import Settings

# A frame may grow so far without asking; beyond it, it needs one of the places for large frames.
LARGE_FRAME = 256 * 1024
# After the limit was met, reading begins again when so much of it is free.
FREED = 0.75


class Load(Protocol):
    """What is between receipt and answer."""

    under_way: int
    bytes_under_way: int


class Paced(Protocol):
    """A connection that reads while there is room."""

    def pace(self) -> None:
        """Look again whether to read."""


class Room:
    """Limits over all connections: messages and bytes under way, and large frames that are still growing.

    So memory stays bounded when Kafka slows, and when many senders send something large at once: reading
    stops, and TCP pushes back.
    """

    def __init__(self, settings: Settings, load: Load) -> None:
        self._load = load
        self._messages = settings.mllp.in_flight
        self._bytes = settings.mllp.in_flight_mib * 1024 * 1024
        self._places = max(1, self._bytes // settings.kafka.max_message_bytes)
        self._growing: set[Paced] = set()
        # In the order in which they came to wait.
        self._waiting: dict[Paced, None] = {}

    def has(self, connection: Paced) -> bool:
        """Whether another message may be read; if not, the connection is paced again when one may."""
        if self._load.under_way < self._messages and self._load.bytes_under_way < self._bytes:
            return True
        self._waiting[connection] = None
        return False

    def may_grow(self, connection: Paced, size: int) -> bool:
        """Whether the connection's frame, of `size` bytes so far, may grow further."""
        if size <= LARGE_FRAME:
            if self._growing:
                self._growing.discard(connection)
            return True
        if connection in self._growing:
            return True
        if len(self._growing) >= self._places:
            self._waiting[connection] = None
            return False
        self._growing.add(connection)
        return True

    def leave(self, connection: Paced) -> None:
        """The connection is over."""
        self._growing.discard(connection)
        self._waiting.pop(connection, None)
        self.made()

    def made(self) -> None:
        """Something was answered, or a place left: let those read that waited for it."""
        if not self._waiting:
            return
        load = self._load
        if load.under_way > FREED * self._messages or load.bytes_under_way > FREED * self._bytes:
            return
        waiting, self._waiting = self._waiting, {}
        for connection in waiting:
            connection.pace()
