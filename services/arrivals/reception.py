"""How bytes of an association come in: bounded per PDU and per message, pixel data dropped on the way.

pynetdicom gathers a message's data set in memory before anybody sees it. Here each fragment goes through a
header stream, so that an instance of any size costs its header.
"""

import logging
import socket
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA

from dosestream.dose.header_stream import HeaderStream
from dosestream.dose.part10 import IMPLICIT_VR_LITTLE_ENDIAN

log = logging.getLogger("dosestream.arrivals")

# Announced to peers (PS3.8 D.1); an association request may be longer than a P-DATA PDU.
MAX_PDU: Final = 128 * 1024
LONGEST_PDU: Final = 1024 * 1024
# A PDU that was begun, and the next one of a message, must come within this.
STALLED_S: Final = 60.0


class Gathered(BytesIO):
    """The data set of a message on its way in; `stream` holds what is kept of it."""

    def __init__(self, stream: HeaderStream) -> None:
        super().__init__()
        self.stream = stream

    def write(self, piece: Any) -> int:
        self.stream.feed(piece)
        return len(piece)


class Reception(DIMSEServiceProvider):  # type: ignore[misc]
    """Stands in for an association's DIMSE provider.

    Args:
        association: whose messages these are.
        cap: bytes kept of a data set at most.
        stalled_s: how long the next PDU of a message may take.
    """

    def __init__(self, association: Any, cap: int, stalled_s: float = STALLED_S) -> None:
        super().__init__(association)
        self._cap = cap
        self._stalled_s = stalled_s
        self._waiting_since: float | None = None

    @property
    def is_stalled(self) -> bool:
        """Whether a message was begun and does not go on."""
        since = self._waiting_since
        return since is not None and time.monotonic() - since > self._stalled_s

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the fragments of one P-DATA PDU (PS3.8 annex E); called on the association's network thread."""
        try:
            for fragment in primitive.presentation_data_value_list:
                one = P_DATA()
                one.presentation_data_value_list.append(fragment)
                super().receive_primitive(one)
                message = self._current()
                if message is not None and type(message.data_set) is BytesIO:
                    self._gather(message)
        except Exception as error:  # it would end the thread, and leave the association hanging
            log.warning("a message that is no DIMSE message (%s): association aborted", type(error).__name__)
            self.message = None
            self.dul.event_queue.put("Evt19")
        self._waiting_since = None if self._current() is None else time.monotonic()

    def _current(self) -> Any:
        """The message that is not yet complete, if any."""
        return self.message

    def _gather(self, message: Any) -> None:
        """Once the command is known its data set goes through a header stream."""
        command = getattr(message, "command_set", None)
        if not message.context_id or not command:
            return
        context = self.assoc._accepted_cx.get(message.context_id)
        syntax = str(context.transfer_syntax[0]) if context else IMPLICIT_VR_LITTLE_ENDIAN
        is_store = isinstance(message, C_STORE_RQ)
        sop_class = str(command.get("AffectedSOPClassUID", "")) if is_store else ""
        message.data_set = Gathered(HeaderStream(sop_class, syntax, self._cap, whole=not is_store))


def bounded(connection: socket.socket, stalled_s: float = STALLED_S) -> Callable[[int], bytearray]:
    """Reads whole PDUs from a socket; what pynetdicom's own does, but no PDU without end in length or time.

    What is returned raises OSError where the PDU is too long or too slow, and returns less than asked for at the
    connection's end.
    """
    connection.settimeout(stalled_s)

    def receive(length: int) -> bytearray:
        if length > LONGEST_PDU:
            raise ConnectionAbortedError(f"a PDU of {length} bytes: {LONGEST_PDU} are taken")
        buffer = bytearray(length)
        view, read, until = memoryview(buffer), 0, time.monotonic() + stalled_s
        while read < length:
            if time.monotonic() > until:
                raise TimeoutError("a PDU was begun and not finished")
            count = connection.recv_into(view[read:])
            if not count:
                return bytearray(view[:read])
            read += count
        return buffer

    return receive
