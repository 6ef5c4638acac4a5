"""Files held against the manifest: their bytes, their records, and that none is missing between them."""

from collections.abc import Callable
from pathlib import Path

from dosestream.archive import manifest
from dosestream.archive.container import Content, file_sha256, read
from dosestream.archive.errors import DamagedError
from dosestream.archive.manifest import Entry


def verify(folder: Path, told: Callable[[Entry], None] = lambda _: None) -> list[Entry]:
    """The files of an archive, each as the manifest says.

    Raises:
        DamagedError: one of them is not.
        GapError: offsets are in no file, or in two.
    """
    entries = [one for those in manifest.chains(manifest.load(folder)).values() for one in those]
    for one in entries:
        check_file(folder, one)
        told(one)
    return entries


def check_file(folder: Path, one: Entry) -> None:
    """A file as the manifest says; raises DamagedError where it is not."""
    path = folder / one.path
    if file_sha256(path) != one.sha256:
        raise DamagedError(f"{one.path}: its bytes changed since it was written: fetch it from a copy")
    content, position = Content(), one.first
    for record in read(path):
        if not position <= record.offset < one.stop:
            raise DamagedError(f"{one.path}: offset {record.offset} has no place in it")
        position = record.offset + 1
        content.add(record)
    if (content.records, content.sha256) != (one.records, one.content_sha256):
        raise DamagedError(f"{one.path}: it has other records than when it was written: fetch it from a copy")
