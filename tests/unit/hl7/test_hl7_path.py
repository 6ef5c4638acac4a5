"""Path expressions over a group of segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosestream.hl7.expression import Constant, Expression, Join, parse
from dosestream.hl7.header import read_header
from dosestream.hl7.path import Path, PathError
from dosestream.hl7.reader import Group, Message, read

BODY = (
    b"MSH|^~\\&|RIS|HOSP|DS|DS|20260301120000||ORM^O01^ORM_O01|1|P|2.5\r"
    b"PID|||111^^^HOSP^MR~222^^^NAT&1.2.3&ISO^NI||DOE&VAN^JOHN\\T\\CO~DOE^JACK||19800101|M\r"
    b"ORC|NW|P1^EPIC|F1\r"
    b'OBR|1|P1|F1|CT1^Head^L^A\\S\\B|||||||""|||||||ACC1||""^x\r'
)


def message(body: bytes = BODY) -> Message:
    header = read_header(body)
    assert header is not None
    found = read(body, header)
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


MANY = (
    BODY + b"OBX|1|NM|WEIGHT^Body weight||72.5|kg\rOBX|2|NM|HEIGHT||\rOBX|3|NM|HEIGHT||175|cm\r"
    b"SCH|1\rSCH|2" + b"|" * 26 + b"A7\rSCH|3" + b"|" * 26 + b'""\r'
    b'AIS|1||CT1^Head~CT2^Neck\rAIS|2||CT3\rAIP|1||9^ANE|2.1\rAIP|2||8^SURG^ANNA|1.1\rZZZ|]x|"q\r'
)

SELECTED = [
    ("a segment by number", "OBX[3]-5", ["175"]),
    ("a segment that is not there", "OBX[4]-5", []),
    ("the first segment with that component, empty or not", "OBX[3.1=HEIGHT]-5", []),
    ("a segment by a field's value", "AIP[4.1=1.1]-3.2", ["SURG"]),
    ("a segment by the first component of a field", "OBX[3=WEIGHT]-5", ["72.5"]),
    ("every segment", "OBX[*]-5", ["72.5", "175"]),
    ("every segment that says something, cleared ones too", "SCH[*]-27", ["A7", '""']),
    ("every repetition", "PID-3[*].1", ["111", "222"]),
    ("every repetition of every segment", "AIS[*]-3[*].1", ["CT1", "CT2", "CT3"]),
    ("every repetition of the first segment", "AIS-3[*].1", ["CT1", "CT2"]),
    ("every repetition of a cleared field", "OBR-11[*].2", ['""']),
    ("a selecting value in quotes", 'ZZZ[1="]x"]-2', ['"q']),
    ("a selecting value with a quote in it", 'ZZZ[2="\\"q"]-1', ["]x"]),
    ("several joined", 'join(PID-5.1.1, PID-5.2, "^")', ["DOE^JOHN&CO"]),
    ("all values joined", 'join(AIS[*]-3[*].1, "\\\\")', ["CT1\\CT2\\CT3"]),
    ("an empty one is left out of a join", 'join(PID-5.1.1, PID-5.4, PID-5.2, ", ")', ["DOE, JOHN&CO"]),
    ("a text between", 'join("CT", OBR-18, "-")', ["CT-ACC1"]),
    ("a join without any value says nothing", 'join("CT", OBR-19, "-")', []),
    ("a join of what is cleared is cleared", 'join(OBR-11, OBR-19, "-")', ['""']),
    ("a text", '"CT"', ["CT"]),
    ("a text with a quote", '"a \\"b\\""', ['a "b"']),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in SELECTED], ids=[c[0] for c in SELECTED])
def test_values(text: str, expected: list[str]) -> None:
    assert parse(text).values(message(MANY)) == expected


def test_of_several_values_the_first_that_says_something_is_meant() -> None:
    many = message(MANY)
    assert Path.parse("SCH[*]-27").value(many) == "A7"
    assert Path.parse("SCH[3]-27").value(many) == '""'
    assert Path.parse("PID-3[*].5").value(many) == "MR"


MISTAKES = [
    ("OBR-3.x", 7, "a component number"),
    ("OBR3", 4, "- and a field number"),
    ("obr-3", 1, "a segment name"),
    ("OBR-0", 5, "a field number"),
    ("OBX[-5", 5, "a number, \\* or 3.1=VALUE"),
    ("OBX[3.1=A-5", 12, "]"),
    ("PID-3[4.1].1", 7, "a number, \\* or 4.1=VALUE"),
    ("PID-3[1.2.3=X].1", 7, "a number, \\* or 4.1=VALUE"),
    ("PID-3.1.1.1", 10, "the end"),
    ("PID-3 ", 6, "the end"),
    ('"CT', 4, 'a closing "'),
    ('"CT"x', 5, "the end"),
    ("join(PID-5.1)", 13, "what stands between"),
    ('join(", ")', 10, "what stands between"),
    ("join(PID-5.1; PID-5.2)", 13, ", or \\)"),
    ('join(PID-5.x, ", ")', 12, "a path, or a text in quotes"),
    ("join(", 6, "a path, or a text in quotes"),
]


@pytest.mark.parametrize(("text", "character", "expected"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_says_at_which_character_and_what_was_expected(
    text: str, character: int, expected: str
) -> None:
    with pytest.raises(PathError, match=f"at character {character} .*{expected}"):
        parse(text)


numbers = st.integers(1, 99)
wheres = st.tuples(numbers, numbers, st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8))


@st.composite
def paths(draw: st.DrawFn) -> Path:
    component = draw(st.integers(0, 40))
    where, occurrence_where = draw(st.none() | wheres), draw(st.none() | wheres)
    return Path(
        "",
        draw(st.from_regex(r"[A-Z][A-Z0-9]{2}", fullmatch=True)),
        draw(numbers),
        component,
        draw(st.integers(0, 9)) if component else 0,
        1 if where else draw(st.integers(0, 9)),
        where,
        1 if occurrence_where else draw(st.integers(0, 9)),
        occurrence_where,
    )


texts = st.text(max_size=8)
constants = texts.map(lambda value: Constant("", value))
joins = st.tuples(st.lists(paths() | constants, min_size=1, max_size=4), texts).map(
    lambda drawn: Join("", tuple(drawn[0]), drawn[1])
)


@given(paths() | constants | joins)
def test_what_is_written_is_read_as_the_same(expression: Expression) -> None:
    written = expression.write()
    assert parse(written) == expression
    assert parse(written).text == written


@given(st.text(alphabet='OBR-3.1[*]="\\, join()', max_size=20))
def test_any_text_is_an_expression_or_a_mistake_with_its_place(text: str) -> None:
    try:
        assert parse(text).text == text
    except PathError as error:
        assert 0 <= error.position <= len(text)
