"""MLLP: whatever the cut of the bytes, the same frames come out, and nothing is lost in silence."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosestream.hl7.framing import (
    COMMIT_ACK,
    CR,
    FS,
    HEAD_BYTES,
    TRANSITIONS,
    VT,
    Frame,
    Framer,
    FramingError,
    Run,
    State,
    frame,
)

CAP = 100


@dataclass(frozen=True)
class Case:
    name: str
    sent: bytes
    # What comes out: the body of a frame, or (code, body) of an error; `end` adds the connection's end.
    expected: list[bytes | tuple[str, bytes]]


CASES = [
    Case("one frame", frame(b"MSH|a"), [b"MSH|a"]),
    Case("many frames in one packet", frame(b"a") + frame(b"b") + frame(b"c"), [b"a", b"b", b"c"]),
    Case("an end without CR ends the frame", VT + b"a" + FS + VT + b"b" + FS, [b"a", b"b"]),
    Case("FS CR LF is an end like any other", VT + b"a" + FS + b"\r\n" + frame(b"b"), [b"a", b"b"]),
    Case(
        "NULs and blanks between frames say nothing",
        b"\0\0" + frame(b"a") + b"\0 \n" + frame(b"b"),
        [b"a", b"b"],
    ),
    Case("an empty frame is a frame", frame(b""), [b""]),
    Case("LF inside a message is the message's", frame(b"MSH\nPID\r\n"), [b"MSH\nPID\r\n"]),
    Case(
        "junk before a start is told and the frame still read",
        b"GET / " + frame(b"a"),
        [("junk", b"GET / "), b"a"],
    ),
    Case("junk with nothing behind it is told at the end", b"hello", [("junk", b"hello")]),
    Case(
        "a start byte inside a frame drops what came before it",
        VT + b"first" + VT + b"second" + FS,
        [("frame_restart", b"first"), b"second"],
    ),
    Case(
        "each restart is told",
        VT + b"a" + VT + b"b" + VT + b"c" + FS,
        [("frame_restart", b"a"), ("frame_restart", b"b"), b"c"],
    ),
    Case("an end in mid-frame is told", frame(b"a") + VT + b"half", [b"a", ("truncated", b"half")]),
    Case("a frame of the size cap passes", frame(b"x" * CAP), [b"x" * CAP]),
    Case(
        "a frame over the size cap is refused and the next one read",
        frame(b"x" * (CAP + 1)) + frame(b"a"),
        [("too_large", b"x" * CAP), b"a"],
    ),
    Case(
        "a restart frees the size of what it drops",
        VT + b"x" * CAP + VT + b"y" * CAP + FS,
        [("frame_restart", b"x" * CAP), b"y" * CAP],
    ),
    Case("a block of release 2 is a frame of one byte", frame(COMMIT_ACK) + frame(b"a"), [COMMIT_ACK, b"a"]),
    Case("a byte-order mark is the message's", frame(b"\xef\xbb\xbfMSH"), [b"\xef\xbb\xbfMSH"]),
    Case(
        "a start byte inside a frame over the cap begins a new one",
        VT + b"x" * (CAP + 9) + frame(b"a"),
        [("frame_restart", b"x" * CAP), b"a"],
    ),
    Case("an end block on its own is junk", FS + CR + frame(b"a"), [("junk", FS + CR), b"a"]),
]


def told(pieces: list[Frame | FramingError]) -> list[bytes | tuple[str, bytes]]:
    return [piece.body if isinstance(piece, Frame) else (piece.code, piece.body) for piece in pieces]


def run(chunks: list[bytes], cap: int = CAP) -> list[bytes | tuple[str, bytes]]:
    framer = Framer(cap)
    out = [piece for chunk in chunks for piece in framer.feed(chunk)]
    return told([*out, *framer.end()])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_one_piece(case: Case) -> None:
    assert run([case.sent]) == case.expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_byte_a_packet(case: Case) -> None:
    assert run([bytes([byte]) for byte in case.sent]) == case.expected


PIECES = st.one_of(
    st.sampled_from([VT, FS, CR, b"\0", b"\n", frame(b"MSH|x"), frame(b"y" * (CAP + 3)), b"junk"]),
    st.binary(max_size=12),
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(0, 300), max_size=12))
def test_any_cut_gives_the_same(stream: bytes, cuts: list[int]) -> None:
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:end] for start, end in pairwise(bounds)]
    assert run(chunks) == run([stream])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60).map(lambda b: b.replace(VT, b"").replace(FS, b"")), max_size=8))
def test_what_is_framed_comes_out(messages: list[bytes]) -> None:
    assert run([b"".join(map(frame, messages))]) == messages


def test_a_huge_frame_keeps_its_head_only() -> None:
    framer = Framer(HEAD_BYTES * 2)
    framer.feed(VT + b"MSH")
    for _ in range(5):
        framer.feed(b"x" * HEAD_BYTES)
    (piece,) = framer.feed(FS)
    assert isinstance(piece, FramingError)
    assert (piece.code, piece.answered, len(piece.body)) == ("too_large", True, HEAD_BYTES)
    assert piece.body.startswith(b"MSH")


def test_an_endless_stream_of_junk_is_told_in_pieces() -> None:
    framer = Framer(CAP)
    pieces = framer.feed(b"z" * (HEAD_BYTES + 1))
    assert told(pieces) == [("junk", b"z" * (HEAD_BYTES + 1))]
    assert not framer.holds_junk


def test_the_table_knows_every_run_that_can_come_in_a_state() -> None:
    outside, inside = {Run.START, Run.OTHER}, {Run.START, Run.END, Run.OTHER, Run.EXCESS}
    possible = {
        State.BETWEEN: outside | {Run.FILLING},
        State.JUNK: outside,
        State.INSIDE: inside,
        State.OVERSIZE: inside,
    }
    assert set(TRANSITIONS) == {(state, run) for state, runs in possible.items() for run in runs}


def test_a_byte_costs_the_same_however_long_the_frame_is_already(monkeypatch: pytest.MonkeyPatch) -> None:
    framer = Framer(HEAD_BYTES)
    framer.feed(VT + b"x" * (HEAD_BYTES // 2))
    handled: list[int] = []
    act, after = TRANSITIONS[State.INSIDE, Run.OTHER]

    def counted(self: Framer, run: bytes, out: list[Frame | FramingError]) -> None:
        handled.append(len(run))
        act(self, run, out)

    monkeypatch.setitem(TRANSITIONS, (State.INSIDE, Run.OTHER), (counted, after))
    for _ in range(100):
        framer.feed(b"y")
    assert handled == [1] * 100


class ForgetsTheCut(Framer):
    """Broken on purpose: takes every packet for whole frames."""

    def feed(self, data: bytes) -> list[Frame | FramingError]:
        self._release()
        self._state = State.BETWEEN
        return super().feed(data)


@pytest.mark.interpreted_only("it derives from a class, which a compiled one does not allow")
def test_the_law_bites_a_framer_that_forgets_the_cut() -> None:
    framer = ForgetsTheCut(CAP)
    stream = frame(b"message")
    pieces = [*framer.feed(stream[:4]), *framer.feed(stream[4:]), *framer.end()]
    assert told(pieces) != run([stream])
