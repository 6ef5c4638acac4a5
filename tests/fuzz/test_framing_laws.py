"""Any sequence of good and bad pieces, cut anywhere: the same comes out, and no byte is lost or told twice."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger import account

from dosestream.hl7.framing import CR, FS, HEAD_BYTES, VT, Frame, Framer, Pieces

CAP = 64

body = st.binary(max_size=CAP + 8).map(lambda b: b.replace(VT, b"v").replace(FS, b"f"))
large = st.binary(min_size=CAP + 1, max_size=CAP * 3).map(lambda b: b.replace(VT, b"v").replace(FS, b"f"))
pieces = st.one_of(
    body.map(lambda b: VT + b + FS + CR),
    body.map(lambda b: VT + b + FS),
    body.map(lambda b: VT + b),
    large.map(lambda b: VT + b + FS + CR),
    large.map(lambda b: VT + b),
    body,
    st.sampled_from(
        [VT, FS, CR, VT + VT, FS + FS, FS + CR, b"\0", b"\r\n", b" \t", b"\xef\xbb\xbf", b"MSH|^~\\&|"]
    ),
)
streams = st.lists(pieces, max_size=12).map(b"".join)


def read(chunks: list[bytes], framer: Framer) -> Pieces:
    out: Pieces = []
    for chunk in chunks:
        out += framer.feed(chunk)
    return [*out, *framer.end()]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    return [stream[a:b] for a, b in pairwise([0, *sorted(p for p in places if p < len(stream)), len(stream)])]


@given(streams, st.lists(st.integers(0, 2000), max_size=20))
def test_no_cut_changes_what_comes_out(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places), Framer(CAP)) == read([stream], Framer(CAP))


@given(streams, st.lists(st.integers(0, 2000), max_size=20))
def test_every_byte_is_accounted_for(stream: bytes, places: list[int]) -> None:
    account(stream, read(cut(stream, places), Framer(CAP)))


@given(streams)
def test_only_what_fits_is_a_frame_and_what_is_held_is_bounded(stream: bytes) -> None:
    framer = Framer(CAP)
    for piece in read([stream], framer):
        assert len(piece.body) <= (CAP if isinstance(piece, Frame) else max(CAP, HEAD_BYTES))
    assert framer.size == 0


@given(st.lists(body.filter(lambda b: len(b) <= CAP), min_size=1), streams)
def test_after_anything_at_all_good_frames_are_read_again(messages: list[bytes], before: bytes) -> None:
    stream = before + FS + b"".join(VT + message + FS + CR for message in messages)
    frames = [piece.body for piece in read([stream], Framer(CAP)) if isinstance(piece, Frame)]
    assert frames[-len(messages) :] == messages


class SwallowsJunk(Framer):
    """Broken on purpose: bytes outside frames are not told."""

    def feed(self, data: bytes) -> Pieces:
        return [piece for piece in super().feed(data) if isinstance(piece, Frame) or piece.code != "junk"]


class ForgetsTheCut(Framer):
    """Broken on purpose: it reads each packet as if it were alone."""

    def feed(self, data: bytes) -> Pieces:
        return Framer(self.max_bytes).feed(data)


BROKEN = [(SwallowsJunk, [b"junk" + VT + b"a" + FS]), (ForgetsTheCut, [VT + b"a", b"b" + FS])]


@pytest.mark.parametrize(("broken", "chunks"), BROKEN, ids=[b.__name__ for b, _ in BROKEN])
def test_the_book_bites_a_framer_that(broken: type[Framer], chunks: list[bytes]) -> None:
    account(b"".join(chunks), read(chunks, Framer(CAP)))
    with pytest.raises(AssertionError):
        account(b"".join(chunks), read(chunks, broken(CAP)))
