"""`dosestream rejected list|show|retry`: what could not be normalised, why, and once more after the mending."""

import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dosestream.cli.stackfile import ReadyFileOption

if TYPE_CHECKING:
    from dosestream.cli.retry import Outcome
    from dosestream.events.records import Rejection
    from dosestream.settings import KafkaSettings

app = typer.Typer(help="What could not be normalised, and why.", no_args_is_help=True)

SourceOption = Annotated[str, typer.Option("--source", help="Only of this source.")]
CodeOption = Annotated[str, typer.Option("--code", help="Only with this code, such as no_patient_id.")]
SinceOption = Annotated[
    str,
    typer.Option("--since", help="Only received since: 90m, 12h, 7d, or 2026-03-01 or 2026-03-01T14:00 UTC."),
]
_AGO = re.compile(r"(\d+)([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.command("list")
def list_(
    ready_file: ReadyFileOption = None,
    last: Annotated[int, typer.Option("--last", help="How many, the newest last.")] = 50,
    source: SourceOption = "",
    code: CodeOption = "",
    since: SinceOption = "",
    everything: Annotated[bool, typer.Option("--all", help="Those that were resolved, too.")] = False,
) -> None:
    """A line each: id, time, source, control id, code, the answer given, the place, the reason."""
    wanted = _wanted(source, code, since)
    matching = [one for one in _rejections(ready_file, everything=everything) if wanted(one)]
    found = matching[-last:]
    for one in found:
        at = _told(one.received_at)
        words = (one.event_id[:12], at, one.source, one.control_id or "-", one.code, one.answer or "-")
        ended = f"  [{one.resolution} {_told(one.resolved_at)}]" if one.resolution else ""
        print("  ".join((*words, one.location or "-", one.reason)) + ended)
    shown = f"{len(found)} rejected"
    if len(found) < len(matching):
        shown = f"the newest {len(found)} of {len(matching)} rejected (--last)"
    print(f"{shown}; `dosestream rejected show ID` prints the bytes.", file=sys.stderr)


@app.command("show")
def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="The id, or how it begins.")],
    ready_file: ReadyFileOption = None,
) -> None:
    """The reason on standard error, the original bytes on standard output. Exit 1 where there is no such id.

    On a terminal a line for each segment, with what a terminal would obey written out.
    """
    for one in _rejections(ready_file, everything=True):
        if one.event_id.startswith(event_id) and not one.resolution:
            where = f"{one.raw_partition}/{one.raw_offset}" if one.raw_offset >= 0 else "not stored raw"
            print(f"{one.code} at {one.location or '-'}: {one.reason} (raw: {where})", file=sys.stderr)
            if sys.stdout.isatty():
                print(readable(one.body))
            else:
                sys.stdout.buffer.write(one.body)
            return
    print(f"dosestream: nothing rejected has an id that begins with {event_id}", file=sys.stderr)
    sys.exit(1)


@app.command("retry")
def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids, or how they begin.")] = None,
    ready_file: ReadyFileOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The mended dosestream.toml; else the running stack's.")
    ] = None,
    source: SourceOption = "",
    code: CodeOption = "",
    since: SinceOption = "",
    everything: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of them.")] = False,
) -> None:
    """Interpret rejected messages again, with the configuration as it is now, and publish what they say.

    Their events have the identities and the receipt times they would have had, so nothing happens twice, and
    they take their places as if nothing had been wrong. What still cannot be read stays, with its reason.
    Exit 1 where any stays.
    """
    if not (ids or source or code or since or everything):
        raise typer.BadParameter("which? Give ids, --source, --code or --since, or --all.")
    from dosestream.cli import retry as again
    from dosestream.cli import stackfile

    wanted = _wanted(source, code, since)
    settings = stackfile.settings_of(stackfile.find(ready_file), config)
    chosen = [
        one
        for one in _rejections(ready_file, kafka=settings.kafka)
        if wanted(one) and (not ids or any(one.event_id.startswith(begin) for begin in ids))
    ]
    stay = 0
    for outcome in again.retry(chosen, settings, dry_run=dry_run):
        stay += not outcome.how
        print(_line(outcome))
    verb = "would be resolved" if dry_run else "resolved"
    print(f"{len(chosen) - stay} {verb}, {stay} stay.", file=sys.stderr)
    sys.exit(1 if stay else 0)


def readable(body: bytes) -> str:
    """A message for a terminal: a line for each segment, control characters and undecodable bytes escaped."""
    text = body.decode("utf-8", "backslashreplace").replace("\r\n", "\r").replace("\n", "\r")
    lines = text.rstrip("\r").split("\r")
    return "\n".join(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line) for line in lines
    )


def received_since(text: str, now: datetime) -> datetime:
    """The moment that `90m`, `12h`, `7d` ago or a date or time in UTC means.

    Raises:
        typer.BadParameter: it means none.
    """
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"--since {text!r}: write 90m, 12h, 7d, 2026-03-01 or 2026-03-01T14:00."
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _wanted(source: str, code: str, since: str) -> Callable[["Rejection"], bool]:
    """Whether a rejection is asked for."""
    begin = received_since(since, datetime.now(UTC)).timestamp() * 1_000_000 if since else 0

    def wanted(one: "Rejection") -> bool:
        return source in ("", one.source) and code in ("", one.code) and one.received_at >= begin

    return wanted


def _told(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _line(outcome: "Outcome") -> str:
    one = outcome.rejection
    head = f"{one.event_id[:12]}  {one.source}  {one.control_id or '-'}  "
    if outcome.how == "retried":
        return head + f"{len(outcome.events)} events"
    return head + (f"{outcome.how}: {outcome.why}" if outcome.how else f"stays: {outcome.why}")


def _rejections(
    ready_file: Path | None, *, everything: bool = False, kafka: "KafkaSettings | None" = None
) -> "Iterator[Rejection]":
    """The rejections that wait, the oldest first; or every one the topic holds, each once.

    Raises:
        StackError: the stack cannot be found, its broker is away, or a record's schema is not known.
    """
    from dosestream.cli import stackfile
    from dosestream.cli.topic_events import events
    from dosestream.events.records import Rejection
    from dosestream.events.resolution import waiting
    from dosestream.kafka.topics import Topic

    kafka = kafka or stackfile.kafka_of(stackfile.find(ready_file))
    records = [event for _, event in events(kafka, Topic.REJECTED, Rejection)]
    if everything:
        unique = {(one.event_id, one.resolution): one for one in reversed(records)}
        yield from sorted(unique.values(), key=lambda one: one.received_at)
    else:
        yield from waiting(records)
