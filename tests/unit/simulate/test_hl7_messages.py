"""The HL7 the simulated systems write, read by a second reader (hl7apy)."""

import warnings
from datetime import date

import pytest
from hl7apy.parser import parse_message

from dosestream.simulate.day import plan
from dosestream.simulate.hl7_messages import CODECS, escaped, xpn
from dosestream.simulate.timeline import HL7, Step

DAY = plan(1, date(2026, 3, 14))
MESSAGES = [step for step in DAY.timeline if step.channel == HL7 and step.answer != "AR"]


def first_of_each_kind() -> list[Step]:
    found: dict[tuple[str, str], Step] = {}
    for step in MESSAGES:
        found.setdefault((step.kind, step.sender), step)
    return list(found.values())


def decoded(step: Step) -> str:
    charset = next(c for c in ("UNICODE UTF-8", "8859/1", "") if c.encode() in step.body.split(b"\r", 1)[0])
    return step.body.decode(CODECS[charset])


@pytest.mark.parametrize("step", first_of_each_kind(), ids=lambda step: f"{step.kind} of {step.sender}")
def test_hl7apy_reads_the_message(step: Step) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hl7apy's own
        message = parse_message(decoded(step), find_groups=False)
    assert message.msh.msh_9.to_er7().startswith(step.kind)
    assert message.msh.msh_10.to_er7() == step.name
    names = [segment.name for segment in message.children]
    assert names[0] == "MSH"
    assert names.count("PID") == 1


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Adams^Anna", "Adams^Anna"),
        ("Weiß^Ivan^^Dr.", "Weiß^Ivan^^^Dr."),
        ("Weiß^Ivan^B^Dr.^jr.", "Weiß^Ivan^B^jr.^Dr."),
        ("Smith & Sons^X", "Smith \\T\\ Sons^X"),
        ("", ""),
    ],
)
def test_a_dicom_name_has_its_prefix_before_its_suffix_and_hl7_after(name: str, written: str) -> None:
    assert xpn(name) == written


def test_delimiters_in_text_are_escaped() -> None:
    assert escaped("a|b^c&d~e\\f") == "a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f"


def test_every_segment_of_every_message_ends_with_a_carriage_return() -> None:
    for step in MESSAGES:
        assert step.body.endswith(b"\r")
        assert b"\n" not in step.body
