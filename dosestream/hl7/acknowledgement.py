"""Acknowledgements (HL7 v2.5.1 section 2.9, segments MSA and ERR): which are due, and their bytes.

Version, delimiters and character set follow the sender, so what is echoed is copied byte for byte.
"""

from functools import lru_cache

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

# MSH is echoed up to here.
ECHOED = 18
# What is echoed of a sender's MSH is kept for its next message where it is no longer than this.
CACHED_BYTES = 512


def codes(header: Header | None, refusal: Refusal | None) -> tuple[str, ...]:
    """The acknowledgement codes due for a message, in the order they are sent (table 0008).

    Original mode (MSH-15 and MSH-16 both empty): AA, AE or AR. Enhanced mode (either valued): CA, CE or CR
    as MSH-15 asks (empty or unknown: always), then, where MSH-16 asks for it, the application's AA; a refusal
    is told once. Acknowledgements are never acknowledged.
    """
    second = "A" if refusal is None else str(refusal.severity)
    if header is None:
        return ("A" + second,)
    fields = header.fields
    # MSH-9, 15 and 16.
    asked = (fields[8], *fields[14:16]) if len(fields) >= ECHOED else tuple(map(header.field, (9, 15, 16)))
    decide = _codes if sum(map(len, asked)) <= CACHED_BYTES else _codes.__wrapped__
    return decide(asked, header.delimiters, second)


@lru_cache(maxsize=1024)
def _codes(asked: tuple[bytes, ...], delimiters: Delimiters, second: str) -> tuple[str, ...]:
    """The same, from MSH-9, 15 and 16 as sent and the second letter of the code: alike in a sender's messages."""
    refused = second != "A"
    fields = Header((b"", *asked), delimiters)
    kind, accept, application = map(fields.word, (2, 3, 4))
    if kind in NEVER_ANSWERED:
        return ()
    if not accept and not application:
        return ("A" + second,)
    told = _TOLD[not refused]
    due = []
    if accept not in _CONDITIONS or accept in told:
        due.append("C" + second)
    if application in told and not (due and refused):
        due.append("A" + second)
    return tuple(due)


def acknowledge(header: Header | None, code: str, refusal: Refusal | None, made_at: int) -> bytes:
    """One acknowledgement, without its MLLP frame.

    `made_at` (microseconds since 1970 UTC, unique) becomes MSH-7 and, with the code, MSH-10.
    """
    fields = header.fields if header is not None else ()
    if len(fields) < ECHOED:
        fields += (b"",) * (ECHOED - len(fields))
    delimiters = header.delimiters if header is not None else STANDARD
    separator = delimiters.field.encode()
    msh_9 = fields[8] if header is not None else b""
    sent = separator.join((*fields[1:6], msh_9, fields[10], fields[11], fields[17]))
    # A sender's headers are all alike but for time and control id; one that is not does not fill the memory.
    template = _template if len(sent) <= CACHED_BYTES else _template.__wrapped__
    head, middle, tail = template(separator, sent, delimiters, code)
    seconds, micros = divmod(made_at, 1_000_000)
    answer = b"%b%b.%03d+0000%b%d%b%b" % (
        *(head, _second(seconds), micros // 1000),
        *(middle, made_at, tail, fields[9]),
    )
    if refusal is None:
        return answer + b"\r"
    if (fields[11] or DEFAULT_VERSION) >= b"2.5":
        err = _err(refusal, delimiters)
    else:
        answer += separator + _text(refusal.reason, delimiters)
        err = _err_before_2_5(refusal, delimiters)
    return answer + b"\r" + separator.join(err) + b"\r"


@lru_cache(maxsize=1024)
def _template(separator: bytes, sent: bytes, delimiters: Delimiters, code: str) -> tuple[bytes, bytes, bytes]:
    """What of an acknowledgement a sender's messages share: the bytes before MSH-7, those between it and the
    number in MSH-10, and those from there to MSA-2. `sent` is MSH-2 to 6, 9, 11, 12 and 18 as sent.
    """
    encoding, application, facility, our_application, our_facility, kind, processing, version, charset = (
        sent.split(separator)
    )
    event = _event(kind, delimiters)
    said = delimiters.component.join(["ACK", event, "ACK"]) if event.isalnum() and event.isascii() else "ACK"
    head = [b"MSH", encoding or b"^~\\&", our_application, our_facility, application, facility, b""]
    tail = [b"", processing or b"P", version or DEFAULT_VERSION, *([b""] * 5 + [charset] if charset else [])]
    return (
        separator.join(head),
        separator.join([b"", b"", said.encode(), code.encode()]),
        separator.join(tail) + b"\r" + separator.join([b"MSA", code.encode(), b""]),
    )


def _event(kind: bytes, delimiters: Delimiters) -> str:
    """MSH-9.2 as a word."""
    parts = kind.split(delimiters.repetition.encode(), 1)[0].split(delimiters.component.encode(), 2)
    return parts[1].decode("latin-1").strip() if len(parts) > 1 else ""


@lru_cache(maxsize=64)
def _second(second: int) -> bytes:
    """`YYYYMMDDHHMMSS`."""
    return from_micros(second * 1_000_000)[:14].encode()


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
