"""What a site writes where one path is not enough: a path, a text in quotes, or several joined to one.

OBR-3.1                             a path
"CT"                                a text
join(PID-5.1, PID-5.2, "^")         what the paths say, with the last text between
join(AIS[*]-3.1, "\\\\")              all values of a path that means several
"""

import re
from dataclasses import dataclass, field

from dosestream.hl7.path import CLEARED, Path, PathError, scan
from dosestream.hl7.reader import Group

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BLANK = re.compile(r"[ \t]*")
_OPEN = re.compile(r"join[ \t]*\(")


@dataclass(frozen=True, slots=True)
class Constant:
    """A text that is said whatever the message says."""

    text: str = field(compare=False)
    value: str

    def write(self) -> str:
        """The expression that says this text."""
        return '"' + self.value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def values(self, group: Group) -> list[str]:
        """The text."""
        del group
        return [self.value]


@dataclass(frozen=True, slots=True)
class Join:
    """Several values as one text; empty ones are left out, and with no path's value there is none."""

    text: str = field(compare=False)
    parts: tuple[Path | Constant, ...]
    separator: str

    def write(self) -> str:
        """The expression that says this join."""
        between = Constant("", self.separator).write()
        return f"join({', '.join([*(one.write() for one in self.parts), between])})"

    def values(self, group: Group) -> list[str]:
        """The joined text; none where no path says anything; cleared where that is all they say."""
        pieces: list[str] = []
        heard = cleared = False
        for one in self.parts:
            found = [value.strip() for value in one.values(group)]
            kept = [value for value in found if value and value != CLEARED]
            cleared = cleared or CLEARED in found
            heard = heard or (bool(kept) and isinstance(one, Path))
            pieces += kept
        if heard:
            return [self.separator.join(pieces)]
        return [CLEARED] if cleared else []


Expression = Path | Constant | Join


def parse(text: str) -> Expression:
    """Parse an expression.

    Raises:
        PathError: it is none; says at which character, and what was expected there.
    """
    if text.startswith('"'):
        constant, end = _constant(text, 0)
        return _whole(constant, text, end)
    if opened := _OPEN.match(text):
        join, end = _join(text, opened.end())
        return _whole(join, text, end)
    return Path.parse(text)


def _join(text: str, position: int) -> tuple[Join, int]:
    parts: list[Path | Constant] = []
    while True:
        position = _blank(text, position)
        part: Path | Constant
        if text.startswith('"', position):
            part, position = _constant(text, position)
        else:
            try:
                part, position = scan(text, position)
            except PathError as error:
                raise _error(text, error.position, "a path, or a text in quotes") from error
        parts.append(part)
        position = _blank(text, position)
        if text.startswith(")", position):
            break
        if not text.startswith(",", position):
            raise _error(text, position, ", or )")
        position += 1
    *joined, last = parts
    if not isinstance(last, Constant) or not joined:
        raise _error(text, position, 'at last what stands between, such as ", "')
    return Join(text[: position + 1], tuple(joined), last.value), position + 1


def _constant(text: str, position: int) -> tuple[Constant, int]:
    match = _QUOTED.match(text, position)
    if match is None:
        raise _error(text, len(text), 'a closing "')
    return Constant(match[0], re.sub(r"\\(.)", r"\1", match[1])), match.end()


def _whole(found: Constant | Join, text: str, end: int) -> Constant | Join:
    if end < len(text):
        raise _error(text, end, "the end")
    return found


def _blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match is not None else position


def _error(text: str, position: int, expected: str) -> PathError:
    met = repr(text[position]) if position < len(text) else "nothing more"
    return PathError(
        f"{text!r} is no path: at character {position + 1} {expected} is expected, not {met}: "
        'write SEG-F.C, "TEXT" or join(SEG-F.C, SEG-F.C, "BETWEEN")',
        position,
    )
