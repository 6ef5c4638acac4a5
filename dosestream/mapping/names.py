"""Names of people in the order a sender writes them, as a template says it, to DICOM PN.

"family given middle"      DOE^JOHN^Q, or the words of `DOE JOHN Q`
"family, given"            Doe, John
"given family"             John Doe: the last part takes the words that are left
"id family given"          a part called `id` or `skip` is left out
"""

import re

from dosestream.hl7.escapes import unescape
from dosestream.hl7.header import Delimiters
from dosestream.mapping.values import pn

# The components of a DICOM PN as HL7 orders them, and what is passed over.
PARTS = ("family", "given", "middle", "suffix", "prefix")
PASSED_OVER = ("id", "skip")


def template(text: str) -> tuple[str, ...]:
    """The parts a template names.

    Raises:
        ValueError: it names none, one twice, or one that a name has not.
    """
    parts = tuple(re.split(r"[,\s]+", text.strip()))
    if unknown := [part for part in parts if part not in PARTS + PASSED_OVER]:
        raise ValueError(f"{unknown[0]!r} is no part of a name; these are: {', '.join(PARTS + PASSED_OVER)}")
    if len({part for part in parts if part in PARTS}) < len([part for part in parts if part in PARTS]):
        raise ValueError("a part of the name is named twice")
    if not set(parts) & set(PARTS):
        raise ValueError("no part of the name is kept")
    return parts


def convert(value: str, delimiters: Delimiters, template_text: str, parts: tuple[str, ...]) -> str:
    """A name as sent to DICOM PN.

    Its parts are told apart by the component separator, else the subcomponent separator, else by commas where
    the template has commas, else by blanks.
    """
    for delimiter in (delimiters.component, delimiters.subcomponent):
        if delimiter in value:
            pieces = [unescape(piece, delimiters) for piece in value.split(delimiter)]
            break
    else:
        text = unescape(value, delimiters).strip()
        if "," in template_text:
            pieces = text.split(",", len(parts) - 1)
        else:
            pieces = text.split(None, len(parts) - 1)
    named = dict(zip(parts, pieces, strict=False))
    return pn([named.get(part, "") for part in PARTS])
