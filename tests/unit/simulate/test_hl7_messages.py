"""The HL7 the simulated systems write, read by a second reader (hl7apy)."""

import warnings

import pytest
from hl7apy.parser import parse_message
from simulated_day import day_one

from dosestream.simulate.day import Day
from dosestream.simulate.hl7_messages import CODECS, escaped, xpn
from dosestream.simulate.timeline import HL7, Step


@pytest.fixture
def day() -> Day:
    return day_one()


KINDS = (
    *(("HIS", f"ADT^{trigger}") for trigger in ("A01", "A02", "A03", "A04", "A05", "A08", "A40", "A47")),
    ("EMR", "ADT^A28"),
    ("EMR", "ADT^A31"),
    ("HIS", "ORM^O01"),
    ("RIS", "ORM^O01"),
    ("RIS2", "OMG^O19"),
    ("RIS2", "OMI^O23"),
    ("RIS", "ORU^R01"),
    *(("RIS2", f"SIU^{trigger}") for trigger in ("S12", "S13", "S26")),
)


def decoded(step: Step) -> str:
    charset = next(c for c in ("UNICODE UTF-8", "8859/1", "") if c.encode() in step.body.split(b"\r", 1)[0])
    return step.body.decode(CODECS[charset])


@pytest.mark.parametrize(("sender", "kind"), KINDS)
def test_hl7apy_reads_the_message(day: Day, sender: str, kind: str) -> None:
    step = next(step for step in day.timeline if (step.sender, step.kind) == (sender, kind))
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


def test_every_segment_of_every_message_ends_with_a_carriage_return(day: Day) -> None:
    for step in day.timeline:
        if step.channel == HL7:
            assert step.body.endswith(b"\r")
            assert b"\n" not in step.body


def test_every_kind_of_message_is_read_by_the_second_reader(day: Day) -> None:
    good = {(step.sender, step.kind) for step in day.timeline if step.answer in ("AA", "CA")}
    assert good == set(KINDS)
