"""A lean ER7 reader: segments are split when the message is read, fields when they are asked for."""

from collections.abc import Iterable, Iterator, Sequence

from dosestream.hl7.charset import Undecodable, decode
from dosestream.hl7.header import STANDARD, Delimiters, Header

# Their first field is the separator itself, so their numbers are one ahead of the split.
HEADERS = frozenset({"MSH", "FHS", "BHS"})


class Segment:
    """One segment; fields are numbered as in the standard and returned as sent."""

    __slots__ = ("_fields", "delimiters", "line", "name")

    def __init__(self, name: str, line: str, delimiters: Delimiters) -> None:
        self.name = name
        self.line = line
        self.delimiters = delimiters
        self._fields: list[str] | None = None

    @property
    def fields(self) -> list[str]:
        """All fields, by their numbers; the first is the segment's name."""
        fields = self._fields
        if fields is None:
            fields = self._fields = self.line.split(self.delimiters.field)
            if self.name in HEADERS:
                fields.insert(1, self.delimiters.field)
        return fields

    def field(self, number: int) -> str:
        """The field with all its repetitions; empty where absent."""
        fields = self._fields or self.fields
        return fields[number] if number < len(fields) else ""

    def __repr__(self) -> str:  # no content: it may be patient data
        return f"<Segment {self.name}>"


class Group:
    """Segments that belong together, with those of the whole message behind them.

    A path is looked up in the group's own segments, then in the outer ones. `by_name` is both, where they are
    known.
    """

    __slots__ = ("_by_name", "delimiters", "outer", "segments")

    def __init__(
        self,
        segments: Sequence[Segment],
        outer: "Group | None" = None,
        by_name: dict[str, list[Segment]] | None = None,
    ) -> None:
        self.segments = segments
        self.outer = outer
        if segments:
            self.delimiters = segments[0].delimiters
        else:
            self.delimiters = STANDARD if outer is None else outer.delimiters
        if by_name is None:
            by_name = {}
            for segment in segments:
                if (found := by_name.get(segment.name)) is None:
                    by_name[segment.name] = [segment]
                else:
                    found.append(segment)
            if outer is not None:
                by_name = {**outer._by_name, **by_name}
        self._by_name: dict[str, list[Segment]] = by_name

    def part(self, segments: Sequence[Segment]) -> "Group":
        """Some of this group's segments as a group with this one behind it; no name may be there twice."""
        return Group(segments, self, self._by_name)

    @property
    def is_plain(self) -> bool:
        """Whether no name is there twice."""
        return len(self._by_name) == len(self.segments)

    def all(self, name: str) -> Sequence[Segment]:
        """The segments of that name: the group's own, else the outer ones."""
        return self._by_name.get(name, ())

    def first(self, name: str) -> Segment | None:
        """The first segment of that name: the group's own, else the outer one; None where there is none."""
        found = self._by_name.get(name)
        return found[0] if found is not None else None

    def names(self) -> Iterable[str]:
        """The names of the segments, each once."""
        return self._by_name.keys()

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)


class Message(Group):
    """A message read as text: all its segments, its delimiters and its header."""

    __slots__ = ("header",)

    def __init__(self, header: Header, segments: Sequence[Segment]) -> None:
        super().__init__(segments)
        self.header = header
        self.delimiters = header.delimiters


def read(body: bytes, header: Header, default_charset: str = "") -> Message | Undecodable:
    """Read a message whose MSH has been read; segments end in CR, LF or CRLF (only CR is standard)."""
    text = decode(body, header, default_charset)
    if isinstance(text, Undecodable):
        return text
    return read_text(text, header)


def read_text(text: str, header: Header) -> Message:
    """Read a decoded message."""
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    delimiters = header.delimiters
    separator = delimiters.field
    segments = []
    for line in text.split("\r"):
        if not line:
            continue
        # A name is what stands before the first separator: `PIDX|` is no PID.
        name = line[:3] if line[3:4] in (separator, "") else line.split(separator, 1)[0]
        segments.append(Segment(name, line, delimiters))
    return Message(header, segments)
