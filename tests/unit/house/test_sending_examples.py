"""The answers that docs/sending.md shows are those that are given."""

import re
from pathlib import Path

import pytest

from dosestream.hl7.acknowledgement import acknowledge, codes
from dosestream.mapping.normalise import interpret
from dosestream.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "sending.md"
AT = 1_772_366_400_123_456
EXAMPLES = re.findall(r"^```\n(> .*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_is_answered_as_it_says(example: str) -> None:
    lines = example.splitlines()
    # A byte that is no UTF-8 is written as \xHH.
    sent = "".join(line[2:] + "\r" for line in lines if line.startswith("> ")).encode()
    sent = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), sent)
    found = interpret(sent, Settings())
    told = [
        acknowledge(found.header, code, found.refusal, AT).decode()
        for code in codes(found.header, found.refusal)
    ]
    assert "".join(told) == "".join(line[2:] + "\r" for line in lines if line.startswith("< "))
