"""DICOM files (PS3.10 section 7): preamble, File Meta Information, data set."""

import zlib
from dataclasses import dataclass
from typing import BinaryIO, Final

from dosestream.dose.dataset import (
    DataSet,
    DataSetError,
    Encoding,
    end_of_header,
    read,
)

PREAMBLE: Final = b"\0" * 128 + b"DICM"

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

IMPLEMENTATION_CLASS_UID: Final = "2.25.138467015379284510693877034212984301115"
IMPLEMENTATION_VERSION: Final = "DOSESTREAM"

# File Meta Information is never longer.
MAX_META: Final = 256 * 1024

# An inflated data set beyond this is a bomb or an image; either way no dose report.
MAX_INFLATED: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part10File:
    """A DICOM file taken apart.

    Attributes:
        sop_class_uid: Media Storage SOP Class UID (0002,0002), empty where absent.
        sop_instance_uid: Media Storage SOP Instance UID (0002,0003), empty where absent.
        transfer_syntax: (0002,0010).
        data_set: the encoded data set, inflated where the transfer syntax is deflated.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data_set: bytes

    @property
    def encoding(self) -> Encoding:
        return encoding_of(self.transfer_syntax)

    def read(self) -> DataSet:
        """The data set without pixel data. Raises DataSetError."""
        return read(self.data_set, self.encoding)


def encoding_of(transfer_syntax: str) -> Encoding:
    """Everything but implicit little endian and explicit big endian is explicit little endian (PS3.5 section 10)."""
    return Encoding(
        explicit=transfer_syntax != IMPLICIT_VR_LITTLE_ENDIAN,
        big_endian=transfer_syntax == EXPLICIT_VR_BIG_ENDIAN,
    )


def split(body: bytes) -> Part10File:
    """Take a DICOM file apart.

    Raises:
        DataSetError: no DICM prefix, File Meta Information cut short, or bytes that do not inflate.
    """
    if body[128:132] != b"DICM":
        raise DataSetError("unreadable", "no DICM prefix after 128 bytes: not a DICOM file")
    meta, data_set = _file_meta(body)
    transfer_syntax = _uid(meta, 0x00020010)
    if not transfer_syntax:
        raise DataSetError("unreadable", "the file names no transfer syntax", 0x00020010)
    if transfer_syntax in DEFLATED:
        data_set = inflate(data_set)
    return Part10File(
        sop_class_uid=_uid(meta, 0x00020002),
        sop_instance_uid=_uid(meta, 0x00020003),
        transfer_syntax=transfer_syntax,
        data_set=data_set,
    )


def join(sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, data_set: bytes) -> bytes:
    """A DICOM file around an encoded data set. The same arguments make the same bytes, in every release."""
    elements = b"".join(
        (
            b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01",
            _element(0x0002, sop_class_uid, b"UI"),
            _element(0x0003, sop_instance_uid, b"UI"),
            _element(0x0010, transfer_syntax, b"UI"),
            _element(0x0012, IMPLEMENTATION_CLASS_UID, b"UI"),
            _element(0x0013, IMPLEMENTATION_VERSION, b"SH"),
        )
    )
    group_length = b"\x02\0\0\0UL\x04\0" + len(elements).to_bytes(4, "little")
    return PREAMBLE + group_length + elements + data_set


def header_only(data_set: bytes, transfer_syntax: str) -> bytes:
    """The encoded data set up to pixel data (group 7FE0), encoded as it was.

    Raises:
        DataSetError: truncated or unreadable before the pixel data.
    """
    deflated = transfer_syntax in DEFLATED
    plain = inflate(data_set) if deflated else data_set
    header = plain[: end_of_header(plain, encoding_of(transfer_syntax))]
    return deflate(header) if deflated else header


def inflate(data: bytes) -> bytes:
    """A deflated data set (PS3.5 A.5: raw deflate, RFC 1951).

    Raises:
        DataSetError: cut short, no deflate stream, or too large.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(data, MAX_INFLATED)
    except zlib.error as error:
        raise DataSetError("unreadable", f"the deflated data set does not inflate ({error})") from error
    if inflater.unconsumed_tail:
        raise DataSetError("unreadable", f"the data set inflates to more than {MAX_INFLATED >> 20} MiB")
    if not inflater.eof:
        raise DataSetError("truncated", "the deflated data set ends early: send it again")
    return plain


def deflate(data: bytes) -> bytes:
    """The opposite of inflate, of even length."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = deflater.compress(data) + deflater.flush()
    return packed + b"\0" * (len(packed) % 2)


def _file_meta(body: bytes) -> tuple[DataSet, bytes]:
    """Elements of group 0002 (always explicit little endian) and the bytes after them."""
    position = 132
    while body[position : position + 2] == b"\x02\0":
        start = position
        if body[position + 4 : position + 6] in (b"OB", b"UN", b"UT"):
            length, position = int.from_bytes(body[position + 8 : position + 12], "little"), position + 12
        else:
            length, position = int.from_bytes(body[position + 6 : position + 8], "little"), position + 8
        position += length
        if position > len(body):
            tag = 0x00020000 | int.from_bytes(body[start + 2 : start + 4], "little")
            raise DataSetError(
                "truncated", "the file ends inside its File Meta Information: send it again", tag
            )
    meta = read(body[132:position], encoding_of(EXPLICIT_VR_LITTLE_ENDIAN))
    return meta, body[position:]


def _uid(meta: DataSet, tag: int) -> str:
    value = meta.get(tag, b"")
    return value.decode("ascii", "ignore").strip(" \0") if isinstance(value, bytes) else ""


def _element(element: int, text: str, vr: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return b"\x02\0" + element.to_bytes(2, "little") + vr + len(value).to_bytes(2, "little") + value


def meta_of(file: BinaryIO) -> tuple[str, str, str]:
    """SOP class, SOP instance and transfer syntax of a file, which is then read up to its data set.

    Raises:
        DataSetError: no DICM prefix, no transfer syntax, or File Meta Information cut short.
    """
    start = file.read(MAX_META)
    if start[128:132] != b"DICM":
        raise DataSetError("unreadable", "no DICM prefix after 128 bytes: not a DICOM file")
    meta, rest = _file_meta(start)
    transfer_syntax = _uid(meta, 0x00020010)
    if not transfer_syntax:
        raise DataSetError("unreadable", "the file names no transfer syntax", 0x00020010)
    file.seek(len(start) - len(rest))
    return _uid(meta, 0x00020002), _uid(meta, 0x00020003), transfer_syntax
