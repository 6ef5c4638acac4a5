"""Full conformance: what hl7apy finds, as rules and places, without a word of the message."""

import io
import json
import subprocess
import sys

import pytest

from dosestream.conformance import message_profile
from dosestream.conformance.check import MAX_BYTES, check
from dosestream.conformance.checker import LENGTH, answer, main, request
from dosestream.conformance.structures import structure_of
from dosestream.hl7.finding import Finding

SECRET = "GEHEIM"
MSH = "MSH|^~\\&|RIS|HOSP|DS|DS|20260301120000||{kind}|1|P|{version}"
PID = f"PID|1||{SECRET}^^^HOSP^MR||{SECRET}^JOHN||19800101|M"
ORDER = (PID, "ORC|NW|P1|F1", f"OBR|1|P1|F1|CT1^{SECRET}^L")


def body(*segments: str, kind: str = "ORM^O01^ORM_O01", version: str = "2.5") -> bytes:
    msh = MSH.format(kind=kind, version=version)
    return "".join(f"{segment}\r" for segment in (msh, *segments)).encode()


# Rule, HL7 table 0357, location.
CASES: dict[str, tuple[bytes, set[tuple[str, int, str]]]] = {
    "an order as the standard has it": (body(*ORDER), set()),
    "a required field is empty": (
        body(PID, "ORC||P1|F1", "OBR|1|P1|F1|CT1"),
        {("required ORC-1", 101, "ORC-1")},
    ),
    "a required segment is missing": (
        body("EVN||20260301", PID, kind="ADT^A01^ADT_A01"),
        {("required PV1", 101, "PV1")},
    ),
    "a field that may not repeat does": (
        body(PID, "ORC|NW~CA|P1|F1", "OBR|1|P1|F1|CT1"),
        {("too many ORC-1", 102, "ORC-1")},
    ),
    "a value that its table does not hold": (
        body(PID, f"ORC|{SECRET[:2]}|P1|F1", "OBR|1|P1|F1|CT1"),
        {("table ORC-1", 103, "ORC-1")},
    ),
    "a field after the last one of its segment": (
        body("EVN||20260301||||||||" + SECRET, PID, "PV1|1|I", kind="ADT^A01^ADT_A01"),
        {("unexpected EVN", 100, "EVN")},
    ),
    "a Z segment belongs to nobody's structure": (body(*ORDER, "ZDS|1.2^Application^DICOM"), set()),
    "an event that shares another's structure": (
        body("EVN||20260301", PID, "PV1|1|I", kind="ADT^A08", version="2.3.1"),
        set(),
    ),
    "no MSH": (b"PID|1\r", {("not checked", 207, "MSH")}),
    "a version hl7apy does not hold": (body(*ORDER, version="2.9"), {("not checked", 207, "MSH-12")}),
    "a type its version does not have": (
        body(*ORDER, kind="ZZZ^Z01"),
        {("not checked", 207, "MSH-9")},
    ),
    "a message over the limit": (
        body(PID, f"NTE|1||{'x' * MAX_BYTES}"),
        {("not checked", 207, "")},
    ),
    "bytes that its character set does not have": (
        body(PID).replace(b"JOHN", b"\xff\xfe\xfd"),
        {("not checked", 207, "MSH-18")},
    ),
}


@pytest.mark.parametrize(("message", "expected"), CASES.values(), ids=CASES.keys())
def test_a_finding_says_rule_and_place(message: bytes, expected: set[tuple[str, int, str]]) -> None:
    found = check(message)
    assert {(one.rule, one.error, one.location) for one in found} == expected
    assert SECRET not in repr(found)


def test_what_a_site_may_decide_for_itself_is_a_warning() -> None:
    (found,) = check(body(PID, "ORC|QQ|P1|F1", "OBR|1|P1|F1|CT1"))
    assert found == Finding("table ORC-1", 103, "ORC-1", "ORC-1 is not in table HL70119.", "warning")


MSH_FIELDS = "".join(
    f'<Field Name="MSH {n}" Usage="O" Min="0" Max="1" Datatype="{kind}"/>'
    for n, kind in enumerate(["ST", "ST", "HD", "HD", "HD", "HD", "TS", "ST", "MSG", "ST", "PT", "VID"], 1)
)
# As Messaging Workbench exports it; the site wants no PID-2.
PROFILE = """<?xml version="1.0"?>
<HL7v2xConformanceProfile HL7Version="2.5" ProfileType="Constrainable">
 <HL7v2xStaticDef MsgType="ADT" EventType="A01" MsgStructID="ADT_A01">
  <Segment Name="MSH" LongName="Message Header" Usage="R" Min="1" Max="1">
   MSH-FIELDS
  </Segment>
  <Segment Name="PID" LongName="Patient" Usage="R" Min="1" Max="1">
   <Field Name="Set ID" Usage="O" Min="0" Max="1" Datatype="SI" Length="4"/>
   <Field Name="Patient ID" Usage="X" Min="0" Max="1" Datatype="CX"/>
   <Field Name="Patient Identifier List" Usage="R" Min="1" Max="*" Datatype="CX"/>
  </Segment>
  <Segment Name="PV1" LongName="Visit" Usage="R" Min="1" Max="1">
   <Field Name="Set ID" Usage="O" Min="0" Max="1" Datatype="SI" Length="4"/>
   <Field Name="Patient Class" Usage="R" Min="1" Max="1" Datatype="IS" Length="1"/>
  </Segment>
 </HL7v2xStaticDef>
</HL7v2xConformanceProfile>
""".replace("MSH-FIELDS", MSH_FIELDS)


def test_a_message_profile_stands_in_place_of_the_standard() -> None:
    message = body("PID|1|9|1^^^HOSP", "PV1|1", kind="ADT^A01^ADT_A01")
    rules = {one.rule for one in check(message, message_profile.parse(PROFILE))}
    assert {"required PV1-2", "too many PID-2"} <= rules
    assert "required PV1-2" in {one.rule for one in check(message)}
    assert "too many PID-2" not in {one.rule for one in check(message)}


def test_a_message_of_another_structure_is_held_against_its_version() -> None:
    message = body(PID, "ORC||P1|F1", "OBR|1|P1|F1|CT1")
    assert check(message, message_profile.parse(PROFILE)) == check(message) != []


NO_PROFILES = {
    "no XML": "hello",
    "another XML": "<html/>",
    "a profile without a structure": "<HL7v2xConformanceProfile><HL7v2xStaticDef/></HL7v2xConformanceProfile>",
    "a length that is no number": PROFILE.replace('Length="4"', 'Length="four"'),
}


@pytest.mark.parametrize("text", NO_PROFILES.values(), ids=NO_PROFILES.keys())
def test_what_is_no_message_profile_is_said_to_be_none(text: str) -> None:
    with pytest.raises(message_profile.MessageProfileError, match=r"no (XML|message profile)"):
        message_profile.parse(text)


STRUCTURES = [
    (("ADT", "A08", ""), {"ADT_A01"}, "ADT_A01"),
    (("ADT", "A08", "ADT_A08"), {"ADT_A01", "ADT_A08"}, "ADT_A08"),
    (("ADT", "A31", ""), {"ADT_A01", "ADT_A05"}, "ADT_A05"),
    (("ADT", "A31", ""), {"ADT_A01"}, "ADT_A01"),
    (("SIU", "S15", ""), {"SIU_S12"}, "SIU_S12"),
    (("ORU", "A08", ""), {"ADT_A01"}, ""),
    (("ADT", "A99", ""), {"ADT_A01"}, ""),
]


@pytest.mark.parametrize(("said", "known", "expected"), STRUCTURES)
def test_an_event_has_the_structure_its_version_knows(
    said: tuple[str, str, str], known: set[str], expected: str
) -> None:
    assert structure_of(*said, known) == expected


def test_the_checker_answers_each_request_in_its_order_and_ends_with_its_input() -> None:
    messages = [body(*ORDER), body(PID, "ORC||P1|F1", "OBR|1|P1|F1|CT1"), b"nonsense"]
    requests = b"".join(request(one, "", [PROFILE]) for one in messages)
    out = io.BytesIO()
    main(io.BytesIO(requests + b"\0\0"), out)
    answers, at = [], 0
    content = out.getvalue()
    while at < len(content):
        (length,) = LENGTH.unpack_from(content, at)
        at += LENGTH.size
        answers.append(answer(content[at : at + length]))
        at += length
    assert answers == [check(one) for one in messages]


def test_the_checker_is_a_process_that_ends_with_its_parents_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dosestream.conformance.checker"],
        input=request(b"nonsense", "", []),
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout[LENGTH.size :])[0][0] == "not checked"
