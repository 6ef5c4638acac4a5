"""Acknowledgements (HL7 v2.5.1 section 2.9, segments MSA and ERR): which are due, and their bytes.

Version, delimiters and character set follow the sender, so what is echoed is copied byte for byte.
"""

from dosestream.hl7.acceptance import NEVER_ANSWERED, Refusal
from dosestream.hl7.escapes import escape
from dosestream.hl7.header import ABSENT, STANDARD, Delimiters, Header
from dosestream.hl7.path import Path, PathError
from dosestream.hl7.tables import ERRORS
from dosestream.hl7.times import from_micros

# Accept and application acknowledgement conditions (table 0155) under which a good or a bad result is told.
_TOLD = {True: frozenset({"AL", "SU"}), False: frozenset({"AL", "ER"})}
_CONDITIONS = frozenset({"AL", "NE", "ER", "SU"})

DEFAULT_VERSION = b"2.5.1"


def codes(header: Header | None, refusal: Refusal | None) -> tuple[str, ...]:
    """The acknowledgement codes due for a message, in the order they are sent (table 0008).

    Original mode (MSH-15 and MSH-16 both empty): AA, AE or AR. Enhanced mode (either valued): CA, CE or CR
    as MSH-15 asks (empty or unknown: always), then, where MSH-16 asks for it, the application's AA; a refusal
    is told once. Acknowledgements are never acknowledged.
    """
    second = "A" if refusal is None else str(refusal.severity)
    if header is None:
        return ("A" + second,)
    if header.word(9, 1) in NEVER_ANSWERED:
        return ()
    accept, application = header.word(15), header.word(16)
    if not accept and not application:
        return ("A" + second,)
    told = _TOLD[refusal is None]
    due = []
    if accept not in _CONDITIONS or accept in told:
        due.append("C" + second)
    if application in told and not (due and refusal is not None):
        due.append("A" + second)
    return tuple(due)


def acknowledge(header: Header | None, code: str, refusal: Refusal | None, made_at: int) -> bytes:
    """One acknowledgement, without its MLLP frame.

    `made_at` (microseconds since 1970 UTC, unique) becomes MSH-7 and, with the code, MSH-10.
    """
    delimiters = header.delimiters if header is not None else STANDARD
    separator = delimiters.field.encode()
    version = (header.field(12) if header is not None else b"") or DEFAULT_VERSION
    event = header.word(9, 2) if header is not None else ""
    kind = delimiters.component.join(["ACK", event, "ACK"]) if event.isalnum() and event.isascii() else "ACK"

    def echo(number: int) -> bytes:
        return header.field(number) if header is not None else b""

    encoding = echo(2) or b"^~\\&"
    msh = [
        *(b"MSH", encoding, echo(5), echo(6), echo(3), echo(4)),
        *(from_micros(made_at).encode(), b"", kind.encode(), f"{code}{made_at}".encode()),
        *(echo(11) or b"P", version),
    ]
    if charset := echo(18):
        msh += [b"", b"", b"", b"", b"", charset]
    msa = [b"MSA", code.encode(), echo(10)]
    segments = [msh, msa]
    if refusal is not None:
        modern = version >= b"2.5"
        if not modern:
            msa.append(_text(refusal.reason, delimiters))
        segments.append(_err(refusal, delimiters) if modern else _err_before_2_5(refusal, delimiters))
    return b"".join(separator.join(segment) + b"\r" for segment in segments)


def _err(refusal: Refusal, delimiters: Delimiters) -> list[bytes]:
    """ERR-2 location, ERR-3 code, ERR-4 severity, ERR-8 message for the user."""
    code = delimiters.component.join([str(refusal.error), ERRORS[refusal.error], "HL70357"]).encode()
    location = delimiters.component.join(_location(refusal.location)).encode()
    text = _text(refusal.reason, delimiters)
    return [b"ERR", b"", location, code, b"E", b"", b"", b"", text]


def _err_before_2_5(refusal: Refusal, delimiters: Delimiters) -> list[bytes]:
    """ERR-1: segment, sequence, field, code."""
    between = delimiters.subcomponent if delimiters.subcomponent != ABSENT else " "
    code = between.join([str(refusal.error), ERRORS[refusal.error], "HL70357"])
    location = [*_location(refusal.location), "", "", ""][:3]
    return [b"ERR", delimiters.component.join([*location, code]).encode()]


def _location(text: str) -> list[str]:
    """SEG-F.C as segment, sequence, field, repetition, component (ERL)."""
    try:
        path = Path.parse(text)
    except PathError:
        return [text, "1"] if text else []
    where = [path.segment, "1", str(path.field)]
    if path.component:
        where += [str(path.repetition), str(path.component)]
    return where


def _text(text: str, delimiters: Delimiters) -> bytes:
    if delimiters.escape == ABSENT:
        for delimiter in (delimiters.field, delimiters.component, delimiters.repetition):
            text = text.replace(delimiter, " ")
    else:
        text = escape(text, delimiters)
    return text.encode("ascii", "replace")
