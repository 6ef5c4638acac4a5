"""ISO 2022 text (HL7 v2.5.1 sections 2.7.2 and 2.15.9.18): escape sequences say in which set the next bytes are.

Bytes of a two-byte set look like delimiters, so a message is decoded before it is split. G0 holds the bytes below
128, G1 those above. At the end of a segment both are again what the message began with; so is G0 at a delimiter that
can begin no character of the two-byte set in force.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dosestream.hl7.header import Delimiters


@dataclass(frozen=True, slots=True)
class Charset:
    """One set of ISO 2022.

    Attributes:
        width: bytes a character.
        last: the highest first byte of a character, bit 8 clear.
        decode: whole characters as bytes with bit 8 clear to text; raises UnicodeDecodeError.
    """

    width: int
    last: int
    decode: Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class State:
    """What G0 and G1 hold; G1 may hold nothing."""

    g0: Charset
    g1: Charset | None = None


def _high(codec: str) -> Callable[[bytes], str]:
    def decode(low: bytes) -> str:
        return bytes(byte | 0x80 for byte in low).decode(codec)

    return decode


def _jis_x_0212(low: bytes) -> str:
    pairs = (bytes((0x8F, low[i] | 0x80, low[i + 1] | 0x80)) for i in range(0, len(low), 2))
    return b"".join(pairs).decode("euc_jp")


def _jis_x_0208(low: bytes) -> str:
    """The standard's characters, and those that Windows has in rows the standard leaves empty (NEC row 13)."""
    try:
        return bytes(byte | 0x80 for byte in low).decode("euc_jp")
    except UnicodeDecodeError:
        return b"".join(_shifted(low[i], low[i + 1]) for i in range(0, len(low), 2)).decode("cp932")


def _shifted(lead: int, trail: int) -> bytes:
    """A character of JIS X 0208 in Shift JIS (JIS X 0208 annex 1)."""
    row, cell = lead - 0x21, trail - 0x21
    first = 0x81 + row // 2
    second = 0x9F + cell if row % 2 else 0x40 + cell + (cell >= 63)
    return bytes((first + 0x40 if first > 0x9F else first, second))


# JIS X 0201's Roman half is read as ASCII: yen and overline stand where HL7 has `\` and `~`.
ASCII = Charset(1, 0x7E, lambda low: low.decode("ascii"))
KATAKANA = Charset(1, 0x5F, _high("shift_jis"))
JIS_X_0208 = Charset(2, 0x74, _jis_x_0208)
JIS_X_0212 = Charset(2, 0x6D, _jis_x_0212)
GB_2312 = Charset(2, 0x77, _high("gb2312"))
KS_X_1001 = Charset(2, 0x7D, _high("euc_kr"))
LATIN: Mapping[int, Charset] = {
    part: Charset(1, 0x7F, _high(f"iso8859-{part}")) for part in (*range(1, 12), 13, 14, 15)
}

# What stands behind ESC (ISO-IR, the international register of coded character sets): the set that goes into G0 ...
INTO_G0: Mapping[bytes, Charset] = {
    b"(B": ASCII,
    b"(J": ASCII,
    b"(I": KATAKANA,
    b"$@": JIS_X_0208,
    b"$B": JIS_X_0208,
    b"$(B": JIS_X_0208,
    b"$(D": JIS_X_0212,
    b"$A": GB_2312,
    b"$(A": GB_2312,
    b"$(C": KS_X_1001,
}
# ... and into G1.
INTO_G1: Mapping[bytes, Charset] = {
    b")I": KATAKANA,
    b"$)B": JIS_X_0208,
    b"$)D": JIS_X_0212,
    b"$)A": GB_2312,
    b"$)C": KS_X_1001,
    b"-A": LATIN[1],
    b"-B": LATIN[2],
    b"-C": LATIN[3],
    b"-D": LATIN[4],
    b"-L": LATIN[5],
    b"-G": LATIN[6],
    b"-F": LATIN[7],
    b"-H": LATIN[8],
    b"-M": LATIN[9],
    b"-V": LATIN[10],
    b"-T": LATIN[11],
    b"-Y": LATIN[13],
    b"-_": LATIN[14],
    b"-b": LATIN[15],
}

_ESCAPE = rb"\x1b([\x20-\x2f]+[\x30-\x7e])"
_REAL = re.compile(_ESCAPE)


def decode(body: bytes, begin: State, delimiters: Delimiters) -> str:
    """The text of a message that begins in a state.

    HL7's own spelling of the sequences, `\\C2842\\` and `\\M2442\\`, means the same as ESC ( B and ESC $ B.

    Raises:
        UnicodeDecodeError: bytes that the set in force does not have; `start` counts from the body's beginning.
    """
    mark = re.escape(delimiters.escape.encode("latin-1"))
    either = re.compile(
        _ESCAPE + b"|" + mark + rb"(?:C((?:[0-9A-Fa-f]{2}){2})|M((?:[0-9A-Fa-f]{2}){2,3}))" + mark
    )
    reader = _Reader(body, begin, _bytes_of(delimiters))
    position, state, by_escape = 0, begin, False
    while True:
        # Inside a two-byte text that ESC began, HL7's spelling is two characters and a half.
        pattern = _REAL if by_escape and state.g0.width > 1 else either
        match = pattern.search(body, position)
        state = reader.run(position, match.start() if match else len(body), state)
        if match is None:
            return "".join(reader.out)
        spelt = next((group for group in match.groups()[1:] if group), None)
        sequence = bytes.fromhex(spelt.decode()) if spelt is not None else match[1]
        if sequence in INTO_G0:
            state, by_escape = State(INTO_G0[sequence], state.g1), spelt is None
        elif sequence in INTO_G1:
            state = State(state.g0, INTO_G1[sequence])
        elif spelt is None:
            raise UnicodeDecodeError("iso-2022", body, match.start(), match.end(), "an unknown set")
        else:
            reader.out.append(match[0].decode("ascii"))
        position = match.end()


def _bytes_of(marks: Delimiters) -> frozenset[int]:
    return frozenset(
        map(ord, (marks.field, marks.component, marks.repetition, marks.escape, marks.subcomponent))
    )


class _Reader:
    """Decodes runs without escape sequences into `out`."""

    def __init__(self, body: bytes, begin: State, delimiters: frozenset[int]) -> None:
        self.body = body
        self.begin = begin
        self.delimiters = delimiters
        self.out: list[str] = []

    def run(self, start: int, end: int, state: State) -> State:
        """Decode `body[start:end]`; returns the state at its end."""
        body, position = self.body, start
        while position < end:
            if state.g0 is ASCII and state.g1 is None and state == self.begin:
                self._emit(ASCII, position, end)
                return state
            byte = body[position]
            if byte in b"\r\n":
                state = self.begin
                self.out.append(chr(byte))
                position += 1
            elif byte <= 0x20 or byte == 0x7F:
                self.out.append(chr(byte))
                position += 1
            elif byte >= 0x80:
                stop = next((at for at in range(position, end) if body[at] < 0x80), end)
                if state.g1 is None or (stop - position) % state.g1.width:
                    raise UnicodeDecodeError("iso-2022", body, position, stop, "no character of the set")
                self._emit(state.g1, position, stop)
                position = stop
            elif byte > state.g0.last and byte in self.delimiters:
                state = State(self.begin.g0, state.g1)
            else:
                stop = self._characters(position, end, state.g0)
                self._emit(state.g0, position, stop)
                position = stop
        return state

    def _characters(self, position: int, end: int, charset: Charset) -> int:
        """Where the characters of G0 that begin here end: at a byte that begins none."""
        body, width = self.body, charset.width
        start = position
        while position < end and 0x20 < body[position] <= charset.last:
            if width == 2 and (position + 1 >= end or not 0x20 < body[position + 1] < 0x7F):
                raise UnicodeDecodeError("iso-2022", body, position, position + 1, "half a character")
            position += width
        if position == start:
            raise UnicodeDecodeError("iso-2022", body, position, position + 1, "no character of the set")
        return position

    def _emit(self, charset: Charset, start: int, end: int) -> None:
        found = self.body[start:end]
        try:
            self.out.append(charset.decode(found if charset is ASCII else bytes(b & 0x7F for b in found)))
        except UnicodeDecodeError as error:
            at = start + error.start
            raise UnicodeDecodeError("iso-2022", self.body, at, at + 1, error.reason) from None
