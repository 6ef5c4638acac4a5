"""One file: records of a stretch of one partition as an Avro object container (Avro 1.12, "Object Container Files")."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from fastavro import parse_schema, reader
from fastavro.write import Writer

from dosestream.archive.errors import DamagedError

SCHEMA: Final = {
    "type": "record",
    "name": "ArchivedRecord",
    "namespace": "org.dosestream.v1",
    "doc": "One record of a partition, as Kafka held it.",
    "fields": [
        {"name": "offset", "type": "long"},
        {"name": "timestamp", "type": "long", "doc": "Milliseconds since 1970 UTC; -1 without one."},
        {"name": "key", "type": ["null", "bytes"]},
        {"name": "value", "type": ["null", "bytes"]},
        {
            "name": "headers",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Header",
                    "fields": [
                        {"name": "name", "type": "string"},
                        {"name": "value", "type": ["null", "bytes"]},
                    ],
                },
            },
        },
    ],
}
PARSED: Final = parse_schema(SCHEMA)


class Archived(NamedTuple):
    """One record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Content:
    """SHA-256 over what records say: their offsets, times, keys, values and headers, whatever the file's compression."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.records = 0

    def add(self, record: Archived) -> None:
        """Take in the next record."""
        self.records += 1
        parts: list[bytes | None] = [b"%d %d" % (record.offset, record.timestamp), record.key, record.value]
        parts += [part for name, value in record.headers for part in (name.encode(), value)]
        for part in parts:
            self._hash.update(b"-;" if part is None else b"%d:" % len(part))
            self._hash.update(part or b"")
        self._hash.update(b"\n")

    @property
    def sha256(self) -> str:
        """Hex."""
        return self._hash.hexdigest()


def write(path: Path, records: Iterable[Archived], about: dict[str, str]) -> Content:
    """Write a file in one move: it is there whole, and on the disk, or not at all.

    Args:
        about: what the file's header says beside the schema.
    """
    content = Content()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        said = {f"dosestream.{name}": value for name, value in about.items()}
        out = Writer(file, PARSED, codec="deflate", metadata=said)
        for record in records:
            content.add(record)
            out.write(_datum(record))
        out.flush()
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _sync_folder(path.parent)
    return content


def _datum(record: Archived) -> dict[str, Any]:
    datum: dict[str, Any] = record._asdict()
    datum["headers"] = [{"name": name, "value": value} for name, value in record.headers]
    return datum


def read(path: Path) -> Iterator[Archived]:
    """The records of a file.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            for datum in _datums(file):
                headers = tuple((h["name"], h["value"]) for h in datum.pop("headers"))
                yield Archived(**datum, headers=headers)
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror}") from error


def _datums(file: BinaryIO) -> Iterator[dict[str, Any]]:
    try:
        yield from reader(file)
    except OSError:
        raise
    except Exception as error:  # fastavro raises many kinds for broken bytes
        raise DamagedError(f"{Path(file.name).name} is no whole Avro file: {error!r}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of the file's bytes, hex."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror}") from error


def replace_text(path: Path, document: object) -> None:
    """Write JSON in one move, on the disk before it counts."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
