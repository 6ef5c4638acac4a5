"""Path expressions over a group of segments."""

import pytest

from dosestream.hl7.header import read_header
from dosestream.hl7.path import Path, PathError
from dosestream.hl7.reader import Group, Message, read

BODY = (
    b"MSH|^~\\&|RIS|HOSP|DS|DS|20260301120000||ORM^O01^ORM_O01|1|P|2.5\r"
    b"PID|||111^^^HOSP^MR~222^^^NAT&1.2.3&ISO^NI||DOE&VAN^JOHN\\T\\CO~DOE^JACK||19800101|M\r"
    b"ORC|NW|P1^EPIC|F1\r"
    b'OBR|1|P1|F1|CT1^Head^L^A\\S\\B|||||||""|||||||ACC1||""^x\r'
)


def message() -> Message:
    header = read_header(BODY)
    assert header is not None
    found = read(BODY, header)
    assert isinstance(found, Message)
    return found


CASES = [
    ("a component", "PID-3.1", "111"),
    ("the field is its first repetition, as sent", "PID-3", "111^^^HOSP^MR"),
    ("a repetition by number", "PID-3[2].1", "222"),
    ("a repetition that is not there", "PID-3[3].1", ""),
    ("a repetition by number of a field that has one", "OBR-18[2]", ""),
    ("a repetition by a component's value", "PID-3[5=NI].1", "222"),
    ("a repetition by a subcomponent's value", "PID-3[4.2=1.2.3].1", "222"),
    ("a repetition by a namespace", "PID-3[4.1=HOSP].1", "111"),
    ("no repetition has that value", "PID-3[4.1=ELSE].1", ""),
    ("a subcomponent", "PID-5.1.2", "VAN"),
    ("a component with subcomponents is its first", "PID-5.1", "DOE"),
    ("escapes are resolved after the splitting", "OBR-4.4", "A^B"),
    ("a subcomponent separator in an escape splits nothing", "PID-5.2", "JOHN&CO"),
    ("MSH-1 is the field separator", "MSH-1", "|"),
    ("MSH-2 is not split", "MSH-2", "^~\\&"),
    ("MSH counts from its separator", "MSH-9.2", "O01"),
    ("a field behind the end", "PID-30", ""),
    ("a component behind the end", "OBR-18.2", ""),
    ("the first component of a plain field", "OBR-18.1", "ACC1"),
    ("a segment that is not there", "ZDS-1.1", ""),
    ("a cleared field clears its components", "OBR-11.3", '""'),
    ("a cleared component", "OBR-20.1", '""'),
    ("beside a cleared component", "OBR-20.2", "x"),
]


@pytest.mark.parametrize(("path", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_value(path: str, expected: str) -> None:
    assert Path.parse(path).value(message()) == expected


def test_a_group_comes_before_the_message_behind_it() -> None:
    whole = message()
    group = Group([s for s in whole if s.name == "ORC"], Group([s for s in whole if s.name == "PID"]))
    assert Path.parse("ORC-2.1").value(group) == "P1"
    assert Path.parse("PID-3.1").value(group) == "111"
    assert Path.parse("OBR-18").value(group) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PID",
        "PID-",
        "PID-0",
        "pid-3",
        "PID.3.1",
        "PID-3[",
        "PID-3[].1",
        "PID-3.1.1.1",
        "PIDX-3",
        " PID-3",
    ],
)
def test_what_is_no_path_says_how_to_write_one(text: str) -> None:
    with pytest.raises(PathError, match="write SEG-F"):
        Path.parse(text)
