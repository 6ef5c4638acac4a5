"""MLLP as a state machine over bytes (HL7 minimal lower layer protocol, release 1): no I/O, no clock.

`<VT> message <FS> <CR>`. A frame ends at FS; the CR behind it is not waited for. What is no frame is not
lost in silence: it comes out as a `FramingError` with its bytes.
"""

from dataclasses import dataclass

VT = b"\x0b"
FS = b"\x1c"
CR = b"\r"

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


class Framer:
    """Frames out of one connection's bytes, however they are cut.

    Attributes:
        max_bytes: a frame may hold so many bytes; a larger one becomes a `too_large` error at its end.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._head_bytes = min(HEAD_BYTES, max_bytes)
        self._inside = False
        self._parts: list[bytes] = []
        self._size = 0
        self._junk: list[bytes] = []
        self._junk_size = 0

    @property
    def inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._inside

    @property
    def holds_junk(self) -> bool:
        """Whether bytes outside a frame wait for what follows them."""
        return self._junk_size > 0

    def feed(self, data: bytes) -> list[Frame | FramingError]:
        """Take bytes as they come; what they complete, in order."""
        out: list[Frame | FramingError] = []
        position, end = 0, len(data)
        while position < end:
            if not self._inside:
                start = data.find(VT, position)
                if start != position:
                    self._take_junk(data[position : start if start >= 0 else end], out)
                if start < 0:
                    break
                out += self.flush_junk()
                self._inside, position = True, start + 1
                continue
            stop = data.find(FS, position)
            again = data.find(VT, position, stop if stop >= 0 else end)
            if again >= 0:
                self._take(data[position:again])
                out.append(self._restart())
                position = again + 1
            elif stop >= 0:
                if self._parts or stop - position > self.max_bytes:
                    self._take(data[position:stop])
                    out.append(self._finish())
                else:
                    out.append(Frame(data[position:stop]))
                self._inside, position = False, stop + 1
            else:
                self._take(data[position:])
                break
        return out

    def end(self) -> list[FramingError]:
        """The connection is over: what was not complete."""
        out = self.flush_junk()
        if self._inside:
            out.append(
                FramingError(
                    "truncated", f"The frame ended after {self._size} bytes without its end.", self._drop()
                )
            )
            self._inside = False
        return out

    def flush_junk(self, *, answered: bool = False) -> list[FramingError]:
        """What was outside frames until now, if anything."""
        if not self._junk_size:
            return []
        body = b"".join(self._junk)
        self._junk, self._junk_size = [], 0
        return [FramingError("junk", "Bytes outside an MLLP frame.", body, answered)]

    def _take(self, piece: bytes) -> None:
        if not piece:
            return
        if self._size <= self.max_bytes < self._size + len(piece):
            self._parts = [b"".join([*self._parts, piece])[: self._head_bytes]]
        elif self._size <= self.max_bytes:
            self._parts.append(piece)
        self._size += len(piece)

    def _take_junk(self, piece: bytes, out: list[Frame | FramingError]) -> None:
        if not self._junk_size:
            piece = piece.lstrip(_FILLING)
        if piece:
            self._junk.append(piece)
            self._junk_size += len(piece)
        if self._junk_size > HEAD_BYTES:
            out += self.flush_junk()

    def _drop(self) -> bytes:
        body = b"".join(self._parts)
        self._parts, self._size = [], 0
        return body

    def _restart(self) -> FramingError:
        reason = f"A start byte came inside a frame, after {self._size} bytes without its end."
        return FramingError("frame_restart", reason, self._drop())

    def _finish(self) -> Frame | FramingError:
        size, body = self._size, self._drop()
        if size <= self.max_bytes:
            return Frame(body)
        reason = f"The message has {size} bytes, more than the {self.max_bytes} this listener takes."
        return FramingError("too_large", reason, body, answered=True)
