"""What a check of a message found: by a profile, a Z segment's contract or the standard's own structures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that a message breaks. It never holds a value of the message, so it may be logged and counted.

    Attributes:
        rule: short and stable, what findings are counted by, such as `required PID-5`.
        error: HL7 table 0357: 100 segment, 101 required field, 102 data type, 103 table value.
        location: SEG-F.C, or a segment's name, or empty.
        text: one sentence for a person, ASCII.
        severity: `error`, or `warning` where the standard leaves it to the site.
    """

    rule: str
    error: int
    location: str
    text: str
    severity: str = "error"
