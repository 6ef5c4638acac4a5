"""MSH read from the bytes, before the character set is known: enough to route, to decode and to answer."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"

# Bytes outside a frame may hold the byte that ends one; echoed, it would end the frame of their answer.
FRAME_END = b"\x1c"

_UTF_16 = (
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"M\0S\0H\0", "utf-16-le"),
    (b"\0M\0S\0H", "utf-16-be"),
)

# Stands for a delimiter that MSH-2 leaves out; it cannot occur in a message.
ABSENT = "\0"


class Delimiters(NamedTuple):
    """MSH-1 and MSH-2: field, component, repetition, escape, subcomponent."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


STANDARD = Delimiters()


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of MSH as bytes; `fields[0]` is `MSH`, `fields[1]` is MSH-2."""

    fields: tuple[bytes, ...]
    delimiters: Delimiters

    def field(self, number: int) -> bytes:
        """MSH-`number` as sent, from MSH-2 on; empty where absent."""
        return self.fields[number - 1] if number <= len(self.fields) else b""

    def component(self, number: int, component: int) -> bytes:
        """MSH-`number`.`component` of the first repetition; empty where absent."""
        value = self.field(number)
        if not value:
            return value
        if value.isalnum():  # no delimiter is a letter or digit
            return value if component == 1 else b""
        value = value.split(self.delimiters.repetition.encode(), 1)[0]
        parts = value.split(self.delimiters.component.encode(), component)
        return parts[component - 1] if component <= len(parts) else b""

    def word(self, number: int, component: int = 1) -> str:
        """A component that should be plain ASCII, such as a code; other bytes read as ISO 8859-1."""
        value = self.field(number)
        if not value:
            return ""
        if len(value) > WORD_BYTES:
            return self.component(number, component).decode("latin-1").strip()
        return _word(value, component, self.delimiters)

    def party(self, number: int) -> str:
        """MSH-3..6 (HD): namespace id, else universal id."""
        return self.word(number, 1) or self.word(number, 2)

    @property
    def message_type(self) -> str:
        """MSH-9 as `CODE^EVENT`; empty where MSH-9 is."""
        value = self.field(9)
        if len(value) > WORD_BYTES:
            return _message_type.__wrapped__(value, self.delimiters)
        return _message_type(value, self.delimiters)


# Fields as long as this are read anew each time; what a sender repeats in every message is shorter.
WORD_BYTES = 64


@lru_cache(maxsize=2048)
def _word(value: bytes, component: int, delimiters: Delimiters) -> str:
    return Header((b"MSH", value), delimiters).component(2, component).decode("latin-1").strip()


@lru_cache(maxsize=512)
def _message_type(value: bytes, delimiters: Delimiters) -> str:
    header = Header((b"MSH", value), delimiters)
    code, event = header.word(2, 1), header.word(2, 2)
    return f"{code}^{event}" if event else code


def strip_mark(body: bytes) -> bytes:
    """The message without a byte-order mark or line ends before MSH."""
    if body.startswith(BOM):
        body = body[len(BOM) :]
    return body if body.startswith(b"MSH") else body.lstrip(b"\r\n")


def in_utf16(body: bytes) -> str:
    """The codec of a message in UTF-16, by its mark or its first letters; empty where it is in none."""
    return next((codec for begins, codec in _UTF_16 if body.startswith(begins)), "")


def read_header(body: bytes) -> Header | None:
    """MSH of a message (HL7 v2.5.1 section 2.15.9); None where the message begins with no usable one."""
    body = strip_mark(body)
    # Nothing in UTF-16 can be read on the wire, but its sender should hear which message that was.
    if not body.startswith(b"MSH") and (codec := in_utf16(body)):
        body = strip_mark(body.decode(codec, "replace").encode())
    if not body.startswith(b"MSH") or len(body) < 5:
        return None
    end = body.find(b"\r")
    line = body if end < 0 else body[:end]
    end = line.find(b"\n")
    line = line if end < 0 else line[:end]
    if FRAME_END in line:
        line = line.replace(FRAME_END, b" ")
    fields = line.split(line[3:4]) if line[3:4] else [line]
    delimiters = _delimiters(line[3:4], fields[1][:6] if len(fields) > 1 else b"")
    return Header(tuple(fields), delimiters) if delimiters is not None else None


@lru_cache(maxsize=256)
def _delimiters(separator_byte: bytes, encoding_bytes: bytes) -> Delimiters | None:
    """MSH-1 and MSH-2 as delimiters; None where they are none."""
    separator, encoding = separator_byte.decode("latin-1"), encoding_bytes.decode("latin-1")
    if not _is_delimiter(separator) or not 1 <= len(encoding) <= 5:
        return None
    if not all(map(_is_delimiter, encoding)) or len(set(separator + encoding)) <= len(encoding):
        return None
    # The fifth, from 2.7 on, is the truncation character: it marks nothing that is split here.
    component, repetition, escape, subcomponent = list((encoding + ABSENT * 4)[:4])
    return Delimiters(separator, component, repetition, escape, subcomponent)


def _is_delimiter(character: str) -> bool:
    return " " < character < "\x7f" and not character.isalnum()
