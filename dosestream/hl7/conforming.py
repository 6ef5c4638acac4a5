"""Profiles turned into one question, answered quickly: is this message surely without a finding?

Nearly every message keeps the rules, so one pass of straight code over the fields that are asked for says so. A
message of which it is not sure (a rule broken, a value that would have to be taken apart) is held against the
rules themselves (`profile.py`), which find what is wrong and say it. A test holds that this never says more than
they do.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from dosestream.hl7.header import STANDARD
from dosestream.hl7.path import Path
from dosestream.hl7.reader import HEADERS, Message

# Whether the message surely breaks none of the rules.
Question = Callable[[Message], bool]

_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")


def anything(_: Message) -> bool:
    """Of no rules at all."""
    return True


def _never(_: Message) -> bool:
    return False


class Questions:
    """Gathers rules, and makes the code that asks for all of them."""

    def __init__(self) -> None:
        # Segment to what each of that name must be; a name alone where the segment must be there.
        self._of: dict[str, list[str]] = {}
        self._needed: set[str] = set()
        self._last: dict[str, int] = {}
        self._names: dict[str, Any] = {"STANDARD": STANDARD}
        self._unsure = False

    def required(self, text: str) -> None:
        """A segment that must be there, or a field that must be valued in each of its segments, at least one."""
        if _SEGMENT.fullmatch(text):
            self._needed.add(text)
            self._of.setdefault(text, [])
            return
        self._needed.add(self.when_present(text))

    def when_present(self, text: str) -> str:
        """Fields of which one is valued wherever the first one's segment is; that segment's name."""
        paths = [Path.parse(part.strip()) for part in text.split("|")]
        here = [path for path in paths if path.segment == paths[0].segment]
        # No delimiter is a letter or digit: a field that begins with one has a first component.
        self._ask(here, " or ".join(f"{self._field(path)}[:1].isalnum()" for path in here))
        return paths[0].segment

    def forbidden(self, text: str) -> None:
        """A segment that must not be there, or a field that must be empty."""
        if _SEGMENT.fullmatch(text):
            self._of.setdefault(text, []).append("False")
            return
        path = Path.parse(text)
        self._ask([path], f"not {self._field(path)}")

    def no_longer(self, text: str, length: int) -> None:
        """A field's longest length."""
        path = Path.parse(text)
        self._ask([path], f"len({self._field(path)}) <= {length}")

    def matches(self, text: str, pattern: re.Pattern[str]) -> None:
        """A field's format: none of HL7's own delimiters is in any."""
        path = Path.parse(text)
        name = self._name(pattern.fullmatch)
        self._ask([path], f"not {self._field(path)} or {name}({self._field(path)})")

    def one_of(self, text: str, values: Iterable[str]) -> None:
        """The values allowed."""
        path = Path.parse(text)
        name = self._name(frozenset(["", *(value for value in values if value.isalnum())]))
        self._ask([path], f"{self._field(path)} in {name}")

    def compile(self) -> Question:
        """The question; one that is never sure where a rule is of a kind that takes more than a look."""
        if self._unsure:
            return _never
        lines = ["def surely(message):", "    if message.delimiters != STANDARD:", "        return False"]
        for segment, conditions in self._of.items():
            last = self._last.get(segment, 0)
            self._names[f"NONE_{segment}"] = [""] * (last + 1)
            lines.append(f'    segments = message.all("{segment}")')
            if segment in self._needed:
                lines += ["    if not segments:", "        return False"]
            if conditions:
                lines += [
                    "    for segment in segments:",
                    "        fields = segment.fields",
                    f"        if len(fields) <= {last}:",
                    f"            fields = fields + NONE_{segment}",
                    f"        if not ({' and '.join(f'({one})' for one in dict.fromkeys(conditions))}):",
                    "            return False",
                ]
        exec("\n".join([*lines, "    return True"]), self._names)
        question: Question = self._names["surely"]
        return question

    def _ask(self, paths: list[Path], condition: str) -> None:
        segment = paths[0].segment
        for path in paths:
            foremost = path.component <= 1 and path.subcomponent <= 1 and path.repetition == 1
            if not foremost or path.where is not None or not path.plain or segment in HEADERS:
                self._unsure = True
            self._last[segment] = max(self._last.get(segment, 0), path.field)
        self._of.setdefault(segment, []).append(condition)

    def _field(self, path: Path) -> str:
        return f"fields[{path.field}]"

    def _name(self, meant: Any) -> str:
        name = f"GIVEN_{len(self._names)}"
        self._names[name] = meant
        return name
