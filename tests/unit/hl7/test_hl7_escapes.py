"""Escape sequences of HL7 v2.5.1 section 2.7."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosestream.hl7.escapes import escape, unescape
from dosestream.hl7.header import Delimiters

OWN = Delimiters("#", "!", "@", "%", "*")

CASES = [
    ("text without a mark stays", r"plain", "plain"),
    ("the field separator", r"a\F\b", "a|b"),
    ("the component separator", r"a\S\b", "a^b"),
    ("the subcomponent separator", r"a\T\b", "a&b"),
    ("the repetition separator", r"a\R\b", "a~b"),
    ("the escape character itself", r"a\E\b", "a\\b"),
    ("an escape character is not read twice", r"\E\F\E\ ", "\\F\\ "),
    ("the truncation character", r"a\P\b", "a#b"),
    ("bytes in hex", r"\X48C3A9\llo", "Hé" + "llo"),
    ("a line break", r"one\.br\two", "one\ntwo"),
    ("several line feeds", r"one\.sp2\two", "one\n\ntwo"),
    ("blanks", r"one\.sk 3\two", "one   two"),
    ("highlighting leaves nothing", r"\H\bold\N\ plain", "bold plain"),
    ("two sequences side by side", r"\F\\S\ ", "|^ "),
    ("an unknown sequence stays", r"a\Q\b", r"a\Q\b"),
    ("a site's own sequence stays", r"a\Zxy\b", r"a\Zxy\b"),
    ("a character set switch stays", r"a\C2842\b", r"a\C2842\b"),
    ("an unterminated mark stays", r"C:\folder", r"C:\folder"),
    ("a path stays", r"C:\a\b\F\ ", r"C:\a\b| "),
    ("hex that is none stays", r"a\XZZ\b", r"a\XZZ\b"),
    ("hex that is no text stays", r"a\XFF\b", r"a\XFF\b"),
    ("a count that would blow up stays", r"a\.sp99999\b", r"a\.sp99999\b"),
]


@pytest.mark.parametrize(("sent", "meant"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_meaning(sent: str, meant: str) -> None:
    assert unescape(sent) == meant


def test_own_delimiters_are_what_the_sequences_stand_for() -> None:
    assert unescape("%F%%S%%R%%E%%T%", OWN) == "#!@%*"


def test_hex_is_read_in_the_messages_character_set() -> None:
    assert unescape(r"\XE9\ ", codec="iso8859-1") == "é "


@settings(deadline=None)
@given(st.text())
def test_what_is_escaped_comes_back(text: str) -> None:
    assert unescape(escape(text)) == text
    assert unescape(escape(text, OWN), OWN) == text


@settings(deadline=None)
@given(st.text())
def test_escaped_text_holds_no_delimiter(text: str) -> None:
    assert not set(escape(text)) & set("|^~&\r\n")
