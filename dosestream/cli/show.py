"""`dosestream show`: a study as the database has it, or had it, and what changed it."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dosestream.cli.service import ConfigOption
from dosestream.cli.stackfile import ReadyFileOption
from dosestream.embedded.errors import StackError

if TYPE_CHECKING:
    from dosestream.past.history import Change
    from dosestream.past.related import Event


def show(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Its Study Instance UID.")],
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="TIME", help="What was known then, and what changed since (ISO 8601)."
        ),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Every message that changed the row, from the first on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, for a script.")] = False,
    config: ConfigOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Show a study's row as of a time, and which message changed what since: from the topics alone, with the
    configuration as it is now."""
    from dosestream.cli.replay import micros, settings_of
    from dosestream.events.codec import UnknownSchemaError
    from dosestream.kafka.codec import reading_codec
    from dosestream.kafka.reader import ReadError
    from dosestream.past.history import history as changes
    from dosestream.past.picture import picture
    from dosestream.past.read import newest_tick, read
    from dosestream.reconcile.rules import rules_from

    settings, _ = settings_of(config, ready_file)
    then = None if as_of is None else micros(as_of)
    codec, rules = reading_codec(settings.kafka), rules_from(settings)

    def told(times: int, events: int) -> None:
        print(f"topics gone through {times} times: {events} events", file=sys.stderr, flush=True)

    try:
        found = read(settings.kafka, codec, rules, study, told)
        now = newest_tick(settings.kafka, codec) or 0
    except UnknownSchemaError as error:
        raise StackError(f"{error}.") from error
    except ReadError as error:
        raise StackError(f"Kafka does not answer ({error}): see that it runs, then try again.") from error
    events = list(found.events.values())
    # Where the clock is no longer held, the newest message tells how late it is.
    now = max([now, *(event.received_at for event in events)])
    at = now if then is None else min(then, now)
    shown = picture((event for event in events if event.received_at <= at), study, rules, at)
    wanted = history or then is not None
    steps = list(changes(events, study, rules, now, 0 if history else at)) if wanted else []
    if not events:
        raise StackError(f"Nothing on the topics names study {study}.")
    row = None if shown is None else {**shown.row, "orders": list(shown.orders)}
    if as_json:
        document = {
            "as_of": _time(at),
            "study": row,
            "changes": [
                {
                    "at": _time(step.at),
                    "by": _cause(step.cause),
                    "columns": {n: {"before": a, "after": b} for n, (a, b) in step.columns.items()},
                }
                for step in steps
            ],
        }
        print(json.dumps(document, indent=2, default=str))
        return
    print(f"as of {_time(at)}")
    for name, value in ({} if row is None else row).items():
        if value not in (None, [], {}):
            print(f"  {name}: {_text(value)}")
    if row is None:
        print("  the study had not arrived")
    if wanted:
        _print_changes(steps)


def _cause(cause: "Event | None") -> dict[str, object]:
    """What a change is laid to."""
    from dosestream.past.history import told_by

    names = ("event_id", "source", "control_id", "message_type", "received_at", "raw_partition", "raw_offset")
    known = {name: getattr(cause, name) for name in names if hasattr(cause, name)}
    return {"what": told_by(cause), **known}


def _print_changes(steps: "Sequence[Change]") -> None:
    from dosestream.past.history import told_by

    print(f"{len(steps)} changes")
    for step in steps:
        print(f"{_time(step.at)} {told_by(step.cause)}")
        for name, (before, after) in step.columns.items():
            print(f"  {name}: {_text(before)} -> {_text(after)}")


def _time(micros: int) -> str:
    from dosestream.db.values import iso_time

    return iso_time(micros) or "?"


def _text(value: object) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 200 else text[:197] + "..."
