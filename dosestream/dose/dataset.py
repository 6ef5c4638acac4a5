"""A lean reader of encoded DICOM data sets (PS3.5 section 7): only what dose extraction needs, in one pass.

A data set becomes a plain dict from tag to value: bytes as stored for an ordinary element, a list of data
sets for a sequence. Sequences nobody asked for are stepped over. Nothing is converted or validated here, so
an illegal VR, UID or number costs its own element at most; only bytes that end too early are an error.
"""

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final

DataSet = dict[int, "bytes | list[DataSet]"]

ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
UNDEFINED: Final = 0xFFFFFFFF
PIXEL_DATA: Final = 0x7FE00000
# Tags of this group and after it.
DELIMITERS: Final = 0xFFFE0000
# Deeper than any report; garbage must not exhaust the stack.
MAX_DEPTH: Final = 48

# PS3.5 table 7.1-1: VRs whose explicit header has two reserved bytes and a length of four.
LONG_VRS: Final = frozenset(
    vr.encode() for vr in ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]
)
SHORT_VRS: Final = frozenset(
    vr.encode()
    for vr in [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FL",
        "FD",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
)
# A wanted sequence has one of these; `b""` is implicit VR.
SEQUENCE_VRS: Final = frozenset((b"SQ", b"UN", b""))
# Of undefined length they are encapsulated fragments (an icon's pixel data), not items with elements.
FRAGMENT_VRS: Final = frozenset((b"OB", b"OW"))

# The sequences that are read; every other one is stepped over.
SEQUENCES: Final = frozenset(
    (
        0x00080051,  # Issuer of Accession Number Sequence
        0x00081032,  # Procedure Code Sequence
        0x00081115,  # Referenced Series Sequence
        0x00081199,  # Referenced SOP Sequence
        0x00082218,  # Anatomic Region Sequence
        0x00100024,  # Issuer of Patient ID Qualifiers Sequence
        0x00189301,  # CT Acquisition Type Sequence
        0x00189304,  # CT Acquisition Details Sequence
        0x00189308,  # CT Table Dynamics Sequence
        0x00189321,  # CT Exposure Sequence
        0x00189325,  # CT X-Ray Details Sequence
        0x00189346,  # CTDI Phantom Type Code Sequence
        0x00321064,  # Requested Procedure Code Sequence
        0x00400270,  # Scheduled Step Attributes Sequence
        0x00400275,  # Request Attributes Sequence
        0x0040030E,  # Exposure Dose Sequence
        0x00400340,  # Performed Series Sequence
        0x004008EA,  # Measurement Units Code Sequence
        0x0040A043,  # Concept Name Code Sequence
        0x0040A168,  # Concept Code Sequence
        0x0040A300,  # Measured Value Sequence
        0x0040A370,  # Referenced Request Sequence
        0x0040A375,  # Current Requested Procedure Evidence Sequence
        0x0040A385,  # Pertinent Other Evidence Sequence
        0x0040A504,  # Content Template Sequence
        0x0040A730,  # Content Sequence
        0x04000561,  # Original Attributes Sequence
        0x00540016,  # Radiopharmaceutical Information Sequence
        0x00540220,  # View Code Sequence
        0x00540300,  # Radionuclide Code Sequence
        0x00540302,  # Administration Route Code Sequence
        0x00540304,  # Radiopharmaceutical Code Sequence
        0x52009229,  # Shared Functional Groups Sequence
        0x52009230,  # Per-frame Functional Groups Sequence
    )
)


# Code sequences: the same few come again and again, so of those that are not large the items are kept by their bytes,
# the newest few thousand of each encoding. Nobody changes them.
CODED: Final = frozenset((0x004008EA, 0x0040A043, 0x0040A168))
MOST_CODED_BYTES: Final = 512
MOST_CODED: Final = 4096


class DataSetError(Exception):
    """Bytes that are no data set, or end before it does.

    Attributes:
        code: short and stable: truncated, unreadable.
        location: the tag being read, as (gggg,eeee); empty where there is none.
    """

    def __init__(self, code: str, reason: str, tag: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.location = tag_text(tag) if tag else ""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a data set is encoded: explicit or implicit VR, byte order."""

    explicit: bool
    big_endian: bool


IMPLICIT_LITTLE: Final = Encoding(explicit=False, big_endian=False)


@lru_cache(maxsize=1024)
def tag_text(tag: int) -> str:
    """A tag as the standard prints it: (gggg,eeee)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def read(buffer: bytes, encoding: Encoding) -> DataSet:
    """The data set of these bytes, up to but without pixel data.

    Raises:
        DataSetError: truncated or unreadable, with the tag where it happened.
    """
    return _Reader(buffer, encoding).data_set(0, len(buffer), 0, stop_at_pixel_data=True)[0]


def end_of_header(buffer: bytes, encoding: Encoding, *, partial: bool = False) -> int:
    """How many bytes come before pixel data (group 7FE0) or any later group.

    With `partial` the buffer is only the beginning, and more will come: what depends on that is truncated.

    Raises:
        DataSetError: truncated or unreadable before that.
    """
    return _Reader(buffer, encoding, partial=partial).data_set(0, len(buffer), 0, stop_at_pixel_data=True)[1]


# Of each encoding the code sequences that are kept.
_coded: dict[Encoding, dict[bytes, list[DataSet]]] = {}


class _Reader:
    def __init__(self, buffer: bytes, encoding: Encoding, *, partial: bool = False) -> None:
        self._buffer = buffer
        self._explicit = encoding.explicit
        self._partial = partial
        order = ">" if encoding.big_endian else "<"
        # Group, element and length: of an implicit element, and of an item.
        self._implicit_head = Struct(order + "HHL").unpack_from
        # Group, element, VR and a short length.
        self._explicit_head = Struct(order + "HH2sH").unpack_from
        self._u16 = Struct(order + "H").unpack_from
        self._u32 = Struct(order + "L").unpack_from
        self._end_mark = Struct(order + "HH").pack(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF)
        self._nested_implicit: _Reader | None = None
        self._coded = _coded.setdefault(encoding, {})
        # What was guessed may depend on what comes after it.
        self._guessed = partial

    def data_set(
        self,
        position: int,
        end: int,
        depth: int,
        within: int = 0,
        *,
        stop_at_pixel_data: bool = False,
        delimited: bool = False,
    ) -> tuple[DataSet, int]:
        """Elements from position to end (or item delimiter, which a delimited one needs), and where they ended."""
        if depth > MAX_DEPTH:
            raise DataSetError(
                "unreadable", f"sequences are nested more than {MAX_DEPTH} deep: not a dose report"
            )
        buffer, explicit = self._buffer, self._explicit
        explicit_head, implicit_head = self._explicit_head, self._implicit_head
        result: DataSet = {}
        tag, vr = within, b""
        # From here on tags are looked at more closely: delimiters, and pixel data.
        special = PIXEL_DATA if stop_at_pixel_data else DELIMITERS
        while position < end:
            if end - position < 8:
                # Some writers pad with zeros to an even block; anything else is a cut.
                if depth == 0 and not buffer[position:end].strip(b"\0"):
                    return result, end
                raise DataSetError(
                    "truncated", "the data set ends inside an element's header: send it again", tag
                )
            if explicit:
                group, element, vr, length = explicit_head(buffer, position)
            else:
                group, element, length = implicit_head(buffer, position)
            tag = group << 16 | element
            if tag >= special:
                if tag == ITEM_END:
                    return result, position + 8
                if group == 0xFFFE:
                    raise DataSetError(
                        "unreadable", "an item or sequence delimiter where an element must be", tag
                    )
                if stop_at_pixel_data:
                    return result, position
            position += 8
            if explicit and vr not in SHORT_VRS:
                if vr not in LONG_VRS:
                    length, position = self._illegal_vr(position - 8, end, vr)
                elif end - position < 4:
                    raise DataSetError(
                        "truncated", "the data set ends inside an element's header: send it again", tag
                    )
                else:
                    length, position = self._u32(buffer, position)[0], position + 4
            stop = position + length
            if length == UNDEFINED:
                if vr in FRAGMENT_VRS:
                    position = self._fragments(position, end, tag)
                    continue
                items, position = self._undefined(position, end, depth + 1, tag, vr)
                if tag in SEQUENCES:
                    result[tag] = items
            elif stop > end:
                raise DataSetError(
                    "truncated",
                    f"the element says {length} bytes and {end - position} are left: send it again",
                    tag,
                )
            elif tag in SEQUENCES and vr in SEQUENCE_VRS:
                result[tag] = self._defined(position, stop, depth + 1, tag, vr)
                position = stop
            else:
                if vr != b"SQ":
                    result[tag] = buffer[position:stop]
                position = stop
        if delimited:
            raise DataSetError("truncated", "the data set ends inside a sequence item: send it again", tag)
        return result, position

    def _defined(self, position: int, stop: int, depth: int, tag: int, vr: bytes) -> list[DataSet]:
        """The items of a sequence that says its length."""
        if tag not in CODED or vr == b"UN" or stop - position > MOST_CODED_BYTES:
            return self._nested(vr).sequence(position, stop, depth, tag)[0]
        value = self._buffer[position:stop]
        items = self._coded.get(value)
        if items is None:
            items = self.sequence(position, stop, depth, tag)[0]
            self._keep(value, items)
        return items

    def _undefined(
        self, position: int, end: int, depth: int, tag: int, vr: bytes
    ) -> tuple[list[DataSet], int]:
        """The items of a sequence that ends with a delimiter, and where it ended."""
        if tag not in CODED or vr == b"UN":
            return self._nested(vr).sequence(position, end, depth, tag, delimited=True)
        # Before the first bytes that look like the delimiter: they are it wherever the items were those before.
        mark = self._buffer.find(self._end_mark, position, min(end - 4, position + MOST_CODED_BYTES))
        value = self._buffer[position:mark]
        if mark >= 0 and (known := self._coded.get(value)) is not None:
            return known, mark + 8
        items, stop = self.sequence(position, end, depth, tag, delimited=True)
        if stop == mark + 8:
            self._keep(value, items)
        return items, stop

    def _keep(self, value: bytes, items: list[DataSet]) -> None:
        if not self._guessed:
            if len(self._coded) >= MOST_CODED:
                self._coded.clear()
            self._coded[value] = items

    def sequence(
        self, position: int, end: int, depth: int, sequence_tag: int, *, delimited: bool = False
    ) -> tuple[list[DataSet], int]:
        """Items from position to end (or sequence delimiter, which a delimited one needs), and where they ended."""
        buffer, head = self._buffer, self._implicit_head
        items: list[DataSet] = []
        while position < end:
            if end - position < 8:
                raise DataSetError(
                    "truncated", "the sequence ends inside an item's header: send it again", sequence_tag
                )
            group, element, length = head(buffer, position)
            tag = group << 16 | element
            position += 8
            if tag == SEQUENCE_END:
                return items, position
            if tag != ITEM:
                raise DataSetError(
                    "unreadable", f"{tag_text(tag)} where a sequence item must begin", sequence_tag
                )
            if length == UNDEFINED:
                item, position = self.data_set(position, end, depth, sequence_tag, delimited=True)
            elif length > end - position:
                raise DataSetError(
                    "truncated",
                    f"the item says {length} bytes and {end - position} are left: send it again",
                    sequence_tag,
                )
            else:
                item, _ = self.data_set(position, position + length, depth, sequence_tag)
                position += length
            items.append(item)
        if delimited:
            raise DataSetError(
                "truncated", "the data set ends inside a sequence: send it again", sequence_tag
            )
        return items, position

    def _fragments(self, position: int, end: int, tag: int) -> int:
        """Where encapsulated fragments end (PS3.5 A.4)."""
        while end - position >= 8:
            group, element, length = self._implicit_head(self._buffer, position)
            if (group << 16 | element) == SEQUENCE_END:
                return position + 8
            position += 8 + length
        raise DataSetError("truncated", "the data set ends inside encapsulated data: send it again", tag)

    def _nested(self, vr: bytes) -> "_Reader":
        """The reader of a sequence's items: one of VR UN is implicit little endian inside (PS3.5 6.2.2)."""
        if vr != b"UN" or not self._explicit:
            return self
        if self._nested_implicit is None:
            self._nested_implicit = _Reader(self._buffer, IMPLICIT_LITTLE, partial=self._partial)
        return self._nested_implicit

    def _illegal_vr(self, position: int, end: int, vr: bytes) -> tuple[int, int]:
        """Length and start of a value whose VR the standard does not know, as best the bytes allow."""
        self._guessed = True
        if not (vr.isalpha() and vr.isupper()):
            if vr.strip(b"\0 ?-") == b"":
                # A blank VR keeps the shape of a short one.
                return self._u16(self._buffer, position + 6)[0], position + 8
            # No VR at all: a writer that slipped into implicit VR.
            return self._u32(self._buffer, position + 4)[0], position + 8
        # PS3.5 6.2: VRs added later have the long form; two zero bytes and a length that fits say so.
        if self._buffer[position + 6 : position + 8] == b"\0\0" and end - position >= 12:
            length = self._u32(self._buffer, position + 8)[0]
            if length <= end - position - 12:
                return length, position + 12
            if self._partial:
                raise DataSetError("truncated", "the data set ends inside an element", 0)
        return self._u16(self._buffer, position + 6)[0], position + 8
