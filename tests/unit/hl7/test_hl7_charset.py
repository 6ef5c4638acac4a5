"""Character sets of MSH-18: every one to the text its bytes stand for, or a reason; nothing in between."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosestream.hl7.batch import split
from dosestream.hl7.charset import CODECS, Reading, Undecodable, decode
from dosestream.hl7.charset import reading as reading_of
from dosestream.hl7.escapes import unescape
from dosestream.hl7.header import read_header
from dosestream.hl7.reader import Message, read


def message(name: bytes, charset: bytes = b"", delimiters: bytes = b"|^~\\&") -> bytes:
    between = delimiters[:1]
    fields = (b"MSH", delimiters[1:], *b"A B C D 20260301".split(), b"", b"ADT", b"7", b"P", b"2.5")
    msh = between.join((*fields, *[b""] * 5, charset))
    pid = between.join((b"PID", b"", b"", b"1", b"", name, b"", b"19800102"))
    return msh + b"\r" + pid + b"\r"


def name_of(body: bytes, default: str = "") -> str | Undecodable:
    """PID-5 as read, and PID-7 must be where it belongs."""
    header = read_header(body)
    assert header is not None
    found = read(body, header, default)
    if isinstance(found, Undecodable):
        return found
    pid = found.first("PID")
    assert pid is not None
    assert pid.field(7) == "19800102"
    return pid.field(5)


def iso(text: str) -> bytes:
    """Text in ISO-2022-JP as Python writes it: ASCII at the end of every piece."""
    return "^".join(text.split("^")).encode("iso2022_jp")


KANJI = "山田^太郎"
DECODED = [
    ("UTF-8 where MSH-18 is empty", "MÜLLER".encode(), b"", "", "MÜLLER"),
    ("the source's where MSH-18 is empty", "MÜLLER".encode("latin-1"), b"", "8859/1", "MÜLLER"),
    ("a Japanese source's where MSH-18 is empty", iso(KANJI), b"", "~ISO IR87", KANJI),
    ("MSH-18 wins over the source's", "MÜLLER".encode(), b"UNICODE UTF-8", "8859/1", "MÜLLER"),
    ("Latin 1", "MÜLLER".encode("latin-1"), b"8859/1", "", "MÜLLER"),
    ("Cyrillic", "Иванов".encode("iso8859-5"), b"8859/5", "", "Иванов"),
    ("Greek", "Παπας".encode("iso8859-7"), b"8859/7", "", "Παπας"),
    ("Latin 9", "Š€".encode("iso8859-15"), b"8859/15", "", "Š€"),
    ("Windows, as some say", "“Š”".encode("cp1252"), b"WINDOWS-1252", "", "“Š”"),
    ("ASCII", b"DOE", b"ASCII", "", "DOE"),
    ("the same set named twice", b"DOE", b"ASCII~ASCII", "", "DOE"),
    ("ASCII and one other set is that set", "Мир".encode("iso8859-5"), b"ASCII~8859/5", "", "Мир"),
    ("the first set, where nothing switches", "é".encode("latin-1"), b"8859/1~8859/5", "", "é"),
    ("Chinese, whose bytes hold delimiters", "乗亅^丂".encode("gb18030"), b"GB 18030-2000", "", "乗亅^丂"),
    ("traditional Chinese, whose bytes hold delimiters", "功^許蓋".encode("big5"), b"BIG-5", "", "功^許蓋"),
    ("Korean", "김^희중".encode("euc_kr"), b"KS X 1001", "", "김^희중"),
    ("Korean announced by ESC, as in DICOM", b"\x1b$)C" + "김".encode("euc_kr"), b"ASCII~KS X 1001", "", "김"),
    ("kanji", iso(KANJI), b"ISO IR6~ISO IR87", "", KANJI),
    ("kanji with ASCII left out", iso(KANJI), b"~ISO IR87", "", KANJI),
    ("kanji under its one name", iso(KANJI), b"ISO IR87", "", KANJI),
    ("kanji under the name of the standard", iso(KANJI), b"JIS X 0202", "", KANJI),
    ("rare kanji", "丂乗".encode("iso2022_jp_2"), b"ISO IR6~ISO IR87~ISO IR159", "", "丂乗"),
    ("katakana of one byte", "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis"), b"ISO IR14~ISO IR87", "", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    ("katakana of one byte by ESC", "ﾔﾏﾀﾞ".encode("iso2022_jp_ext"), b"ISO IR6~ISO IR14", "", "ﾔﾏﾀﾞ"),
    ("back to JIS Roman instead of ASCII", b"\x1b$B;3ED\x1b(J^X~Y", b"ISO IR6~ISO IR87", "", "山田^X~Y"),
    ("a numeral that only Windows has", b"\x1b$B-!\x1b(B", b"ISO IR6~ISO IR87", "", "①"),
    ("kanji that never goes back: the field's end does", b"\x1b$B;3ED", b"ISO IR6~ISO IR87", "", "山田"),
    ("kanji that never goes back: the repetition's end does", b"\x1b$B;3ED~X", b"~ISO IR87", "", "山田~X"),
    ("HL7's own spelling of the escapes", rb"\M2442\;3ED\C2842\^X", b"ISO IR6~ISO IR87", "", "山田^X"),
    ("a switch between two 8-bit sets", b"\xe9^\x1b-L\xbc", b"8859/1~8859/5", "", "é^М"),
    ("HL7's spelling of such a switch", rb"\C2D4C\ " + b"\xbc", b"8859/1~8859/5", "", " М"),
    ("an escape that names no set stays as sent", rb"\C9999\X", b"ISO IR6~ISO IR87", "", r"\C9999\X"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "declared", "default", "expected"), [c[1:] for c in DECODED], ids=[c[0] for c in DECODED]
)
def test_a_name_in_its_character_set(name: bytes, declared: bytes, default: str, expected: str) -> None:
    assert name_of(message(name, declared), default) == expected


UNDECODABLE = [
    ("bytes that are no UTF-8", "MÜLLER".encode("latin-1"), b""),
    ("bytes that are no ASCII", "MÜLLER".encode(), b"ASCII"),
    ("a byte that Latin/Greek leaves undefined", b"\xff", b"8859/7"),
    ("a set nobody lists", b"DOE", b"KLINGON"),
    ("a set that Python has no codec for", b"DOE", b"CNS 11643-1992"),
    ("UTF-16 cannot be framed", b"DOE", b"UNICODE"),
    ("UTF-8 and Japanese escapes at once", b"DOE", b"UNICODE UTF-8~ISO IR87"),
    ("high bytes where no set has any", b"\xe9", b"ISO IR6~ISO IR87"),
    ("kanji the table does not have", b"\x1b$B/~\x1b(B", b"ISO IR6~ISO IR87"),
    ("half a kanji", b"\x1b$B;\x1b(B", b"ISO IR6~ISO IR87"),
    ("half a Korean syllable", b"\xb1", b"KS X 1001"),
    ("an escape for a set that is not read", b"\x1b$(G;3\x1b(B", b"ISO IR6~ISO IR87"),
]


@pytest.mark.parametrize(("name", "declared"), [u[1:] for u in UNDECODABLE], ids=[u[0] for u in UNDECODABLE])
def test_undecodable_is_a_value_that_says_why(name: bytes, declared: bytes) -> None:
    found = name_of(message(name, declared))
    assert isinstance(found, Undecodable)
    assert found.reason.isascii()
    assert "DOE" not in found.reason


HEX = [
    ("in the set of MSH-18", b"8859/1", r"M\XDC\LLER", "MÜLLER"),
    ("in UTF-8", b"UNICODE UTF-8", r"M\XC39C\LLER", "MÜLLER"),
    ("in UTF-8 where MSH-18 is empty", b"", r"M\XC39C\LLER", "MÜLLER"),
    ("in Cyrillic", b"8859/5", r"\XBCD8E0\ ", "Мир "),
    ("in Japanese, escape sequences included", b"ISO IR6~ISO IR87", r"\X1B24423B3345441B2842\ ", "山田 "),
    ("in Chinese", b"GB 18030-2000", r"\XC0EE\ ", "李 "),
    ("a carriage return stays one", b"8859/1", r"a\X0D\b", "a\rb"),
    ("bytes the set does not have stay", b"8859/7", r"\XFF\ ", r"\XFF\ "),
    ("an escaped mark is no mark", b"8859/1", r"\E\XE9\E\ ", r"\XE9\ "),
]


@pytest.mark.parametrize(("declared", "sent", "meant"), [h[1:] for h in HEX], ids=[h[0] for h in HEX])
def test_hex_bytes_are_text_of_the_messages_character_set(declared: bytes, sent: str, meant: str) -> None:
    found = name_of(message(sent.encode(), declared))
    assert isinstance(found, str)
    assert unescape(found) == meant


def test_own_delimiters_may_be_bytes_of_kanji() -> None:
    body = message(iso("山田!太郎"), b"ISO IR6@ISO IR87", b"#!@%*")
    assert name_of(body) == "山田!太郎"


def test_every_name_of_the_table_is_read() -> None:
    for name in CODECS:
        assert isinstance(reading_of(name), Reading)
        assert name_of(message(b"DOE", name.encode())) == "DOE"


def test_a_file_in_utf16_holds_messages_in_utf8() -> None:
    text = message("MÜLLER^山".encode(), b"UNICODE").decode().replace("\r", "\r\n")
    for data in (text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-16-be")):
        (body,) = split(data)
        assert b"|UNICODE UTF-8\r" in body
        assert name_of(body) == "MÜLLER^山"


def japanese(text: str) -> bool:
    try:
        return text.encode("iso2022_jp_2").decode("iso2022_jp_2") == text and "\x1b" not in text
    except UnicodeEncodeError:
        return False


WIDE = st.characters(min_codepoint=0x3041, max_codepoint=0x9FA0).filter(japanese)
NAME = st.text(WIDE | st.sampled_from("ABCxyz 019"), min_size=1, max_size=8)


@settings(deadline=None)
@given(st.lists(st.lists(NAME, min_size=1, max_size=3), min_size=1, max_size=3))
def test_japanese_agrees_with_pythons_decoder_whatever_the_bytes_look_like(names: list[list[str]]) -> None:
    field = "~".join("^".join(name) for name in names)
    # Python goes back to ASCII before each delimiter, as HL7 asks.
    body = message(field.encode("iso2022_jp_2"), b"ISO IR6~ISO IR87~ISO IR159")
    assert name_of(body) == field


@settings(deadline=None)
@given(
    st.binary(max_size=60), st.sampled_from([*(n.encode() for n in CODECS), b"~ISO IR87", b"8859/1~8859/2"])
)
def test_no_bytes_raise_and_none_become_a_replacement_character(name: bytes, declared: bytes) -> None:
    body = message(name.replace(b"\r", b"").replace(b"\n", b""), declared)
    header = read_header(body)
    assert header is not None
    text = decode(body, header)
    if isinstance(text, str) and "\ufffd" in text:
        # Only where the sender wrote one.
        assert b"\xef\xbf\xbd" in body or b"\x84\x31\xa4\x37" in body


def test_the_japanese_samples_agree_with_pythons_decoder(test_data: Path) -> None:
    kanji = 0
    for path in sorted((test_data / "hl7" / "mesa").glob("*2xx-j*.hl7")):
        for body in split(path.read_bytes()):
            header = read_header(body)
            assert header is not None
            ours = read(body, header)
            assert isinstance(ours, Message)
            assert [segment.line for segment in ours] == body.decode("iso2022_jp").rstrip("\r").split("\r")
            text = re.sub(r"\s", "", "".join(segment.line for segment in ours))
            kanji += sum(unicodedata.name(letter).startswith("CJK UNIFIED") for letter in text)
    assert kanji > 200
