"""Label values that stay few, short and free of what a sender may have written into a message."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from dosestream.hl7.tables import EVENTS, MESSAGE_TYPES

OTHER: Final = "other"
NONE: Final = "none"
LONGEST: Final = 64
# Sources that are told apart beside those of the configuration.
MOST_SOURCES: Final = 100


def plain(text: str) -> str:
    """Printable ASCII, cut; `none` where there is nothing."""
    cut = text[:LONGEST]
    return "".join(c if "!" <= c <= "~" or c == " " else "_" for c in cut) or NONE


def hl7_type(message_type: str) -> str:
    """MSH-9 as `ORM^O01` where the standard lists both parts (tables 0076, 0003), or the event is a Z event."""
    if not message_type:
        return NONE
    kind, _, rest = message_type.partition("^")
    event = rest.partition("^")[0]
    if kind not in MESSAGE_TYPES:
        return OTHER
    if event in EVENTS:
        return f"{kind}^{event}"
    return kind if not event else f"{kind}^{OTHER}"


class Sources:
    """Names of sources: those of the configuration, and the first others that are met."""

    def __init__(self, known: Collection[str], most: int = MOST_SOURCES) -> None:
        self._known = frozenset(known)
        self._met: dict[str, None] = {}
        self._most = most

    def label(self, source: str) -> str:
        """The source's name, or `other` beyond so many. For one thread at a time."""
        if source in self._known or source in self._met:
            return plain(source)
        if len(self._met) >= self._most:
            return OTHER
        self._met[source] = None
        return plain(source)


def folded(counts: Mapping[Any, int], *shapes: Callable[[str], str]) -> Counter[tuple[str, ...]]:
    """Counts by tuples of labels, each label through its shape; those that become the same are added up."""
    found: Counter[tuple[str, ...]] = Counter()
    for key, count in counts.items():
        found[tuple(shape(part) for shape, part in zip(shapes, key, strict=True))] += count
    return found
