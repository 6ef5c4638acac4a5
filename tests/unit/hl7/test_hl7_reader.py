"""The reader: delimiters, segment ends, batches."""

import pytest

from dosestream.hl7.batch import is_batch, split
from dosestream.hl7.charset import Undecodable
from dosestream.hl7.header import read_header
from dosestream.hl7.reader import Message, read


def reading(body: bytes, default_charset: str = "") -> Message | Undecodable:
    header = read_header(body)
    assert header is not None
    return read(body, header, default_charset)


def names(body: bytes, default_charset: str = "") -> str:
    found = reading(body, default_charset)
    assert isinstance(found, Message)
    pid = found.first("PID")
    assert pid is not None
    return pid.field(5)


def message(name: bytes, charset: bytes = b"", end: bytes = b"\r") -> bytes:
    msh = b"MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5||||||" + charset
    return end.join([msh, b"PID|||1||" + name, b""])


UNUSABLE = [
    ("nothing", b""),
    ("no MSH", b"PID|1||2"),
    ("MSH alone", b"MSH"),
    ("no encoding characters", b"MSH|"),
    ("letters as delimiters", b"MSHAbcdeA"),
    ("a letter among the encoding characters", b"MSH|^~\\x|A"),
    ("the same delimiter twice", b"MSH|^^\\&|A"),
    ("too many encoding characters", b"MSH|^~\\&#!|A"),
    ("control characters as delimiters", b"MSH\x01\x02\x03\x04\x05\x01A"),
]


@pytest.mark.parametrize("body", [u[1] for u in UNUSABLE], ids=[u[0] for u in UNUSABLE])
def test_no_usable_msh(body: bytes) -> None:
    assert read_header(body) is None


@pytest.mark.parametrize(
    "end", [b"\r", b"\n", b"\r\n"], ids=["segments end in CR", "segments end in LF", "segments end in CRLF"]
)
def test_segment_ends(end: bytes) -> None:
    assert names(message(b"DOE^JOHN", end=end)) == "DOE^JOHN"


def test_a_byte_order_mark_is_passed_over() -> None:
    assert names(b"\xef\xbb\xbf" + message("MÜLLER".encode())) == "MÜLLER"


def test_own_delimiters_are_taken_from_msh() -> None:
    body = b"MSH#!@%*#A#B#C#D#20260301##ADT!A01#7#P#2.5\rPID#1##1!!!H##DOE!J\r"
    header = read_header(body)
    assert header is not None
    assert header.message_type == "ADT^A01"
    assert names(body) == "DOE!J"


def test_fewer_encoding_characters_are_read() -> None:
    body = b"MSH|^~|A|B|C|D|20260301||ADT^A01|7|P|2.1\rPID|||1||DOE^J&K\\\r"
    assert names(body) == "DOE^J&K\\"


def test_a_segment_name_is_what_stands_before_the_separator() -> None:
    found = reading(b"MSH|^~\\&|A|B\rPIDX|||1\rPV|2\rPID|||3\rPID\r")
    assert isinstance(found, Message)
    assert [segment.name for segment in found] == ["MSH", "PIDX", "PV", "PID", "PID"]
    pid = found.first("PID")
    assert pid is not None
    assert pid.field(3) == "3"


BATCHES = [
    ("one message", b"MSH|^~\\&|1\rPID|1\r", [b"MSH|^~\\&|1\rPID|1\r"]),
    ("two messages with LF and a blank line", b"MSH|1\nPID|1\n\nMSH|2\n", [b"MSH|1\rPID|1\r", b"MSH|2\r"]),
    ("CRLF and a byte-order mark", b"\xef\xbb\xbfMSH|1\r\nPID|1\r\n", [b"MSH|1\rPID|1\r"]),
    ("framed messages", b"\x0bMSH|1\r\x1c\r\x0bMSH|2\r\x1c\r", [b"MSH|1\r", b"MSH|2\r"]),
    (
        "a batch with headers and trailers",
        b"FHS|^~\\&\rBHS|^~\\&\rMSH|1\rPID|1\rMSH|2\rBTS|2\rFTS|1\r",
        [b"MSH|1\rPID|1\r", b"MSH|2\r"],
    ),
    ("a batch of nothing", b"BHS|^~\\&\rBTS|0\r", []),
    ("no message", b"hello\n", []),
]


@pytest.mark.parametrize(("data", "expected"), [b[1:] for b in BATCHES], ids=[b[0] for b in BATCHES])
def test_several_messages_in_one_piece(data: bytes, expected: list[bytes]) -> None:
    assert split(data) == expected
    assert is_batch(data) is data.startswith((b"FHS", b"BHS"))
