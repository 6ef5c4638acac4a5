"""The book of a byte stream: every byte is in a frame, in an error, or is a delimiter or filling; none twice."""

import re

from dosestream.hl7.framing import FS, VT, Frame, FramingError

FILLING = b"\r\n\0\t "
_SIZE = re.compile(r"has (\d+) bytes|after (\d+) bytes")


def account(stream: bytes, pieces: list[Frame | FramingError]) -> None:
    """Walk through the stream along what came out of it.

    Raises:
        AssertionError: a byte is missing, doubled or out of its place.
    """
    at = 0
    for piece in pieces:
        at = _past_filling(stream, at)
        in_frame = isinstance(piece, Frame) or piece.code != "junk"
        if in_frame:
            assert stream.startswith(VT, at), f"no start byte at {at} of {piece}"
            at += 1
        assert stream.startswith(piece.body, at), f"the bytes at {at} are not those of {piece}"
        at += len(piece.body) if isinstance(piece, Frame) else _size(piece)
        if isinstance(piece, Frame) or piece.code == "too_large":
            assert stream.startswith(FS, at), f"no end byte at {at} of {piece}"
            at += 1
    assert _past_filling(stream, at) == len(stream), f"nothing told of the bytes from {at} on"


def _past_filling(stream: bytes, at: int) -> int:
    while at < len(stream) and stream[at] in FILLING:
        at += 1
    return at


def _size(error: FramingError) -> int:
    """Bytes it stands for: of a frame over the cap it holds the head only, and says how many there were."""
    found = _SIZE.search(error.reason)
    return int(found[1] or found[2]) if found else len(error.body)
