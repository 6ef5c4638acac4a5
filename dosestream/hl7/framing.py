"""MLLP as a state machine over bytes (HL7 minimal lower layer protocol, releases 1 and 2): no I/O, no clock.

`<VT> message <FS> <CR>`. A frame ends at FS; the CR behind it is not waited for. What is no frame is not
lost in silence: it comes out as a `FramingError` with its bytes. Release 2 adds two blocks of one byte, which
say that a message is stored, or is not.

The machine is the table `TRANSITIONS`; it takes runs of one kind of bytes at a time, so a packet costs the
same whatever came before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

VT = b"\x0b"
FS = b"\x1c"
CR = b"\r"

# The commit acknowledgement blocks of release 2 hold one of these bytes and nothing else.
COMMIT_ACK = b"\x06"
COMMIT_NAK = b"\x15"

# Between frames these say nothing: the CR that ends a frame, what some senders add, and keep-alive bytes.
_FILLING = b"\r\n\0\t "

# How much of a frame that is too large is kept, for its MSH and for a person to look at.
HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """One message, without its block characters."""

    body: bytes


@dataclass(frozen=True, slots=True)
class FramingError:
    """Bytes that are no frame.

    Attributes:
        code: junk (outside a frame), frame_restart (a start byte inside a frame), too_large, truncated.
        reason: one sentence.
        body: the bytes, of a frame that is too large its head.
        answered: whether the sender waits for an answer at this place.
    """

    code: str
    reason: str
    body: bytes
    answered: bool = False


def frame(message: bytes) -> bytes:
    """The message in its frame."""
    return VT + message + FS + CR


class State(Enum):
    """Where the machine stands between two runs of bytes."""

    BETWEEN = auto()  # outside a frame, nothing held
    JUNK = auto()  # outside a frame, bytes held that are none
    INSIDE = auto()  # in a frame
    OVERSIZE = auto()  # in a frame that is already too large; only its head is held


class Run(Enum):
    """What a run of bytes is, where it stands."""

    START = auto()  # VT
    END = auto()  # FS, inside a frame; outside it is OTHER
    FILLING = auto()  # bytes that say nothing between frames
    OTHER = auto()
    EXCESS = auto()  # inside a frame, with more than the cap allows


Pieces = list["Frame | FramingError"]


class Framer:
    """Frames out of one connection's bytes, however they are cut.

    Attributes:
        max_bytes: a frame may hold so many bytes; a larger one becomes a `too_large` error at its end.
        size: bytes of the frame that has begun.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self._head_bytes = min(HEAD_BYTES, max_bytes)
        self._state = State.BETWEEN
        self._held = bytearray()

    @property
    def inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._state is State.INSIDE or self._state is State.OVERSIZE

    @property
    def holds_junk(self) -> bool:
        """Whether bytes outside a frame wait for what follows them."""
        return self._state is State.JUNK

    def feed(self, data: bytes) -> Pieces:
        """Take bytes as they come; what they complete, in order."""
        out: Pieces = []
        position, end = 0, len(data)
        while position < end:
            if self._state is State.BETWEEN and data.startswith(VT, position):
                # The way of nearly every message: a whole frame in one packet is cut out of it.
                stop = data.find(FS, position + 1)
                if 0 <= stop <= position + 1 + self.max_bytes and data.find(VT, position + 1, stop) < 0:
                    out.append(Frame(data[position + 1 : stop]))
                    position = stop + 2 if data.startswith(CR, stop + 1) else stop + 1
                    continue
            run, stop = self._run(data, position, end)
            act, self._state = TRANSITIONS[self._state, run]
            act(self, data[position:stop], out)
            position = stop
        return out

    def end(self) -> list[FramingError]:
        """The connection is over: what was not complete."""
        out = self.flush_junk()
        if self.inside:
            size = self.size
            reason = f"The frame ended after {size} bytes without its end."
            out.append(FramingError("truncated", reason, self._release()))
            self._state = State.BETWEEN
        return out

    def flush_junk(self, *, answered: bool = False) -> list[FramingError]:
        """What was outside frames until now, if anything."""
        if self._state is not State.JUNK:
            return []
        self._state = State.BETWEEN
        return [FramingError("junk", "Bytes outside an MLLP frame.", self._release(), answered)]

    def _run(self, data: bytes, position: int, end: int) -> tuple[Run, int]:
        """The kind of the bytes from `position`, and where they end."""
        first = data[position : position + 1]
        if first == VT:
            return Run.START, position + 1
        if self.inside:
            if first == FS:
                return Run.END, position + 1
            stop = data.find(FS, position)
            stop = stop if stop >= 0 else end
            again = data.find(VT, position, stop)
            stop = again if again >= 0 else stop
            return (Run.EXCESS if self.size + stop - position > self.max_bytes else Run.OTHER), stop
        start = data.find(VT, position)
        stop = start if start >= 0 else end
        if self._state is State.BETWEEN:
            filling = stop - position - len(data[position:stop].lstrip(_FILLING))
            if filling:
                return Run.FILLING, position + filling
        return Run.OTHER, stop

    def _release(self) -> bytes:
        held = bytes(self._held)
        self._held = bytearray()
        self.size = 0
        return held

    def _begin(self, _: bytes, out: Pieces) -> None:
        if self._held:
            out.append(FramingError("junk", "Bytes outside an MLLP frame.", self._release()))

    def _hold(self, run: bytes, out: Pieces) -> None:
        self._held += run
        if len(self._held) > HEAD_BYTES:
            out += self.flush_junk()

    def _skip(self, run: bytes, out: Pieces) -> None:
        pass

    def _take(self, run: bytes, out: Pieces) -> None:
        self._held += run
        self.size += len(run)

    def _cut(self, run: bytes, out: Pieces) -> None:
        self.size += len(run)
        self._held = (self._held + run[: self._head_bytes])[: self._head_bytes]

    def _count(self, run: bytes, out: Pieces) -> None:
        self.size += len(run)

    def _restart(self, _: bytes, out: Pieces) -> None:
        reason = f"A start byte came inside a frame, after {self.size} bytes without its end."
        out.append(FramingError("frame_restart", reason, self._release()))

    def _finish(self, _: bytes, out: Pieces) -> None:
        out.append(Frame(self._release()))

    def _refuse(self, _: bytes, out: Pieces) -> None:
        reason = f"The message has {self.size} bytes, more than the {self.max_bytes} this listener takes."
        out.append(FramingError("too_large", reason, self._release(), answered=True))


Action = Callable[[Framer, bytes, Pieces], None]

# What is done with a run of bytes, and where the machine stands after it.
TRANSITIONS: dict[tuple[State, Run], tuple[Action, State]] = {
    (State.BETWEEN, Run.START): (Framer._begin, State.INSIDE),
    (State.BETWEEN, Run.FILLING): (Framer._skip, State.BETWEEN),
    (State.BETWEEN, Run.OTHER): (Framer._hold, State.JUNK),
    (State.JUNK, Run.START): (Framer._begin, State.INSIDE),
    (State.JUNK, Run.OTHER): (Framer._hold, State.JUNK),
    (State.INSIDE, Run.START): (Framer._restart, State.INSIDE),
    (State.INSIDE, Run.END): (Framer._finish, State.BETWEEN),
    (State.INSIDE, Run.OTHER): (Framer._take, State.INSIDE),
    (State.INSIDE, Run.EXCESS): (Framer._cut, State.OVERSIZE),
    (State.OVERSIZE, Run.START): (Framer._restart, State.INSIDE),
    (State.OVERSIZE, Run.END): (Framer._refuse, State.BETWEEN),
    (State.OVERSIZE, Run.OTHER): (Framer._count, State.OVERSIZE),
    (State.OVERSIZE, Run.EXCESS): (Framer._count, State.OVERSIZE),
}
