"""Several messages in one piece: batches (HL7 v2.5.1 section 2.10.3) and files as people keep them."""

import re

from dosestream.hl7.framing import FS, VT
from dosestream.hl7.header import BOM

# A message begins at a line that begins with MSH; batch headers and trailers stand for themselves.
_LINE = re.compile(rb"[^\r\n]+")
_BATCH = (b"FHS", b"BHS", b"BTS", b"FTS")


def is_batch(data: bytes) -> bool:
    """Whether the piece begins with a file or batch header."""
    return data.removeprefix(BOM).lstrip(b"\r\n")[:3] in (b"FHS", b"BHS")


def split(data: bytes) -> list[bytes]:
    """The messages of a piece, each with CR behind every segment, without batch segments and frame bytes.

    Reads what files hold: one message or several, CR, LF or CRLF line ends, blank lines between, a byte-order
    mark, MLLP frames. Lines before the first MSH are dropped.
    """
    messages: list[list[bytes]] = []
    for line in _LINE.findall(data.removeprefix(BOM).replace(VT, b"\r").replace(FS, b"\r")):
        line = line.removeprefix(BOM)
        if line.startswith(b"MSH"):
            messages.append([])
        if messages and line.strip() and line[:3] not in _BATCH:
            messages[-1].append(line)
    return [b"\r".join(lines) + b"\r" for lines in messages]
