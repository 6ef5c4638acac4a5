"""Recorded messages: folders, files with one message or many (batches, MLLP dumps), the raw topic of a stack."""

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import typer

from dosestream.hl7.batch import split

_AGO = re.compile(r"(\d+)([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Recorded(NamedTuple):
    """One message: where it lies, its bytes, and its source where that is recorded too."""

    name: str
    body: bytes
    source: str = ""


def from_files(paths: list[Path]) -> Iterator[Recorded]:
    """The messages of files and of all files below folders, in the order of their names."""
    for path in paths:
        files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
        for file in files:
            bodies = split(file.read_bytes())
            told = str(file.relative_to(path)) if file != path else file.name
            if not bodies:
                print(f"dosestream: {told} is left out: no segment MSH is in it", file=sys.stderr)
            for number, body in enumerate(bodies, 1):
                yield Recorded(told if len(bodies) == 1 else f"{told}#{number}", body)


def moment(text: str) -> datetime:
    """`2h`, `7d`, `30m` ago, or an ISO time (UTC where it has no zone).

    Raises:
        typer.BadParameter: it is neither.
    """
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time: write 2h, 7d or 2026-03-01T08:00") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def from_raw(ready_file: Path | None, since: datetime | None) -> Iterator[Recorded]:
    """The messages of the raw topic of a running stack, received since then.

    Raises:
        StackError: the stack cannot be found, its broker is away, or a record's schema is not known.
    """
    from dosestream.cli import stackfile
    from dosestream.cli.topic_events import events
    from dosestream.events.records import RawMessage
    from dosestream.kafka.topics import Topic

    kafka = stackfile.kafka_of(stackfile.find(ready_file))
    earliest = 0 if since is None else int(since.timestamp() * 1_000_000)
    for record, one in events(kafka, Topic.HL7_RAW, RawMessage):
        if one.received_at >= earliest:
            yield Recorded(f"raw {record.partition.number}/{record.offset}", one.body, one.source)
