"""A message that is surely without a finding has none, whatever the profiles and the message."""

from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dosestream.hl7.batch import split
from dosestream.hl7.header import read_header
from dosestream.hl7.profile import FORMATS, IHE_MINIMUM, ProfileSettings, compiled
from dosestream.hl7.reader import Message, read, read_text

SEGMENTS = ("PID", "OBR", "ORC", "ZDS")
PATHS = [
    *(f"{segment}-{field}{rest}" for segment in SEGMENTS for field in (1, 2, 3) for rest in ("", ".1", ".2")),
    *(
        "PID-3.1.1",
        "PID-3.1.2",
        "PID-3[2].1",
        "PID-3[*].1",
        "PID-3[2.1=7].1",
        "OBR[2]-1",
        "OBR[*]-2",
        "MSH-3",
    ),
]
PLACES = st.sampled_from(PATHS)
SEVERAL = st.lists(PLACES, min_size=1, max_size=2).map(" | ".join)
OR_SEGMENT = st.sampled_from(SEGMENTS) | PLACES
PROFILES = st.builds(
    ProfileSettings,
    on_violation=st.sampled_from(["flag", "reject"]),
    required=st.lists(st.sampled_from(SEGMENTS) | SEVERAL, max_size=2).map(tuple),
    when_present=st.lists(SEVERAL, max_size=2).map(tuple),
    forbidden=st.lists(OR_SEGMENT, max_size=1).map(tuple),
    max_length=st.dictionaries(PLACES, st.integers(1, 4), max_size=1),
    format=st.dictionaries(PLACES, st.sampled_from(sorted(FORMATS)), max_size=2),
    values=st.dictionaries(PLACES, st.sampled_from(["A 7", "7 1.2 A^7"]), max_size=1),
)
FIELDS = st.lists(
    st.sampled_from(["A", "7", "7", "20260301", "1.2", "", "^", "&", "~", '""', " ", "\\T\\", "é"]),
    max_size=3,
).map("".join)
LINES = st.tuples(st.sampled_from(SEGMENTS), st.lists(FIELDS, max_size=4))


@settings(max_examples=200, deadline=None)
@given(st.lists(PROFILES, max_size=2), st.lists(LINES, max_size=4))
def test_surely_is_never_said_of_a_message_with_findings(
    profiles: list[ProfileSettings], lines: list[tuple[str, list[str]]]
) -> None:
    text = "\r".join(["MSH|^~\\&|A|B|C|D|20260301||ORM^O01|1|P|2.5", *("|".join([n, *f]) for n, f in lines)])
    header = read_header(text.encode())
    assert header is not None
    rules, message = compiled(profiles, "", "ORM^O01"), read_text(text, header)
    assume(rules.surely(message))
    assert (rules.findings(message), rules.violations(message)) == ([], [])


def test_of_the_samples_nearly_all_that_keep_the_rules_are_sure(test_data: Path) -> None:
    sure = kept = 0
    for file in sorted((test_data / "hl7").glob("*/*.hl7")):
        for body in split(file.read_bytes()):
            header = read_header(body)
            message = read(body, header) if header is not None else None
            if header is None or not isinstance(message, Message):
                continue
            rules = compiled(IHE_MINIMUM, "", header.message_type)
            keeps = not rules.findings(message) and not rules.violations(message)
            assert keeps or not rules.surely(message), file.name
            kept += keeps
            sure += rules.surely(message)
    assert sure > 0.9 * kept > 90


def test_other_delimiters_are_left_to_the_rules() -> None:
    text = "MSH|.~\\&|A|B\rPID|1.2"
    header = read_header(text.encode())
    assert header is not None
    assert not compiled([ProfileSettings(format={"PID-1": "UID"})], "", "ADT").surely(read_text(text, header))
