"""Our reader against two others, python-hl7 and hl7apy: generated messages value by value, and every sample."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import hl7
import pytest
from hl7apy import parser
from hl7apy.consts import VALIDATION_LEVEL
from hypothesis import given, settings
from hypothesis import strategies as st

from dosestream.hl7.batch import split
from dosestream.hl7.escapes import escape, unescape
from dosestream.hl7.header import STANDARD, Delimiters, read_header
from dosestream.hl7.reader import Message, Segment, read

# A field: repetitions of components of subcomponents of text as meant.
Field = list[list[list[str]]]


class Spoken(NamedTuple):
    """A well-formed message as meant, segment by segment, and what separates it."""

    delimiters: Delimiters
    segments: list[tuple[str, list[Field]]]

    def body(self) -> bytes:
        field, component, repetition, mark, subcomponent = (
            self.delimiters.field,
            self.delimiters.component,
            self.delimiters.repetition,
            self.delimiters.escape,
            self.delimiters.subcomponent,
        )
        head = ["MSH", component + repetition + mark + subcomponent, *"ABCD", "20260301", ""]
        head += [f"ADT{component}A01", "7", "P", "2.5"]
        lines = [field.join(head)]
        for name, fields in self.segments:
            written = [
                repetition.join(
                    component.join(
                        subcomponent.join(escape(t, self.delimiters) for t in subs) for subs in comps
                    )
                    for comps in value
                )
                for value in fields
            ]
            lines.append(field.join([name, *written]))
        return "".join(f"{line}\r" for line in lines).encode()


# hl7apy strips blanks, so that texts have none at their ends.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=5)
SUBCOMPONENTS = st.lists(TEXT, min_size=1, max_size=3)
COMPONENTS = st.lists(SUBCOMPONENTS, min_size=1, max_size=3)
FIELD = st.just([[[""]]]) | st.lists(COMPONENTS, min_size=1, max_size=3)
SEGMENT_NAMES = ("PID", "PV1", "OBX", "NTE", "ZDS", "ZZ1")
SEGMENTS = st.lists(
    st.tuples(st.sampled_from(SEGMENT_NAMES), st.lists(FIELD, max_size=5)), min_size=1, max_size=5
)
OWN = st.permutations("#!@%*$+:;").map(lambda marks: Delimiters(*marks[:5]))
SPOKEN = st.builds(Spoken, st.just(STANDARD) | OWN, SEGMENTS)


def ours(body: bytes) -> Message:
    header = read_header(body)
    assert header is not None
    found = read(body, header)
    assert isinstance(found, Message)
    return found


def values_of(segment: Segment, count: int) -> list[Field]:
    """Fields 1 to `count` as our reader gives them, taken apart and escapes resolved."""
    d = segment.delimiters
    return [
        [
            [
                [unescape(sub, d) for sub in component.split(d.subcomponent)]
                for component in one.split(d.component)
            ]
            for one in segment.field(number).split(d.repetition)
        ]
        for number in range(1, count + 1)
    ]


def leaves(of: Sequence[object], unescaped: hl7.Message) -> Iterator[str]:
    """The texts of a field as python-hl7 has taken it apart."""
    for one in of:
        if isinstance(one, str):
            yield unescaped.unescape(one)
        else:
            assert isinstance(one, Sequence)
            yield from leaves(one, unescaped)


def flat(field: Field) -> list[str]:
    return [text for components in field for subs in components for text in subs]


def agree_with_python_hl7(spoken: Spoken) -> None:
    body = spoken.body()
    mine, theirs = ours(body), hl7.parse(body.decode())
    assert len(mine.segments) == len(theirs) == len(spoken.segments) + 1
    for (name, fields), segment, other in zip(spoken.segments, mine.segments[1:], theirs[1:], strict=True):
        assert segment.name == str(other[0]) == name
        assert values_of(segment, len(fields)) == fields
        assert segment.field(len(fields) + 1) == ""
        assert [list(leaves(field, theirs)) for field in other[1:]] == [flat(field) for field in fields]


def agree_with_hl7apy(spoken: Spoken) -> None:
    # By their real names hl7apy rewrites segments: 00 becomes 0 in PID-1.
    body = spoken._replace(segments=[(f"Z{name[:2]}", fields) for name, fields in spoken.segments]).body()
    mine = ours(body)
    d = spoken.delimiters
    theirs = parser.parse_message(
        body.decode(), validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False
    ).children
    assert [segment.name for segment in mine] == [segment.name for segment in theirs]
    for segment, other in list(zip(mine, theirs, strict=True))[1:]:
        assert without_empty_ends(segment.line, d) == without_empty_ends(other.to_er7(d_of(d)), d)


def d_of(d: Delimiters) -> dict[str, str]:
    return {
        "SEGMENT": "\r",
        "FIELD": d.field,
        "COMPONENT": d.component,
        "SUBCOMPONENT": d.subcomponent,
        "REPETITION": d.repetition,
        "ESCAPE": d.escape,
    }


def without_empty_ends(line: str, d: Delimiters = STANDARD) -> str:
    """A segment without the separators that end a component, a repetition or the line: hl7apy drops them."""
    outer = d.repetition + d.field
    for inner, ends in ((d.subcomponent, d.component + outer), (d.component, outer), (d.repetition, d.field)):
        line = re.sub(rf"{re.escape(inner)}+(?=[{re.escape(ends)}]|$)", "", line)
    return line.rstrip(d.field)


@settings(deadline=None, max_examples=100)
@given(SPOKEN)
def test_python_hl7_reads_the_same_values(spoken: Spoken) -> None:
    agree_with_python_hl7(spoken)


@settings(deadline=None, max_examples=20)
@given(SPOKEN)
def test_hl7apy_reads_the_same_segments(spoken: Spoken) -> None:
    agree_with_hl7apy(spoken)


@pytest.mark.long
@settings(deadline=None, max_examples=5_000)
@given(SPOKEN)
def test_python_hl7_reads_the_same_values_again_and_again(spoken: Spoken) -> None:
    agree_with_python_hl7(spoken)


@pytest.mark.long
@settings(deadline=None, max_examples=1_000)
@given(SPOKEN)
def test_hl7apy_reads_the_same_segments_again_and_again(spoken: Spoken) -> None:
    agree_with_hl7apy(spoken)


def samples(files: Iterable[Path]) -> Iterator[tuple[str, Message]]:
    """Every sample message that can be read, by its file's name."""
    for path in sorted(files):
        for body in split(path.read_bytes()):
            yield path.name, ours(body)


def test_python_hl7_reads_every_sample_alike(test_data: Path) -> None:
    compared = 0
    for name, mine in samples((test_data / "hl7").glob("*/*.hl7")):
        theirs = hl7.parse("".join(f"{segment.line}\r" for segment in mine))
        assert [segment.name for segment in mine] == [str(other[0]) for other in theirs], name
        for segment, other in list(zip(mine, theirs, strict=True))[1:]:
            values = values_of(segment, len(other) - 1)
            # What is escaped beyond the delimiters python-hl7 reads otherwise: hex as Latin 1, `.br` as CR.
            plain = [list(leaves(field, theirs)) for field in other[1:]]
            for field, (mine_flat, their_flat) in enumerate(zip(map(flat, values), plain, strict=True), 1):
                if not re.search(r"\\[.XHN]", segment.field(field)):
                    assert mine_flat == their_flat, f"{name} {segment.name}-{field}"
                    compared += 1
    assert compared > 9_000


@pytest.mark.parametrize(
    ("folder", "least"), [("edge", 40), ("mesa", 300), pytest.param("varied", 1_500, marks=pytest.mark.long)]
)
def test_hl7apy_reads_every_sample_alike(test_data: Path, folder: str, least: int) -> None:
    compared = 0
    for name, mine in samples((test_data / "hl7" / folder).glob("*.hl7")):
        d = mine.delimiters
        for segment in mine.segments[1:]:
            # By its real name hl7apy rewrites a segment: 001 becomes 1, a withdrawn field vanishes.
            line = "ZZZ" + segment.line.removeprefix(segment.name)
            theirs = parser.parse_segment(
                line, version="2.5", encoding_chars=d_of(d), validation_level=VALIDATION_LEVEL.TOLERANT
            )
            written = without_empty_ends(theirs.to_er7(d_of(d)), d)
            assert without_blank_ends(line, d) == without_blank_ends(written, d), f"{name} {segment.name}"
            compared += 1
    assert compared > least


def without_blank_ends(line: str, d: Delimiters) -> str:
    """A segment whose fields neither begin nor end with blanks, and end with no separator."""
    fields = (re.sub(rf" *({re.escape(d.repetition)}|$)", r"\1", value) for value in line.split(d.field))
    return without_empty_ends(d.field.join(field.strip() for field in fields), d)
