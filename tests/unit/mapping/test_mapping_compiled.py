"""Tables turned into code read what the tables say, of any message."""

import subprocess
import sys
from functools import cache
from pathlib import Path as File

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from dosestream.events.records import Demographics
from dosestream.hl7.batch import split
from dosestream.hl7.header import STANDARD, Delimiters, read_header
from dosestream.hl7.path import EVERY, Path
from dosestream.hl7.reader import Group, Message, read, read_text
from dosestream.mapping import generate, values
from dosestream.mapping.compiled import Fill, compile_rows, interpret
from dosestream.mapping.defaults import READ_BY_ROWS, Place, Row, row
from dosestream.mapping.draft import MOST_COMPILED, read_rows
from dosestream.mapping.standard_rows import FILLS

SEGMENTS = sorted({place.segment for table in READ_BY_ROWS for one in table for place in one.places})
OTHERS = (STANDARD, Delimiters("|", "$", "~", "\\", "@"), Delimiters("!", "^", "\0", "\0", "\0"))
# What a field may hold, its delimiters among it; a `0` more often than not, so that places fall back.
PIECES = st.sampled_from(
    [
        "",
        "",
        "",
        "",
        "A",
        "7",
        "M",
        "19700101",
        "Doe",
        "S",
        " x ",
        '""',
        "Müller",
        "1.2.3",
        "^",
        "^",
        "&",
        "~",
        "\\T\\",
    ]
)
FIELDS = st.lists(PIECES, max_size=6).map("".join)
LINES = st.builds(
    lambda name, fields: (name, fields),
    st.sampled_from([*SEGMENTS, "OBR", "ORC"]),
    st.lists(FIELDS, max_size=46),
)


def said(body: str, delimiters: Delimiters) -> str:
    """The same message with other delimiters."""
    return body.translate({ord(a): b for a, b in zip(STANDARD, delimiters, strict=True)})


@cache
def code(table: int, delimiters: Delimiters) -> Fill:
    return compile_rows(READ_BY_ROWS[table], delimiters)


def both(group: Group) -> None:
    """Each table's code and its rows say the same of a group."""
    for number, table in enumerate(READ_BY_ROWS):
        expected: tuple[dict[str, object], dict[str, str]] = {}, {}
        interpret(table, group, *expected)
        found: tuple[dict[str, object], dict[str, str]] = {}, {}
        code(number, group.delimiters)(group, *found)
        assert found == expected
        again: tuple[dict[str, object], dict[str, str]] = {}, {}
        read_rows(table, group, *again)
        assert again == expected


@how(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=6), st.sampled_from(OTHERS))
def test_generated_messages_are_read_alike(
    lines: list[tuple[str, list[str]]], delimiters: Delimiters
) -> None:
    head = f"MSH|{''.join(STANDARD[1:])}|A|B"
    text = said("\r".join([head, *("|".join([name, *fields]) for name, fields in lines)]), delimiters)
    header = read_header(text.encode())
    if header is not None:
        both(read_text(text, header))


def test_samples_are_read_alike(test_data: File) -> None:
    count = 0
    for file in sorted((test_data / "hl7").glob("*/*.hl7")):
        for body in split(file.read_bytes()):
            header = read_header(body)
            message = read(body, header) if header is not None else None
            if isinstance(message, Message):
                both(message)
                count += 1
    assert count > 100


def test_a_group_of_nothing_is_read_as_nothing() -> None:
    both(Group(()))


@pytest.mark.parametrize(
    "path",
    ["OBX[2]-5", "OBX[*]-5", "OBX[3.1=X]-5", "PID-3[*].1", "MSH-9.1"],
    ids=lambda text: f"{text} is none",
)
def test_a_row_reads_the_first_segment_of_a_name(path: str) -> None:
    parsed = Path.parse(path)
    assert parsed.segment == "MSH" or not parsed.plain or parsed.repetition == EVERY
    table = (Row((Place(parsed.segment, (("reason", values.first, parsed),)),)),)
    with pytest.raises(ValueError, match="cannot be read by a row"):
        compile_rows(table, STANDARD)


def test_a_selected_repetition_is_read_by_its_path() -> None:
    table = (row("reason", values.first, "PID-3[4.1=B].1"),)
    text = "MSH|^~\\&|A|B\rPID|||1^^^A~2^^^B"
    header = read_header(text.encode())
    assert header is not None
    fields: dict[str, object] = {}
    compile_rows(table, STANDARD)(read_text(text, header), fields, {})
    assert fields == {"reason": "2"}


def test_senders_that_change_their_delimiters_do_not_fill_the_memory() -> None:
    text = "MSH|^~\\&|A|B\rPID||||||||F"
    marks = "!#$%*+,-./:;<=>?@[]_`{}"
    count = 0
    for a in marks:
        for b in marks:
            header = read_header(said(text, Delimiters("|", a, b, "\\", "&")).encode())
            if header is None or a == b:
                continue
            fields: dict[str, object] = {}
            read_rows(READ_BY_ROWS[0], read_text(said(text, header.delimiters), header), fields, {})
            assert Demographics(**fields).sex == "F"  # type: ignore[arg-type]
            count += 1
    assert count > MOST_COMPILED


def test_what_is_generated_is_that_of_the_tables() -> None:
    ruff = str(File(sys.executable).with_name("ruff"))
    formatted = subprocess.run(
        [ruff, "format", "-", "--stdin-filename", str(generate.TARGET)],
        input=generate.generate(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert generate.TARGET.read_text() == formatted, "run `python -m dosestream.mapping.generate`"


def test_every_table_is_generated() -> None:
    assert [rows for rows, _ in FILLS] == list(READ_BY_ROWS)
