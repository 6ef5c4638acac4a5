"""Character sets (MSH-18, HL7 table 0211): bytes to text, or the reason why not; never replacement characters."""

import re
from dataclasses import dataclass
from functools import lru_cache

from dosestream.hl7 import iso2022
from dosestream.hl7.escapes import hex_in_utf8
from dosestream.hl7.header import Header, strip_mark
from dosestream.hl7.iso2022 import ASCII, KATAKANA, KS_X_1001, LATIN, State

_LATIN_PARTS = (*range(1, 12), 13, 14, 15)

# Names to Python's codec: HL7 table 0211, and names that some senders write. One set alone is read by its codec.
CODECS: dict[str, str] = {
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    **{f"8859/{part}": f"iso8859-{part}" for part in _LATIN_PARTS},
    **{f"ISO-8859-{part}": f"iso8859-{part}" for part in _LATIN_PARTS},
    "WINDOWS-1252": "cp1252",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    # Japanese sets are reached by escape sequences; the first bytes are ASCII.
    **dict.fromkeys(("ISO IR14", "ISO IR87", "ISO IR159", "JIS X 0202", "JAS2020"), "iso-2022"),
}

DEFAULT = "UNICODE UTF-8"

# UTF-16 holds the bytes that frame a message, and a message in it has no MSH that a byte reader could see.
UTF_16 = frozenset({"UNICODE", "UNICODE UTF-16", "UNICODE UTF-32", "UTF-16", "UTF-32"})

# What a message begins with, where it switches sets by escape sequences.
_BEGINS: dict[str, State] = {
    "ascii": State(ASCII),
    "iso-2022": State(ASCII),
    "euc_kr": State(ASCII, KS_X_1001),
    **{f"iso8859-{part}": State(ASCII, LATIN[part]) for part in _LATIN_PARTS},
}


@dataclass(frozen=True, slots=True)
class Undecodable:
    """The message cannot be read as text.

    Attributes:
        reason: one sentence, ASCII, without patient data.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """How a message's bytes are read.

    Attributes:
        name: the character sets, for a person.
        codec: Python's codec; `iso-2022` where sets are switched in any case.
        switched: what the message begins with, should it switch sets; None where its set allows none.
    """

    name: str
    codec: str
    switched: State | None = None


@lru_cache(maxsize=256)
def reading(declared: str) -> Reading | Undecodable:
    """How text is read that MSH-18 (repetitions apart by `~`) or a source's configuration says to be in these sets.

    The first repetition is what the message begins with (empty: ASCII), the others are what it may switch to.
    ASCII and one other set are that set, where it holds ASCII.
    """
    names = [name.strip().upper() or "ASCII" for name in declared.split("~")]
    for name in names:
        if name in UTF_16:
            return Undecodable(f"{name} cannot be sent over MLLP: send UNICODE UTF-8")
        if name not in CODECS:
            return Undecodable(f"{_printable(name)} is not a character set that is read: send UNICODE UTF-8")
    shown = ", ".join(dict.fromkeys(names))
    codecs = list(dict.fromkeys(CODECS[name] for name in names))
    codec = codecs[0]
    if codec == "ascii" and len(codecs) == 2:
        codec = codecs[1]
    begin = _BEGINS.get(codec)
    if "ISO IR14" in names and begin is not None and begin.g1 is None:
        begin = State(begin.g0, KATAKANA)
    if "iso-2022" in codecs:
        if begin is None:
            return Undecodable(f"{shown} cannot be mixed: send UNICODE UTF-8")
        codec = "iso-2022"
    return Reading(shown, codec, begin if len(names) > 1 or codec == "iso-2022" else None)


def decode(body: bytes, header: Header, default: str = "") -> str | Undecodable:
    """The message as text, without a byte-order mark.

    `default` is the source's character set, used where MSH-18 is empty (else UTF-8). Bytes in `\\X..\\` are text of
    the message's character set too; they become the bytes of UTF-8, whatever they were.
    """
    declared = header.field(18).decode("latin-1")
    delimiters = header.delimiters
    if delimiters.repetition != "~":
        declared = declared.replace(delimiters.repetition, "~")
    how = reading(declared if declared.strip() else default or DEFAULT)
    if isinstance(how, Undecodable):
        return how
    body = strip_mark(body)
    if not body.startswith(b"MSH"):
        return Undecodable("UTF-16 cannot be sent over MLLP: send UNICODE UTF-8")
    try:
        if how.switched is None:
            text = body.decode(how.codec)
        elif how.codec == "iso-2022" or _switches(body, delimiters.escape):
            text = iso2022.decode(body, how.switched, delimiters)
        else:
            text = body.decode(how.codec)
    except UnicodeDecodeError as error:
        return Undecodable(f"byte {error.start} is no {how.name}")
    if how.codec in ("utf-8", "ascii") or f"{delimiters.escape}X" not in text:
        return text

    def inner(data: bytes) -> str:
        if how.switched is not None:
            return iso2022.decode(data, how.switched, delimiters)
        return data.decode(how.codec)

    return hex_in_utf8(text, delimiters, inner)


def _switches(body: bytes, mark: str) -> bool:
    """Whether the message holds an escape sequence for a set: ESC, or HL7's own spelling of it."""
    escape = mark.encode("latin-1")
    return b"\x1b" in body or escape + b"C" in body or escape + b"M" in body


def _printable(name: str) -> str:
    return re.sub(r"[^ -~]", "?", name)[:40]
