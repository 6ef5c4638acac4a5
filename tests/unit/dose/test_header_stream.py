"""An instance that comes in pieces keeps what a whole one would, and no pixel data."""

import zlib

import pytest
import sr_builder as sr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.encaps import encapsulate

from dosestream.dose.header_stream import HeaderStream
from dosestream.dose.part10 import header_only, split
from dosestream.dose.part10 import inflate as inflated

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
CAP = 1 << 20
FAR = 3 * CAP


def image(pixels: int, syntax: str) -> bytes:
    data_set = sr.header(SOPClassUID=sr.CT_IMAGE, SOPInstanceUID="1.2", StudyInstanceUID="1.2.3")
    data_set.Rows = data_set.Columns = 64
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 16, 15
    data_set.SamplesPerPixel, data_set.PixelRepresentation = 1, 0
    data_set.PhotometricInterpretation = "MONOCHROME2"
    # A sequence with an icon inside: its pixel data ends no header.
    icon = Dataset()
    icon.Rows = icon.Columns = 8
    icon.add_new(0x7FE00010, "OW", b"\1" * 128)
    data_set.IconImageSequence = [icon]
    data_set.PixelData = b"\x55" * pixels if syntax != JPEG else encapsulate([b"\x55" * pixels])
    data_set["PixelData"].VR = "OW" if syntax != JPEG else "OB"
    data_set["PixelData"].is_undefined_length = syntax == JPEG
    return sr.part10(data_set, syntax)


def encoded(body: bytes, syntax: str) -> bytes:
    """The data set of a file, still deflated where it is."""
    start = body.index(b"DICM") + 4
    meta = int.from_bytes(body[start + 8 : start + 12], "little") + 12
    return body[start + meta :]


def streamed(data_set: bytes, syntax: str, piece: int, sop_class: str = sr.CT_IMAGE) -> HeaderStream:
    stream = HeaderStream(sop_class, syntax, CAP)
    for at in range(0, len(data_set), piece):
        stream.feed(data_set[at : at + piece])
    return stream


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, JPEG])
@pytest.mark.parametrize("pixels", [2, 64, 300_000])
@pytest.mark.parametrize("piece", [7, 16_384])
def test_the_header_of_an_image_is_the_same_in_pieces_and_whole(syntax: str, pixels: int, piece: int) -> None:
    data_set = encoded(image(pixels, syntax), syntax)
    stream = streamed(data_set, syntax, piece)
    assert stream.data_set() == header_only(data_set, syntax)
    assert stream.received == len(data_set)
    plain = inflated(stream.data_set()) if syntax == DEFLATED else stream.data_set()
    assert b"\x55" * 64 not in plain


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=30))
def test_how_it_is_cut_does_not_matter(cuts: list[int]) -> None:
    data_set = encoded(image(40_000, EXPLICIT), EXPLICIT)
    stream, at = HeaderStream(sr.CT_IMAGE, EXPLICIT, CAP), 0
    for cut in [*cuts, len(data_set)]:
        stream.feed(data_set[at : at + cut])
        at += cut
    assert stream.data_set() == header_only(data_set, EXPLICIT)


def test_a_report_is_kept_whole() -> None:
    body = sr.part10(sr.projection(sr.event()), DEFLATED)
    data_set = encoded(body, DEFLATED)
    assert streamed(data_set, DEFLATED, 100, sr.DOSE_SR).data_set() == data_set
    assert split(body).data_set == inflated(data_set)


@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED])
def test_what_cannot_be_read_is_kept_as_it_came(syntax: str) -> None:
    data_set = b"\xfe\xff\0\0 no data set at all" * 1000
    assert streamed(data_set, syntax, 1000).data_set() == data_set


def test_pixels_that_never_end_cost_nothing_but_a_header_that_never_ends_is_over_the_cap() -> None:
    data_set = encoded(image(64, EXPLICIT), EXPLICIT)
    stream = streamed(data_set, EXPLICIT, 4096)
    stream.feed(b"\x55" * FAR)
    stream.feed(b"\x55" * FAR)
    assert not stream.over_cap
    private = b"\x09\0\x10\0OB\0\0" + (4 * CAP).to_bytes(4, "little")
    endless = HeaderStream(sr.CT_IMAGE, EXPLICIT, CAP)
    for _ in range(4):
        endless.feed(private + b"\0" * CAP)
    assert endless.over_cap
    assert len(endless.data_set()) == CAP + 1


def test_a_small_bomb_does_not_fill_the_memory() -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(b"\x09\0\x10\0OB\0\0\xf0\xff\xff\x7f" + b"\0" * (64 * CAP)) + packer.flush()
    stream = streamed(bomb, DEFLATED, 1024)
    assert stream.over_cap
    assert len(stream._plain) + len(stream._came) <= 2 * CAP
