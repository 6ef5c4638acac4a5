"""`dosestream archive`: topics to files, files held against their hashes, files to topics."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dosestream.cli.stackfile import ReadyFileOption
from dosestream.embedded.errors import StackError

if TYPE_CHECKING:
    from dosestream.settings import KafkaSettings


def archive(
    folder: Annotated[Path, typer.Argument(help="Where the archive lies, or is to lie.", file_okay=False)],
    verify: Annotated[
        bool, typer.Option("--verify", help="Hold every file and record against its hash.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Say whether a topic may let anything expire that is not archived."),
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Publish the archive into empty, or shorter, topics.")
    ] = False,
    ready_file: ReadyFileOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="dosestream.toml; else DOSESTREAM_CONFIG.")
    ] = None,
) -> None:
    """Take what the raw, decision, snapshot and schema topics hold beyond the archive; or verify, check, restore it."""
    if verify + check + restore > 1:
        raise typer.BadParameter("one of --verify, --check and --restore at a time.")
    from dosestream.archive.errors import ArchiveError
    from dosestream.kafka.reader import ReadError

    try:
        if verify:
            _verify(folder)
            return
        from dosestream.cli.cleanup import settings_of

        kafka = settings_of(config, ready_file).kafka
        if check:
            _check(kafka, folder)
        elif restore:
            _restore(kafka, folder)
        else:
            _take(kafka, folder)
    except (ArchiveError, ReadError) as error:
        raise StackError(str(error)) from error


def _take(kafka: "KafkaSettings", folder: Path) -> None:
    from dosestream.archive.take import archive as take

    written = take(kafka, folder, told=lambda one: print(f"{one.path}: {one.records} records"))
    records, size = sum(one.records for one in written), sum(one.size for one in written)
    print(f"{records} records in {len(written)} files, {size} bytes" if written else "nothing new")


def _verify(folder: Path) -> None:
    from dosestream.archive.verify import verify

    entries = verify(folder)
    print(f"{len(entries)} files with {sum(one.records for one in entries)} records are as they were written")


def _restore(kafka: "KafkaSettings", folder: Path) -> None:
    from dosestream.archive.restore import restore

    count = restore(kafka, folder, told=lambda where, n: print(f"{where.topic}[{where.number}]: {n} records"))
    print(f"{count} records published")


def _check(kafka: "KafkaSettings", folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from dosestream.archive.check import cover

    found = cover(kafka, folder)
    table = Table()
    # A partition's number must be seen, however narrow the terminal.
    table.add_column("topic", no_wrap=True)
    table.add_column("kept for")
    for name in ("held", "archived up to", "lost", "in danger"):
        table.add_column(name, justify="right")
    for one in found:
        if not (one.high or one.archived or one.lost):
            continue
        kept = "ever" if one.retention_ms < 0 else f"{one.retention_ms / 86_400_000:g} days"
        table.add_row(
            f"{one.where.topic}[{one.where.number}]",
            kept,
            f"{one.low} to {one.high}",
            "" if one.archived is None else str(one.archived),
            str(one.lost),
            str(one.endangered),
        )
    Console().print(table)
    lost, endangered = sum(one.lost for one in found), sum(one.endangered for one in found)
    print(f"{lost} records are lost, {endangered} in danger")
    if lost or endangered:
        raise typer.Exit(1)
