"""The timeline: what leaves which system when, and the ways a network can disturb it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

HL7 = "hl7"
DICOM = "dicom"
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


@dataclass(frozen=True, slots=True)
class Step:
    """One message or instance on its way.

    Attributes:
        sent_at, happened_at: microseconds since 1970 UTC; a held message is sent long after it happened.
        channel: `HL7` or `DICOM`.
        sender: the sending system (HL7) or the calling AE title (DICOM).
        name: MSH-10, or the SOP Instance UID.
        kind: MSH-9 as CODE^EVENT, or the SOP class in a word.
        body: the message without its frame, or the DICOM file.
        answer: what a correct receiver says: an MSA-1 code, or the C-STORE status in four hex digits.
    """

    sent_at: int
    happened_at: int
    channel: str
    sender: str
    name: str
    kind: str
    body: bytes
    answer: str


def in_order(steps: Sequence[Step]) -> tuple[Step, ...]:
    """By the time of sending."""
    return tuple(sorted(steps, key=lambda step: (step.sent_at, step.name)))


def shuffled(steps: Sequence[Step], seed: int) -> tuple[Step, ...]:
    """Any order at all: what arrives when decides nothing, so not even one sender's own order is kept."""
    mixed = list(steps)
    Random(seed).shuffle(mixed)
    return tuple(mixed)


def backwards(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The last first."""
    return tuple(reversed(steps))


def doubled(steps: Sequence[Step], seed: int, share: float = 1.0) -> tuple[Step, ...]:
    """A `share` of the steps sent twice, byte for byte, the second time anywhere after the first."""
    rng = Random(seed)
    placed = [(float(index), step) for index, step in enumerate(steps)]
    again = [
        (rng.uniform(index, len(steps)), step) for index, step in enumerate(steps) if rng.random() < share
    ]
    return tuple(step for _, step in sorted(placed + again, key=lambda pair: pair[0]))


def later(step: Step, by: int) -> Step:
    """The same step sent `by` microseconds later; what it says stays as it was."""
    return replace(step, sent_at=step.sent_at + by)
