"""`dosestream rejected list|show`: what could not be normalised, and why."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dosestream.cli.stackfile import ReadyFileOption

if TYPE_CHECKING:
    from pathlib import Path

    from dosestream.events.records import Rejection

app = typer.Typer(help="What could not be normalised, and why.", no_args_is_help=True)


@app.command("list")
def list_(
    ready_file: ReadyFileOption = None,
    last: Annotated[int, typer.Option("--last", help="How many, the newest last.")] = 50,
) -> None:
    """A line each: id, time, source, control id, code, the answer given, the place, the reason."""
    found = list(_rejections(ready_file))[-last:]
    for one in found:
        at = datetime.fromtimestamp(one.received_at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        words = (one.event_id[:12], at, one.source, one.control_id or "-", one.code, one.answer or "-")
        print("  ".join((*words, one.location or "-", one.reason)))
    print(f"{len(found)} rejected; `dosestream rejected show ID` prints the bytes.", file=sys.stderr)


@app.command("show")
def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="The id, or how it begins.")],
    ready_file: ReadyFileOption = None,
) -> None:
    """The reason on standard error, the original bytes on standard output. Exit 1 where there is no such id."""
    for one in _rejections(ready_file):
        if one.event_id.startswith(event_id):
            where = f"{one.raw_partition}/{one.raw_offset}" if one.raw_offset >= 0 else "not stored raw"
            print(f"{one.code} at {one.location or '-'}: {one.reason} (raw: {where})", file=sys.stderr)
            sys.stdout.buffer.write(one.body)
            return
    print(f"dosestream: nothing rejected has an id that begins with {event_id}", file=sys.stderr)
    sys.exit(1)


def _rejections(ready_file: "Path | None") -> "Iterator[Rejection]":
    """Every rejection the topic holds, the oldest first; an identical one heard again once.

    Raises:
        StackError: the stack cannot be found, or its broker is away.
    """
    from dosestream.cli import stackfile
    from dosestream.embedded.errors import StackError
    from dosestream.events.records import Rejection
    from dosestream.kafka.codec import codec_for
    from dosestream.kafka.reader import PartitionReader, ReadError
    from dosestream.kafka.topics import Topic
    from dosestream.settings import KafkaSettings

    kafka = KafkaSettings(bootstrap=stackfile.find(ready_file)["kafka"])
    codec, reader = codec_for(kafka), PartitionReader(kafka)
    found: dict[str, Rejection] = {}
    try:
        for partition in reader.partitions(str(Topic.REJECTED)):
            low, high = reader.watermarks(partition)
            for batch in reader.read(partition, low, high):
                for record in batch:
                    one = codec.decode(record.value or b"", Rejection)
                    found.setdefault(one.event_id, one)
    except ReadError as error:
        raise StackError(f"Kafka at {kafka.bootstrap} does not answer: {error}") from error
    finally:
        reader.close()
    yield from sorted(found.values(), key=lambda one: one.received_at)
