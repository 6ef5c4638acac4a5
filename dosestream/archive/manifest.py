"""The manifest: which files there are, of which offsets, and their hashes. What it does not name does not count."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from dosestream.archive.container import replace_text
from dosestream.archive.errors import DamagedError, GapError
from dosestream.kafka.records import Partition

NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        first, stop: it has the records with first <= offset < stop, of those that the topic held.
        sha256: of the file's bytes.
        content_sha256: of its records (`container.Content`).
        newest: the latest time of a record, milliseconds since 1970 UTC.
    """

    topic: str
    partition: int
    first: int
    stop: int
    records: int
    size: int
    sha256: str
    content_sha256: str
    newest: int

    @property
    def where(self) -> Partition:
        """Whose records they are."""
        return Partition(self.topic, self.partition)

    @property
    def path(self) -> Path:
        """Where the file lies in the archive."""
        return path_of(self.where, self.first, self.stop)


def path_of(where: Partition, first: int, stop: int) -> Path:
    """The name of the file of a stretch: topic, partition, first offset and the one after the last."""
    return Path(where.topic) / str(where.number) / f"{first:020d}-{stop:020d}.avro"


def load(folder: Path) -> list[Entry]:
    """The files of an archive, none where there is no manifest yet.

    Raises:
        DamagedError: the manifest cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return []
    try:
        return [Entry(**one) for one in json.loads(path.read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is no manifest: fetch it from a copy ({error})") from error


def store(folder: Path, entries: Iterable[Entry]) -> None:
    """Write the manifest in one move."""
    ordered = sorted(entries, key=lambda e: (e.topic, e.partition, e.first))
    replace_text(folder / NAME, {"version": 1, "files": [asdict(one) for one in ordered]})


def chains(entries: Iterable[Entry]) -> dict[Partition, list[Entry]]:
    """The files of each partition in order.

    Raises:
        GapError: two of them leave offsets out between them, or both have some.
    """
    found: dict[Partition, list[Entry]] = {}
    for one in sorted(entries, key=lambda e: (e.topic, e.partition, e.first)):
        those = found.setdefault(one.where, [])
        if those and those[-1].stop != one.first:
            word = "are in no file" if those[-1].stop < one.first else "are in two files"
            low, high = sorted((those[-1].stop, one.first))
            raise GapError(f"{one.topic}[{one.partition}]: offsets {low} to {high} {word}")
        those.append(one)
    return found
