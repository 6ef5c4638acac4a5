"""Profiles turned into one question, answered quickly: is this message surely without a finding?

Nearly every message keeps the rules, so one pass over the fields that are asked for says so. A message of which
it is not sure (a rule broken, a value that would have to be taken apart) is held against the rules themselves
(`profile.py`), which find what is wrong and say it. A test holds that this never says more than they do.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from dosestream.hl7.header import STANDARD
from dosestream.hl7.path import Path
from dosestream.hl7.reader import HEADERS, Message

_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")


class _Rule:
    """What the fields of a segment are to be; there are as many as a rule looks at."""

    __slots__ = ()

    def holds(self, fields: list[str]) -> bool:
        """Whether they surely are."""
        raise NotImplementedError


class _Absent(_Rule):
    """Of no segment at all: none of that name may be there."""

    __slots__ = ()

    def holds(self, fields: list[str]) -> bool:
        return False


class _Valued(_Rule):
    """One of them is valued. No delimiter is a letter or digit: what begins with one has a first component."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers

    def holds(self, fields: list[str]) -> bool:
        for number in self._numbers:
            value = fields[number]
            if value and value[0].isalnum():
                return True
        return False


class _NoLonger(_Rule):
    """It has so many characters at most, none where it must be empty."""

    __slots__ = ("_length", "_number")

    def __init__(self, number: int, length: int) -> None:
        self._number = number
        self._length = length

    def holds(self, fields: list[str]) -> bool:
        return len(fields[self._number]) <= self._length


class _Matches(_Rule):
    """It is empty, or of a format that none of HL7's own delimiters is in."""

    __slots__ = ("_good", "_number")

    def __init__(self, number: int, good: Callable[[str], object]) -> None:
        self._number = number
        self._good = good

    def holds(self, fields: list[str]) -> bool:
        value = fields[self._number]
        return not value or self._good(value) is not None


class _OneOf(_Rule):
    """It is one of these."""

    __slots__ = ("_number", "_values")

    def __init__(self, number: int, values: frozenset[str]) -> None:
        self._number = number
        self._values = values

    def holds(self, fields: list[str]) -> bool:
        return fields[self._number] in self._values


class _Asked:
    """What is asked of the segments of one name."""

    __slots__ = ("last", "name", "needed", "nothing", "rules")

    def __init__(self, name: str, needed: bool, last: int, rules: list[_Rule]) -> None:
        self.name = name
        self.needed = needed
        # The highest number of a field that is looked at; and what a shorter segment is filled up with.
        self.last = last
        self.nothing = [""] * (last + 1)
        self.rules = rules


class Question:
    """Whether a message surely breaks none of some rules."""

    __slots__ = ("_all", "_never")

    def __init__(self, asked: Sequence[_Asked] = (), *, never: bool = False) -> None:
        """With `never` it is sure of no message: a rule is of a kind that takes more than a look."""
        self._all = list(asked)
        self._never = never

    def surely(self, message: Message) -> bool:
        """The answer."""
        if self._never or message.delimiters != STANDARD:
            return False
        for asked in self._all:
            segments = message.all(asked.name)
            if not segments and asked.needed:
                return False
            for segment in segments:
                fields = segment.fields
                if len(fields) <= asked.last:
                    fields = fields + asked.nothing
                for rule in asked.rules:
                    if not rule.holds(fields):
                        return False
        return True


class Questions:
    """Gathers rules, and makes the question that asks for all of them."""

    def __init__(self) -> None:
        # A segment to what each of that name must be; to nothing where it must only be there.
        self._of: dict[str, list[_Rule]] = {}
        self._needed: set[str] = set()
        self._last: dict[str, int] = {}
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
        self._ask(here, _Valued([path.field for path in here]))
        return paths[0].segment

    def forbidden(self, text: str) -> None:
        """A segment that must not be there, or a field that must be empty."""
        if _SEGMENT.fullmatch(text):
            self._of.setdefault(text, []).append(_Absent())
            return
        self.no_longer(text, 0)

    def no_longer(self, text: str, length: int) -> None:
        """A field's longest length."""
        path = Path.parse(text)
        self._ask([path], _NoLonger(path.field, length))

    def matches(self, text: str, pattern: re.Pattern[str]) -> None:
        """A field's format: none of HL7's own delimiters is in any."""
        path = Path.parse(text)
        self._ask([path], _Matches(path.field, pattern.fullmatch))

    def one_of(self, text: str, values: Iterable[str]) -> None:
        """The values allowed."""
        path = Path.parse(text)
        # One with a delimiter in it would have to be taken apart.
        plain = [value for value in values if value.isalnum()]
        self._ask([path], _OneOf(path.field, frozenset(["", *plain])))

    def question(self) -> Question:
        """All of them."""
        asked = [
            _Asked(segment, segment in self._needed, self._last.get(segment, 0), rules)
            for segment, rules in self._of.items()
        ]
        return Question(asked, never=self._unsure)

    def _ask(self, paths: list[Path], rule: _Rule) -> None:
        segment = paths[0].segment
        for path in paths:
            foremost = path.component <= 1 and path.subcomponent <= 1 and path.repetition == 1
            if not foremost or path.where is not None or not path.plain or segment in HEADERS:
                self._unsure = True
            self._last[segment] = max(self._last.get(segment, 0), path.field)
        self._of.setdefault(segment, []).append(rule)
