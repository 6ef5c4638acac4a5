"""Text of a data set as its Specific Character Set (0008,0005) says (PS3.5 section 6.1, PS3.3 C.12.1.1.2)."""

import re
from dataclasses import dataclass, field
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

ESCAPE: Final = b"\x1b"
# A code extension holds until one of these (PS3.5 6.1.2.5.3); in a person name also until `^` and `=`.
DELIMITERS: Final = re.compile(rb"[\r\n\t\f\\]")
NAME_DELIMITERS: Final = re.compile(rb"[\r\n\t\f\\^=]")
FRAGMENT: Final = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
# Python's codecs of these read the escape sequence themselves.
READ_ESCAPES: Final = frozenset(("iso2022_jp", "iso2022_jp_2"))


@dataclass(slots=True)
class Charset:
    """Decodes the text of one instance, and remembers what it could not decode.

    Attributes:
        default: Python's name of the character set that holds without an escape sequence.
        problems: what was wrong, without any of the text.
    """

    default: str
    problems: list[str] = field(default_factory=list)

    def text(self, value: bytes, where: str) -> str:
        """A text value without padding (and without NULs, which no database takes); `where` names it in a problem."""
        if value.isascii() and ESCAPE not in value:
            return value.decode("ascii").replace("\0", "").strip()
        return self._decode(value, DELIMITERS, where).replace("\0", "").strip()

    def person_name(self, value: bytes, where: str) -> str:
        """The alphabetic group of a person name (else the ideographic, else the phonetic one), no trailing carets.

        PS3.5 6.2.1: `family^given^middle^prefix^suffix`, three groups parted by `=`.
        """
        if value.isascii() and ESCAPE not in value:
            whole = value.decode("ascii")
        else:
            whole = self._decode(value, NAME_DELIMITERS, where)
        # One value is a name; what comes after a backslash is another person's.
        groups = whole.split("\\")[0].split("=")
        names = (group.replace("\0", "").strip().rstrip("^ ") for group in groups)
        return next(filter(None, names), "")

    def _decode(self, value: bytes, delimiters: re.Pattern[bytes], where: str) -> str:
        try:
            if ESCAPE not in value:
                return value.decode(self.default)
            return "".join(self._decode_fragment(part, delimiters) for part in FRAGMENT.findall(value))
        except (UnicodeError, LookupError):
            problem = f"undecodable_text: {where} is not in the character set that (0008,0005) names"
            if problem not in self.problems:
                self.problems.append(problem)
        # What is right most often: newer systems write UTF-8 whatever they declare; Latin-1 always decodes.
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")

    def _decode_fragment(self, fragment: bytes, delimiters: re.Pattern[bytes]) -> str:
        """Text up to the next escape sequence. Raises UnicodeError or LookupError."""
        if not fragment.startswith(ESCAPE):
            return fragment.decode(self.default)
        sequence = fragment[:4] if fragment[1:3] in (b"$(", b"$)") else fragment[:3]
        encoding = CODES_TO_ENCODINGS.get(sequence)
        if encoding is None:
            raise LookupError("an escape sequence that PS3.3 C.12.1.1.2 does not list")
        if encoding in READ_ESCAPES:
            return fragment.decode(encoding)
        fragment = fragment[len(sequence) :]
        end = match.start() if (match := delimiters.search(fragment)) else len(fragment)
        return fragment[:end].decode(encoding) + fragment[end:].decode(self.default)


def charset(specific_character_set: bytes) -> Charset:
    """The charset of a data set from the bytes of (0008,0005); unknown terms are problems and left out.

    Only the first term is needed to read: the others announce escape sequences, which speak for themselves.
    """
    terms = [term.strip(" \0") for term in specific_character_set.decode("latin-1").split("\\")]
    spelled = [_spelled(term) for term in terms]
    problems = [
        f"unknown_charset: {term[:16]!r} in (0008,0005)"
        for term, known in zip(terms, spelled, strict=True)
        if known is None
    ]
    return Charset(python_encoding[spelled[0] or "ISO_IR 6"], problems)


def _spelled(term: str) -> str | None:
    """A defined term as the standard spells it, from itself or from common misspellings; None: no such term.

    Met: `ISO IR 100`, `ISO-IR 100`, `ISO_IR_100`, `ISO 2022_IR 87`, `UTF-8`.
    """
    if term in python_encoding:
        return term
    plain = term.upper().replace("_", " ").replace("-", " ")
    if plain in ("UTF 8", "UTF8"):
        return "ISO_IR 192"
    candidates = (plain, plain.replace("ISO IR", "ISO_IR"))
    return next((candidate for candidate in candidates if candidate in python_encoding), None)
