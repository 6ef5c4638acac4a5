"""Message profiles: a rule that is broken is told with its place, its code, and no word of the message."""

import re
from dataclasses import replace

import pytest

from dosestream.hl7.finding import Finding
from dosestream.hl7.header import read_header
from dosestream.hl7.profile import IHE_MINIMUM, ProfileSettings, compiled, mistakes, refusal
from dosestream.hl7.reader import Message, read

SECRET = "GEHEIM"


def message(*segments: str, kind: str = "ORM^O01") -> Message:
    lines = (f"MSH|^~\\&|RIS|HOSP|DS|DS|20260301120000||{kind}|1|P|2.5", *segments)
    body = "".join(f"{line}\r" for line in lines).encode()
    header = read_header(body)
    assert header is not None
    found = read(body, header)
    assert isinstance(found, Message)
    return found


ORDER = message(
    f"PID|1||{SECRET}^^^HOSP^MR||DOE^JOHN||19800101|X",
    "ORC|NW|P1|F1",
    "OBR|1|P1|F1|CT1^Head||||||||||||||ACC-1234567890-1234",
    "ORC|NW||F2",
    "OBR|2||F2|",
    "ZDS|1.2.x^Application^DICOM",
)

RULES: dict[str, tuple[ProfileSettings, Finding | None]] = {
    "a segment that is there": (ProfileSettings(required=("PID",)), None),
    "a segment that is missing": (
        ProfileSettings(required=("PV1",)),
        Finding("required PV1", 100, "PV1", "Segment PV1 is missing."),
    ),
    "a field that is valued": (ProfileSettings(required=("PID-3.1",)), None),
    "a field that is empty": (
        ProfileSettings("ris", required=("PID-18.1",)),
        Finding("required PID-18.1", 101, "PID-18.1", "PID-18.1 is empty (profile ris)."),
    ),
    "a field of a segment that is missing": (
        ProfileSettings(required=("PV1-2",)),
        Finding("required PV1", 100, "PV1", "Segment PV1 is missing."),
    ),
    "a field that only the first of two segments values": (
        ProfileSettings(required=("OBR-4.1",)),
        Finding("required OBR-4.1", 101, "OBR-4.1", "OBR-4.1 is empty."),
    ),
    "one of two fields is enough in each segment": (ProfileSettings(required=("ORC-2.1 | ORC-3.1",)), None),
    "both of two fields empty": (
        ProfileSettings(required=("ORC-4.1 | ORC-5",)),
        Finding("required ORC-4.1 | ORC-5", 101, "ORC-4.1", "ORC-4.1 and ORC-5 are empty."),
    ),
    "a field of another segment that is enough": (ProfileSettings(required=("PV1-19.1 | PID-3.1",)), None),
    "a field of an optional segment that is not there": (ProfileSettings(when_present=("IPC-1.1",)), None),
    "a field of an optional segment that is there and empty": (
        ProfileSettings(when_present=("ZDS-2",)),
        Finding("required ZDS-2", 101, "ZDS-2", "ZDS-2 is empty."),
    ),
    "a segment that must not be there": (
        ProfileSettings(forbidden=("ZDS",)),
        Finding("forbidden ZDS", 100, "ZDS", "Segment ZDS is not wanted."),
    ),
    "a field that must be empty": (
        ProfileSettings(forbidden=("PID-3",)),
        Finding("forbidden PID-3", 102, "PID-3", "PID-3 is not wanted."),
    ),
    "a field as long as it may be": (ProfileSettings(max_length={"OBR-18": 19}), None),
    "a field that is too long": (
        ProfileSettings(max_length={"OBR-18": 16}),
        Finding("length OBR-18", 102, "OBR-18", "OBR-18 is longer than 16."),
    ),
    "a date": (ProfileSettings(format={"PID-7": "TS"}), None),
    "a UID that is none": (
        ProfileSettings(format={"ZDS-1.1": "UID"}),
        Finding("format ZDS-1.1", 102, "ZDS-1.1", "ZDS-1.1 is no UID."),
    ),
    "a value of the table": (ProfileSettings(values={"ORC-1": "NW CA"}), None),
    "a value that is not of the table": (
        ProfileSettings(values={"PID-8": "F M"}),
        Finding("value PID-8", 103, "PID-8", "PID-8 is none of F M."),
    ),
    "a profile for another source": (ProfileSettings(source="his", required=("PV1",)), None),
    "a profile for another type": (ProfileSettings(types=("ADT", "ORM^O02"), required=("PV1",)), None),
    "a profile for every event of the type": (
        ProfileSettings(source="ris", types=("ORM",), required=("PV1",)),
        Finding("required PV1", 100, "PV1", "Segment PV1 is missing."),
    ),
}


@pytest.mark.parametrize(("profile", "expected"), RULES.values(), ids=RULES.keys())
def test_a_rule_says_what_it_is_about(profile: ProfileSettings, expected: Finding | None) -> None:
    assert mistakes(profile) == []
    checks = compiled([profile], "ris", "ORM^O01")
    assert checks.violations(ORDER) == []
    assert checks.findings(ORDER) == ([expected] if expected is not None else [])


@pytest.mark.parametrize(("profile", "expected"), RULES.values(), ids=RULES.keys())
def test_a_profile_that_rejects_finds_the_same_as_one_that_flags(
    profile: ProfileSettings, expected: Finding | None
) -> None:
    checks = compiled([replace(profile, on_violation="reject")], "ris", "ORM^O01")
    assert checks.findings(ORDER) == []
    assert checks.violations(ORDER) == ([expected] if expected is not None else [])


def test_a_cleared_field_is_not_valued_and_breaks_no_format() -> None:
    profile = ProfileSettings(required=("PID-7",), format={"PID-7": "TS"})
    cleared = message('PID|1||1||DOE||""|M')
    assert [f.rule for f in compiled([profile], "", "ORM^O01").findings(cleared)] == ["required PID-7"]


def test_a_selected_segment_is_the_one_the_rule_is_about() -> None:
    profile = ProfileSettings(required=("OBX[3.1=WEIGHT]-5",))
    check = compiled([profile], "", "ORM^O01")
    assert check.findings(message("OBX|1|NM|HEIGHT||", "OBX|2|NM|WEIGHT||70")) == []
    assert [f.error for f in check.findings(message("OBX|1|NM|HEIGHT||1", "OBX|2|NM|WEIGHT||"))] == [101]


def test_the_refusal_tells_the_first_place_and_how_many_more_there_are() -> None:
    profile = ProfileSettings("ris", on_violation="reject", required=("PV1", "PID-18"))
    told = refusal(compiled([profile], "", "ORM^O01").violations(ORDER))
    assert (told.code, told.error, told.location, told.severity) == ("profile", 100, "PV1", "E")
    assert told.reason == "Segment PV1 is missing (profile ris). (1 more.)"


def test_what_the_ihe_minimum_finds_holds_no_value_of_the_message() -> None:
    checks = compiled(IHE_MINIMUM, "ris", "ORM^O01")
    found = checks.findings(ORDER)
    assert checks.rejecting == ()
    assert [f.rule for f in found] == [
        "required OBR-4.1",
        "length OBR-18",
        "value PID-8",
    ]
    assert not re.search(f"{SECRET}|DOE|ACC-|1980", repr(found))


@pytest.mark.parametrize("profile", IHE_MINIMUM)
def test_the_ihe_minimum_has_no_mistake(profile: ProfileSettings) -> None:
    assert mistakes(profile) == []
    assert profile.on_violation == "flag"


MISTAKES = {
    "a path that is none": (ProfileSettings(required=("PID-x",)), "required"),
    "one of two places that is a segment": (ProfileSettings(required=("PID-3 | PV1",)), "required"),
    "a segment where a field must be": (ProfileSettings(when_present=("ZDS",)), "when_present"),
    "a length of no field": (ProfileSettings(max_length={"OBR": 1}), "max_length"),
    "an unknown data type": (ProfileSettings(format={"PID-7": "XX"}), "format"),
}


@pytest.mark.parametrize(("profile", "key"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_profile_is_told_by_its_key(profile: ProfileSettings, key: str) -> None:
    assert [keys[0] for keys, _ in mistakes(profile)] == [key]
