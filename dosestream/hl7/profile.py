"""Message profiles: what a site asks of a source's messages beyond being readable, checked before the answer.

A profile is a table (`ProfileSettings`, one `[[profile]]` of the site's file) and is compiled once per source
and message type, so that a check costs a few microseconds. The whole of the standard is checked elsewhere
(`dosestream.conformance`), off the hot path.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.hl7.conforming import Question, Questions
from dosestream.hl7.finding import Finding
from dosestream.hl7.path import CLEARED, Path, PathError
from dosestream.hl7.reader import Message, Segment

SEGMENT, REQUIRED, DATA_TYPE, TABLE_VALUE = 100, 101, 102, 103

_TIME = r"\d{4}(\d\d(\d\d(\d\d(\d\d(\d\d(\.\d{1,4})?)?)?)?)?)?([+-]\d{4})?"
# HL7 v2.5.1 chapter 2A, DICOM PS3.5 section 9.1 for UID.
FORMATS: dict[str, re.Pattern[str]] = {
    "DT": re.compile(r"\d{4}(\d\d(\d\d)?)?"),
    "TM": re.compile(r"\d\d(\d\d(\d\d(\.\d{1,4})?)?)?([+-]\d{4})?"),
    "DTM": re.compile(_TIME),
    "TS": re.compile(_TIME),
    "NM": re.compile(r"[+-]?\d+(\.\d*)?|[+-]?\.\d+"),
    "SI": re.compile(r"\d{1,4}"),
    "UID": re.compile(r"(?=.{1,64}\Z)(0|[1-9]\d*)(\.(0|[1-9]\d*))+"),
}

_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """One profile: rules for the messages of a source and of some types.

    Attributes:
        name: what violations are told under.
        source: the source it is for; empty for every source.
        types: `ORM^O01`, or `ADT` for any event; empty for every type.
        on_violation: `flag` counts, `reject` refuses the message.
        required: segments (`PV1`) that must be there, fields (`PID-3.1`) that must be valued in every
            segment of that name, at least one; `ORC-2.1 | ORC-3.1` where one of several is enough.
        when_present: fields that must be valued wherever their segment is.
        forbidden: segments that must not be there, fields that must be empty.
        max_length: field to its longest length in characters.
        format: field to its data type: DT, TM, DTM, TS, NM, SI or UID.
        values: field to the values allowed, blanks between.
    """

    name: str = ""
    source: str = ""
    types: tuple[str, ...] = ()
    on_violation: str = "flag"
    required: tuple[str, ...] = ()
    when_present: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    max_length: Mapping[str, int] = field(default_factory=dict)
    format: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


# What IHE Radiology TF-2 asks of the messages (RAD-1, 2, 3, 4, 12, 28) and nothing here can do without;
# accession numbers are SH in DICOM: 16 characters. ZDS has a contract of its own (`schemas/z`).
IHE_MINIMUM: tuple[ProfileSettings, ...] = (
    ProfileSettings(
        "IHE",
        types=("ADT",),
        required=("EVN", "PID-3.1", "PID-5"),
        format={"PID-7": "TS"},
        values={"PID-8": "F M O U A N"},
    ),
    ProfileSettings("IHE", types=tuple(f"ADT^{e}" for e in ("A18", "A34", "A40")), required=("MRG-1.1",)),
    ProfileSettings(
        "IHE",
        types=("ORM^O01", "OMG^O19", "OMI^O23"),
        required=("PID-3.1", "PID-5", "ORC-1", "ORC-2.1 | ORC-3.1", "OBR-4.1"),
        when_present=("IPC-1.1", "IPC-2.1", "IPC-3.1", "IPC-4.1", "IPC-5.1"),
        max_length={"OBR-18": 16, "IPC-1.1": 16},
        format={"PID-7": "TS", "IPC-3.1": "UID"},
        values={"PID-8": "F M O U A N"},
    ),
    ProfileSettings("IHE", types=("OMI^O23",), required=("IPC",)),
    ProfileSettings(
        "IHE", types=("ORU^R01",), required=("PID-3.1", "OBR-4.1", "OBX"), when_present=("OBX-3.1", "OBX-11")
    ),
    ProfileSettings("IHE", types=("SIU",), required=("SCH-1.1 | SCH-2.1",)),
)


def mistakes(profile: ProfileSettings) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong with a profile: its key and a sentence for each mistake."""
    return [((key,), sentence) for key, sentence in _mistakes(profile)]


def _mistakes(profile: ProfileSettings) -> list[tuple[str, str]]:
    found = [
        (key, wrong)
        for key in ("required", "when_present", "forbidden")
        for text in getattr(profile, key)
        for part in text.split("|")
        if (wrong := _mistake(part.strip(), segment_too=key != "when_present" and "|" not in text))
    ]
    for key in ("max_length", "format", "values"):
        found += [(key, wrong) for text in getattr(profile, key) if (wrong := _mistake(text, False))]
    found += [
        ("format", f"{text} is {kind!r}, but must be one of {', '.join(FORMATS)}")
        for text, kind in profile.format.items()
        if kind not in FORMATS
    ]
    return found


def _mistake(text: str, segment_too: bool) -> str:
    if segment_too and _SEGMENT.fullmatch(text):
        return ""
    try:
        Path.parse(text)
    except PathError as error:
        return str(error)
    return ""


# The findings of one message; called with the message and the list to add to.
Check = Callable[[Message, list[Finding]], None]


@dataclass(frozen=True, slots=True)
class Compiled:
    """The checks of one source and message type."""

    flagging: tuple[Check, ...] = ()
    rejecting: tuple[Check, ...] = ()
    question: Question = field(default_factory=Question)

    def surely(self, message: Message) -> bool:
        """Whether a message surely breaks none of them."""
        return self.question.surely(message)

    def findings(self, message: Message) -> list[Finding]:
        """What is only counted."""
        return _run(self.flagging, message)

    def violations(self, message: Message) -> list[Finding]:
        """What refuses the message."""
        return _run(self.rejecting, message)


def _run(checks: tuple[Check, ...], message: Message) -> list[Finding]:
    found: list[Finding] = []
    for check in checks:
        check(message, found)
    return found


def compiled(profiles: Iterable[ProfileSettings], source: str, message_type: str) -> Compiled:
    """The checks for the messages of a source and a type (`ORM^O01`).

    Raises:
        PathError: a profile names a place that is none (`mistakes` tells them all).
    """
    code = message_type.partition("^")[0]
    flagging: list[Check] = []
    rejecting: list[Check] = []
    questions = Questions()
    for profile in profiles:
        if profile.source not in ("", source):
            continue
        if profile.types and message_type not in profile.types and code not in profile.types:
            continue
        (rejecting if profile.on_violation == "reject" else flagging).extend(_checks(profile))
        _ask(profile, questions)
    return Compiled(tuple(flagging), tuple(rejecting), questions.question())


def refusal(found: list[Finding]) -> Refusal:
    """The refusal of a message by what it violates, the first place told, the others counted."""
    first, more = found[0], len(found) - 1
    text = f"{first.text} ({more} more.)" if more else first.text
    return Refusal("profile", first.error, text, first.location, Severity.ERROR)


def _checks(profile: ProfileSettings) -> list[Check]:
    told = f" (profile {profile.name})" if profile.name else ""
    made = [_required(text, told) for text in profile.required]
    made += [_valued(text, told, needed=False) for text in profile.when_present]
    made += [_forbidden(text, told) for text in profile.forbidden]
    for text, length in profile.max_length.items():
        finding = Finding(f"length {text}", DATA_TYPE, text, f"{text} is longer than {length}{told}.")
        made.append(_each(text, finding, _within(length)))
    for text, kind in profile.format.items():
        finding = Finding(f"format {text}", DATA_TYPE, text, f"{text} is no {kind}{told}.")
        made.append(_each(text, finding, FORMATS[kind].fullmatch))
    for text, values in profile.values.items():
        finding = Finding(f"value {text}", TABLE_VALUE, text, f"{text} is none of {values}{told}.")
        made.append(_each(text, finding, frozenset(values.split()).__contains__))
    return made


def _ask(profile: ProfileSettings, questions: Questions) -> None:
    """The same rules as questions."""
    for text in profile.required:
        questions.required(text)
    for text in profile.when_present:
        questions.when_present(text)
    for text in profile.forbidden:
        questions.forbidden(text)
    for text, length in profile.max_length.items():
        questions.no_longer(text, length)
    for text, kind in profile.format.items():
        questions.matches(text, FORMATS[kind])
    for text, values in profile.values.items():
        questions.one_of(text, values.split())


def _within(length: int) -> Callable[[str], bool]:
    return lambda value: len(value) <= length


def _required(text: str, told: str) -> Check:
    if not _SEGMENT.fullmatch(text):
        return _valued(text, told, needed=True)
    finding = _absent(text, told)

    def segment(message: Message, found: list[Finding]) -> None:
        if not message.all(text):
            found.append(finding)

    return segment


def _absent(segment: str, told: str) -> Finding:
    return Finding(f"required {segment}", SEGMENT, segment, f"Segment {segment} is missing{told}.")


def _segments(path: Path) -> Callable[[Message], Sequence[Segment]]:
    """The segments a rule is about: all of that name, unless the path selects."""
    name = path.segment
    return (lambda message: message.all(name)) if path.plain else path.segments


def _valued(text: str, told: str, *, needed: bool) -> Check:
    """One of the fields is valued in each segment of that name; at least one segment, where `needed`."""
    names = [part.strip() for part in text.split("|")]
    first, *rest = map(Path.parse, names)
    segments_of = _segments(first)
    words = f"{' and '.join(names)} are" if rest else f"{names[0]} is"
    finding = Finding(f"required {text}", REQUIRED, names[0], f"{words} empty{told}.")
    absent = _absent(first.segment, told)
    number = first.field
    begins = first.component <= 1 and first.subcomponent <= 1 and first.repetition == 1 and not first.where

    def valued(message: Message, found: list[Finding]) -> None:
        segments = segments_of(message)
        if not segments:
            if needed and not _any(rest, None, message):
                found.append(absent)
            return
        for one in segments:
            # No delimiter is a letter or digit: a field that begins with one has a first component.
            if begins and one.field(number)[:1].isalnum():
                continue
            value = first.read(one)
            if (not value or value == CLEARED) and not _any(rest, one, message):
                found.append(finding)
                return

    return valued


def _any(paths: list[Path], beside: Segment | None, message: Message) -> bool:
    """Whether one of the paths is valued, in the segment beside or, of another name, in the message."""
    for path in paths:
        here = beside is not None and path.segment == beside.name
        value = path.read(beside) if here and beside is not None else path.raw(message)
        if value and value != CLEARED:
            return True
    return False


def _forbidden(text: str, told: str) -> Check:
    if _SEGMENT.fullmatch(text):
        finding = Finding(f"forbidden {text}", SEGMENT, text, f"Segment {text} is not wanted{told}.")

        def segment(message: Message, found: list[Finding]) -> None:
            if message.all(text):
                found.append(finding)

        return segment
    return _each(
        text,
        Finding(f"forbidden {text}", DATA_TYPE, text, f"{text} is not wanted{told}."),
        lambda _: False,
    )


def _each(text: str, finding: Finding, good: Callable[[str], object]) -> Check:
    """Wherever the field is valued, the value is good."""
    path = Path.parse(text)
    segments_of = _segments(path)

    def each(message: Message, found: list[Finding]) -> None:
        for segment in segments_of(message):
            value = path.read(segment)
            if value and value != CLEARED and not good(value):
                found.append(finding)
                return

    return each
