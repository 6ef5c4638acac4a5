"""Which answer is due, and its bytes."""

from dataclasses import dataclass

import pytest
from hl7apy import parser

from dosestream.hl7.acceptance import NO_MSH, UNAVAILABLE, Refusal, Severity, check
from dosestream.hl7.acknowledgement import acknowledge, codes
from dosestream.hl7.header import Header, read_header

AT = 1_782_907_200_123_456
MISSING = Refusal("no_patient_id", 101, "PID-3 is empty.", "PID-3", Severity.ERROR)
IDS = ("P", "T", "D")


def header(text: str) -> Header:
    found = read_header(text.encode())
    assert found is not None
    return found


def msh(
    kind: str = "ADT^A01", control: str = "42", processing: str = "P", version: str = "2.5", rest: str = ""
) -> Header:
    return header(f"MSH|^~\\&|RIS|HOSP|DS|CITY|20260301||{kind}|{control}|{processing}|{version}{rest}\rPID|")


def enhanced(accept: str, application: str, kind: str = "ADT^A01") -> Header:
    return msh(kind=kind, rest=f"|||{accept}|{application}")


@dataclass(frozen=True)
class Due:
    name: str
    header: Header | None
    refusal: Refusal | None
    codes: tuple[str, ...]


DUE = [
    Due("original mode, good", msh(), None, ("AA",)),
    Due("original mode, content error", msh(), MISSING, ("AE",)),
    Due("original mode, not supported", msh(), NO_MSH, ("AR",)),
    Due("no MSH", None, NO_MSH, ("AR",)),
    Due("not stored", msh(), UNAVAILABLE, ("AE",)),
    Due("enhanced: always, never", enhanced("AL", "NE"), None, ("CA",)),
    Due("enhanced: accept only", enhanced("AL", ""), None, ("CA",)),
    Due(
        "enhanced: application only; the accept answer is not forbidden",
        enhanced("", "AL"),
        None,
        ("CA", "AA"),
    ),
    Due("enhanced: both", enhanced("AL", "AL"), None, ("CA", "AA")),
    Due("enhanced: never accept", enhanced("NE", "AL"), None, ("AA",)),
    Due("enhanced: on error only, good", enhanced("ER", "ER"), None, ()),
    Due("enhanced: on error only, bad", enhanced("ER", "ER"), MISSING, ("CE",)),
    Due("enhanced: on success only, good", enhanced("SU", "SU"), None, ("CA", "AA")),
    Due("enhanced: on success only, bad", enhanced("SU", "SU"), MISSING, ()),
    Due("enhanced: a refusal is told once", enhanced("AL", "AL"), MISSING, ("CE",)),
    Due("enhanced: a refusal told by the application", enhanced("NE", "AL"), MISSING, ("AE",)),
    Due("enhanced: unsupported", enhanced("AL", "NE"), NO_MSH, ("CR",)),
    Due("enhanced: not stored", enhanced("AL", "NE"), UNAVAILABLE, ("CE",)),
    Due("enhanced: never, never", enhanced("NE", "NE"), None, ()),
    Due("an acknowledgement is not acknowledged", msh(kind="ACK^A01^ACK"), None, ()),
    Due("a MCF is not acknowledged", msh(kind="MCF"), None, ()),
    Due("a NAK is not acknowledged", msh(kind="NAK"), MISSING, ()),
    Due("an ORR is acknowledged", msh(kind="ORR^O02"), None, ("AA",)),
]


@pytest.mark.parametrize("due", DUE, ids=lambda due: due.name)
def test_due(due: Due) -> None:
    assert codes(due.header, due.refusal) == due.codes


def test_an_answer_is_the_senders_message_turned_round() -> None:
    answer = acknowledge(msh(kind="ADT^A01^ADT_A01", processing="T", version="2.3.1"), "AA", None, AT)
    assert answer == (
        b"MSH|^~\\&|DS|CITY|RIS|HOSP|20260701120000.123+0000||ACK^A01^ACK|AA1782907200123456|T|2.3.1\r"
        b"MSA|AA|42\r"
    )


def test_the_character_set_follows_the_sender() -> None:
    answer = acknowledge(msh(rest="||||||8859/1"), "AA", None, AT)
    assert answer.split(b"\r")[0].split(b"|")[17] == b"8859/1"


def test_the_delimiters_follow_the_sender() -> None:
    own = header("MSH#!@%*#RIS#HOSP#DS#CITY#20260301##ADT!A01#4#P#2.5\r")
    answer = acknowledge(own, "AE", MISSING, AT)
    assert answer.startswith(b"MSH#!@%*#DS#CITY#RIS#HOSP#")
    assert b"#ACK!A01!ACK#" in answer
    assert b"\rMSA#AE#4\rERR##PID!1!3#101!Required field missing!HL70357#E####PID-3 is empty.\r" in answer


ERR = [
    ("from 2.5 on", "2.5", b"ERR||PID^1^3|101^Required field missing^HL70357|E||||PID-3 is empty."),
    ("from 2.5 on, newest", "2.9", b"ERR||PID^1^3|101^Required field missing^HL70357|E||||PID-3 is empty."),
    ("before 2.5", "2.3.1", b"ERR|PID^1^3^101&Required field missing&HL70357"),
]


@pytest.mark.parametrize(("version", "segment"), [e[1:] for e in ERR], ids=[e[0] for e in ERR])
def test_err(version: str, segment: bytes) -> None:
    answer = acknowledge(msh(version=version), "AE", MISSING, AT)
    assert answer.split(b"\r")[2] == segment


def test_before_2_5_the_reason_stands_in_msa_3() -> None:
    answer = acknowledge(msh(version="2.3.1"), "AE", MISSING, AT)
    assert answer.split(b"\r")[1] == b"MSA|AE|42|PID-3 is empty."


def test_without_msh_there_is_still_an_answer() -> None:
    answer = acknowledge(None, "AR", NO_MSH, AT)
    assert answer.split(b"\r")[1:3] == [
        b"MSA|AR|",
        b"ERR||MSH^1|100^Segment sequence error^HL70357|E||||The message does not begin with an MSH segment.",
    ]


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5", "2.5.1", "2.6"])
@pytest.mark.parametrize("refusal", [None, MISSING, UNAVAILABLE])
def test_hl7apy_reads_the_answer(version: str, refusal: Refusal | None) -> None:
    sent = msh(version=version)
    (code,) = codes(sent, refusal)
    answer = parser.parse_message(acknowledge(sent, code, refusal, AT).decode(), find_groups=False)
    assert answer.msa.msa_1.value == code
    assert answer.msa.msa_2.value == "42"
    assert answer.msh.msh_9.msh_9_1.value == "ACK"


ACCEPTANCE = [
    ("a listed type", msh(), None),
    ("a type we do not map", msh(kind="ORU^R01"), None),
    ("every version", msh(version="2.8.2"), None),
    ("the first component of the version", msh(version="2.5^DEU"), None),
    ("the first component of the processing id", msh(processing="P^T"), None),
    ("an acknowledgement", msh(kind="ACK"), None),
    ("version 1.0", msh(version="1.0"), ("version", "R")),
    ("version 3", msh(version="3.0"), ("version", "R")),
    ("no version", msh(version=""), ("version", "R")),
    ("an unknown processing id", msh(processing="X"), ("processing_id", "R")),
    ("no processing id", msh(processing=""), ("processing_id", "R")),
    ("an unknown type", msh(kind="FOO^A01"), ("message_type", "R")),
    ("an unknown event", msh(kind="ADT^A99"), ("event", "R")),
    ("no event", msh(kind="ADT"), ("event", "R")),
    ("a Z event", msh(kind="ADT^Z01"), ("event", "R")),
    ("a Z type", msh(kind="ZZZ^A01"), ("message_type", "R")),
    ("no type", msh(kind=""), ("no_message_type", "R")),
    ("no control id", msh(control=""), ("no_control_id", "E")),
]


@pytest.mark.parametrize(("sent", "expected"), [a[1:] for a in ACCEPTANCE], ids=[a[0] for a in ACCEPTANCE])
def test_acceptance(sent: Header, expected: tuple[str, str] | None) -> None:
    refusal = check(sent, IDS)
    assert (None if refusal is None else (refusal.code, str(refusal.severity))) == expected


def test_a_site_may_take_events_of_its_own() -> None:
    assert check(msh(kind="ADT^Z01"), IDS, events={"ADT": {"Z01"}}) is None
    assert check(msh(kind="ZXR^Z02"), IDS, events={"ZXR": {"Z02"}}) is None
