"""Several messages in one piece: batches (HL7 v2.5.1 section 2.10.3) and files as people keep them."""

import re
from dataclasses import dataclass

from dosestream.hl7.framing import FS, VT
from dosestream.hl7.header import BOM, in_utf16

# A message begins at a line that begins with MSH; batch headers and trailers stand for themselves.
_LINE = re.compile(rb"[^\r\n]+")
_BATCH = (b"FHS", b"BHS", b"BTS", b"FTS")
# MSH-18 of a message in UTF-16: the 18th field, in a line whose separator is the fourth character.
_UNICODE = re.compile(
    r"^(MSH(.)(?:(?!\2).)*(?:\2(?:(?!\2).)*){15}\2)UNICODE(?: UTF-16)?(?=\2|$)", re.MULTILINE
)


def is_batch(data: bytes) -> bool:
    """Whether the piece begins with a file or batch header."""
    return data.removeprefix(BOM).lstrip(b"\r\n")[:3] in (b"FHS", b"BHS")


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch or a file of batches holds.

    Attributes:
        messages: each with CR behind every segment; none is legal.
        mistakes: one sentence for each trailer that counts otherwise.
    """

    messages: tuple[bytes, ...]
    mistakes: tuple[str, ...]


def read_batch(data: bytes) -> Batch:
    """The messages of a batch, and whether BTS-1 and FTS-1 say how many there are (2.15.2, 2.15.6).

    Headers and trailers may be left out; an empty count says nothing.
    """
    mistakes = []
    messages = batches = 0
    for line in _LINE.findall(data.removeprefix(BOM)):
        name, told = line[:3], line[4:].split(line[3:4] or b"|", 1)[0].strip()
        if name == b"BHS":
            messages, batches = 0, batches + 1
        elif name == b"MSH":
            messages += 1
        elif name == b"BTS" and told and told != b"%d" % messages:
            mistakes.append(f"BTS-1 does not say {messages}, which is how many messages came in the batch.")
        elif name == b"FTS" and batches and told and told != b"%d" % batches:
            mistakes.append(f"FTS-1 does not say {batches}, which is how many batches came in the file.")
    return Batch(tuple(split(data)), tuple(mistakes))


def split(data: bytes) -> list[bytes]:
    """The messages of a piece, each with CR behind every segment, without batch segments and frame bytes.

    Reads what files hold: one message or several, CR, LF or CRLF line ends, blank lines between, a byte-order
    mark, MLLP frames. Lines before the first MSH are dropped. What is in UTF-16 becomes UTF-8, which MSH-18 then
    says: no frame can hold UTF-16.
    """
    if codec := in_utf16(data):
        # A surrogate without its other half stays one: its message is then no UTF-8, and refused.
        text = data.decode(codec, "surrogatepass").replace("\r\n", "\n").replace("\r", "\n")
        data = _UNICODE.sub(r"\1UNICODE UTF-8", text).encode(errors="surrogatepass")
    messages: list[list[bytes]] = []
    for line in _LINE.findall(data.removeprefix(BOM).replace(VT, b"\r").replace(FS, b"\r")):
        line = line.removeprefix(BOM)
        if line.startswith(b"MSH"):
            messages.append([])
        if messages and line.strip() and line[:3] not in _BATCH:
            messages[-1].append(line)
    return [b"\r".join(lines) + b"\r" for lines in messages]
