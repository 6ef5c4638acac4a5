"""Whether a message is one this listener takes at all: version, processing id, type, event, control id."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dosestream.hl7.header import Header
from dosestream.hl7.tables import ACKNOWLEDGEMENTS, EVENTS, MESSAGE_TYPES, VERSIONS


class Severity(StrEnum):
    """The second letter of the acknowledgement code (HL7 table 0008)."""

    ERROR = "E"
    REJECT = "R"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not accepted.

    Attributes:
        code: short and stable, for the rejected topic.
        error: HL7 table 0357.
        reason: one sentence for a person, ASCII, without patient data.
        location: SEG-F.C, or a segment's name, or empty.
        severity: whether the answer is AE/CE or AR/CR.
    """

    code: str
    error: int
    reason: str
    location: str = ""
    severity: Severity = Severity.REJECT


NO_MSH = Refusal("no_msh", 100, "The message does not begin with an MSH segment.", "MSH")
UNAVAILABLE = Refusal(
    "unavailable",
    207,
    "The message could not be stored; send it again later.",
    severity=Severity.ERROR,
)
TOO_LARGE = Refusal("too_large", 207, "The message is larger than this listener takes.")

NEVER_ANSWERED = ACKNOWLEDGEMENTS


def check(
    header: Header,
    processing_ids: Collection[str],
    versions: Collection[str] = VERSIONS,
    events: Mapping[str, Collection[str]] | None = None,
) -> Refusal | None:
    """The first reason to refuse, None where there is none (HL7 v2.5.1 section 2.9.2).

    `events` is what a site takes beyond the tables: message type to its events.
    """
    code, event = header.word(9, 1), header.word(9, 2)
    extra = (events or {}).get(code)
    if code in NEVER_ANSWERED:
        return None
    if not code:
        return Refusal("no_message_type", 200, "MSH-9 says no message type.", "MSH-9.1")
    if code not in MESSAGE_TYPES and extra is None:
        return Refusal("message_type", 200, "The message type is not listed in HL7 table 0076.", "MSH-9.1")
    if event not in EVENTS and event not in (extra or ()):
        return Refusal("event", 201, "The trigger event is not listed in HL7 table 0003.", "MSH-9.2")
    if header.word(11) not in processing_ids:
        return Refusal("processing_id", 202, "The processing id is not one this source may send.", "MSH-11.1")
    if header.word(12) not in versions:
        return Refusal("version", 203, "The HL7 version is none of 2.1 to 2.9.", "MSH-12.1")
    if not header.field(10).strip():
        return Refusal("no_control_id", 101, "MSH-10 is empty.", "MSH-10", Severity.ERROR)
    return None
