"""One message against its HL7 version, or a site's message profile: findings without a word of the message.

hl7apy takes some 15 ms for an order message, and more for longer ones, so the size is bounded here and the
time where it is called (`dosestream.conformance.checker`).
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hl7apy import SUPPORTED_LIBRARIES, load_library
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import get_message_info, parse_segments
from hl7apy.validation import Validator

from dosestream.conformance.message_profile import MessageProfile
from dosestream.conformance.structures import structure_of
from dosestream.hl7.charset import Undecodable
from dosestream.hl7.finding import Finding
from dosestream.hl7.header import Header, read_header
from dosestream.hl7.reader import read

MAX_BYTES = 128 * 1024
MAX_FINDINGS = 200

# What hl7apy says to rule, table 0357, and a sentence; its own words may quote the message.
_SAID: tuple[tuple[re.Pattern[str], str, int, str], ...] = (
    (re.compile(r"Missing required child (?P<where>\S+)$"), "required", 101, "{0} is required."),
    (
        re.compile(r"Child limit exceeded (?P<where>\S+)$"),
        "too many",
        102,
        "{0} is there more often than the version allows (a withdrawn one: not at all).",
    ),
    (
        re.compile(r"Value (?P<value>.*) not in table (?P<limit>HL7\d+) in element (?P<where>\S+)$", re.S),
        "table",
        103,
        "{0} is not in table {1}.",
    ),
    (
        re.compile(r"Exceeded max length \((?P<limit>\d+)\) of (?P<where>\S+)$"),
        "length",
        102,
        "{0} is longer than {1}.",
    ),
    (
        re.compile(r"Datatype \S+ is not correct for (?P<where>\S+) \(it must be .*\)$"),
        "type",
        102,
        "{0} is not of the data type it should be.",
    ),
    (
        re.compile(
            r"Invalid children detected for <(?P<kind>\w+) (?P<where>\w+).*: \[(?P<limit>[\w', ]*)\]$", re.S
        ),
        "unexpected",
        100,
        "{0} holds what does not belong there.",
    ),
    (
        re.compile(r"Unknown element found: <\w+ (?P<where>\w+)", re.S),
        "unknown",
        102,
        "{0} holds what the version does not know.",
    ),
)
_FIELD = re.compile(r"(?P<segment>[A-Z][A-Z0-9]{2})_(?P<field>\d+)")
_PART = re.compile(r"[A-Z]+_(?P<number>\d+)")


def check(body: bytes, profile: MessageProfile | None = None, default_charset: str = "") -> list[Finding]:
    """What in the message is not as its version (MSH-12) says; never raises for a message.

    A profile stands in place of the version for the structures it holds.

    A message that cannot be checked at all has one finding whose rule is `not checked`.
    """
    header = read_header(body)
    if header is None:
        return [_not_checked("it does not begin with a usable MSH", "MSH")]
    if len(body) > MAX_BYTES:
        return [_not_checked(f"it is longer than {MAX_BYTES // 1024} KiB")]
    version = header.word(12)
    if version not in SUPPORTED_LIBRARIES:
        return [_not_checked("its version is none that hl7apy holds", "MSH-12")]
    message = read(body, header, default_charset)
    if isinstance(message, Undecodable):
        return [_not_checked("its character set cannot be read", "MSH-18")]
    text = "".join(f"{segment.line}\r" for segment in message)
    try:
        found = list(_findings(text, header, profile))
    except HL7apyException as error:
        return [_not_checked(f"hl7apy cannot parse it ({type(error).__name__})")]
    except Exception as error:  # hl7apy raises many kinds for odd messages; none may end the checker
        return [_not_checked(f"hl7apy failed on it ({type(error).__name__})")]
    return list(dict.fromkeys(found))[:MAX_FINDINGS]


def _not_checked(why: str, location: str = "") -> Finding:
    return Finding("not checked", 207, location, f"The message was not checked: {why}.", "warning")


def _findings(text: str, header: Header, profile: MessageProfile | None) -> Iterator[Finding]:
    version, kind = header.word(12), (header.word(9, 1), header.word(9, 2), header.word(9, 3))
    name = structure_of(*kind, (profile or {}).keys())
    reference = (profile or {}).get(name)
    if reference is None and not (name := structure_of(*kind, load_library(version).MESSAGES.keys())):
        yield _not_checked("the version has no structure for its type", "MSH-9")
        return
    encoding, _, _ = get_message_info(text)
    level = VALIDATION_LEVEL.TOLERANT
    message = Message(
        name=name, reference=reference, version=version, validation_level=level, encoding_chars=encoding
    )
    message.children = parse_segments(text, version, encoding, level, message.reference, True)
    # hl7apy tells everything it finds in a file only; the file holds values and is gone at once.
    with tempfile.TemporaryDirectory(prefix="dosestream-conformance-") as folder:
        report = Path(folder) / "report"
        try:
            Validator.validate(message, reference, report_file=str(report))
        except HL7apyException:
            if not report.exists():
                raise
        said = report.read_text(encoding="utf-8")
    for line in re.split(r"\n(?=Error: |Warning: )", said.rstrip("\n")):
        if line and (finding := _finding(line, header)) is not None:
            yield finding


def _finding(line: str, header: Header) -> Finding | None:
    severity, _, words = line.partition(": ")
    for pattern, rule, error, sentence in _SAID:
        if (match := pattern.match(words)) is None:
            continue
        parts = match.groupdict()
        if (value := parts.get("value")) is not None and header.delimiters.component in value:
            # hl7apy compares a whole coded field with the table of its first component.
            return None
        if rule == "required" and _is_alternative(parts["where"]):
            return None
        where = _location(parts["where"])
        is_place = re.fullmatch(r"[A-Z][A-Z0-9]{2}(-[\d.]+)?", where)
        told = sentence.format(where, parts.get("limit"))
        return Finding(f"{rule} {where}", error, where if is_place else "", told, severity.lower())
    return Finding("other", 102, "", "hl7apy found something it has no place for.", severity.lower())


def _is_alternative(name: str) -> bool:
    """Whether it is one of a choice of segments, of which hl7apy asks for every one."""
    parent, _, child = name.partition(".")
    return "CHOICE" in parent or (len(child) == 3 and child in parent)


def _location(name: str) -> str:
    """hl7apy's `PARENT.CHILD` as SEG-F.C, a segment's name, or its own words for what lies deeper."""
    parent, _, child = name.partition(".")
    if not child:
        field = _FIELD.fullmatch(parent)
        return f"{field['segment']}-{field['field']}" if field else parent
    if field := _FIELD.fullmatch(child):
        if field["segment"] == parent:
            return f"{parent}-{field['field']}"
        return f"{parent} {child}"
    if (field := _FIELD.fullmatch(parent)) and (part := _PART.fullmatch(child)):
        return f"{field['segment']}-{field['field']}.{part['number']}"
    return child
