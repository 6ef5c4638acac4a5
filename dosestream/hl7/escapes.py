"""Escape sequences (HL7 v2.5.1 section 2.7): text as sent to text as meant, and back."""

from collections.abc import Callable
from contextlib import suppress

from dosestream.hl7.header import STANDARD, Delimiters

# Formatting that leaves nothing behind in plain text: highlighting on and off, word wrap on and off.
SILENT = frozenset({"H", "N", ".fi", ".nf"})


def unescape(text: str, delimiters: Delimiters = STANDARD, codec: str = "utf-8") -> str:
    """Replace what has a plain meaning; what has none (character set switches, `\\Z..\\`, unknown or
    unterminated sequences) stays as sent. `\\X..\\` holds bytes in the message's `codec`.
    """
    if delimiters.escape not in text:
        return text
    return _replaced(text, delimiters.escape, lambda sequence: _meaning(sequence, delimiters, codec))


def hex_in_utf8(text: str, delimiters: Delimiters, decode: Callable[[bytes], str]) -> str:
    """The text with the bytes of every `\\X..\\` in UTF-8 instead of the set that `decode` reads.

    Bytes that `decode` cannot read stay as sent.
    """
    mark = delimiters.escape

    def again(sequence: str) -> str | None:
        meaning = _meaning(sequence, delimiters, "latin-1")
        if meaning is None:
            return None
        if sequence[:1] == "X":
            with suppress(ValueError):
                sequence = f"X{decode(bytes.fromhex(sequence[1:])).encode().hex().upper()}"
        return f"{mark}{sequence}{mark}"

    return _replaced(text, mark, again)


def _replaced(text: str, mark: str, replace: Callable[[str], str | None]) -> str:
    """Text with every sequence replaced. Between two marks stands a sequence, if it is one (`replace` knows it);
    else the second mark may open the next."""
    parts = text.split(mark)
    out, index = [parts[0]], 1
    while index < len(parts):
        meaning = replace(parts[index]) if index + 1 < len(parts) else None
        if meaning is None:
            out += [mark, parts[index]]
            index += 1
        else:
            out += [meaning, parts[index + 1]]
            index += 2
    return "".join(out)


def escape(text: str, delimiters: Delimiters = STANDARD) -> str:
    """Replace the delimiters in a value by their escape sequences."""
    mark = delimiters.escape
    out = []
    for character in text:
        code = _CODES.get(character) if delimiters is STANDARD else _codes(delimiters).get(character)
        out.append(f"{mark}{code}{mark}" if code else character)
    return "".join(out)


def _codes(delimiters: Delimiters) -> dict[str, str]:
    return {
        delimiters.field: "F",
        delimiters.component: "S",
        delimiters.subcomponent: "T",
        delimiters.repetition: "R",
        delimiters.escape: "E",
        "\r": "X0D",
        "\n": "X0A",
    }


_CODES = _codes(STANDARD)


def _meaning(sequence: str, delimiters: Delimiters, codec: str) -> str | None:
    """What one sequence (without its marks) stands for; None where it stays as sent."""
    match sequence:
        case "F":
            return delimiters.field
        case "S":
            return delimiters.component
        case "T":
            return delimiters.subcomponent
        case "R":
            return delimiters.repetition
        case "E":
            return delimiters.escape
        case "P":  # the truncation character, from 2.7 on
            return "#"
        case _ if sequence in SILENT:
            return ""
    if sequence[:1] == "X" and len(sequence) > 1:
        try:
            return bytes.fromhex(sequence[1:]).decode(codec)
        except ValueError:
            return None
    command, count = sequence[:3], sequence[3:].strip().lstrip("+") or "1"
    if command in (".br", ".sp", ".ce", ".sk", ".in", ".ti") and _is_count(count):
        if command in (".br", ".ce"):
            return "\n"
        return {".sp": "\n", ".sk": " "}.get(command, "") * int(count)
    return None


def _is_count(text: str) -> bool:
    # At most three digits: a formatting command must not blow a message up.
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) <= 3
