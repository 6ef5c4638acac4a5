"""`dosestream cleanup`: what is old leaves the database; as a service every day, or once."""

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dosestream.cli.stackfile import ReadyFileOption
from dosestream.embedded.errors import StackError

if TYPE_CHECKING:
    from dosestream.settings import Settings


def cleanup(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="dosestream.toml; else DOSESTREAM_CONFIG, else the defaults."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Clean up now, then end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, and why the rest stays.")
    ] = False,
    ready_file: ReadyFileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="What went as JSON, for a script.")] = False,
) -> None:
    """Cleanup, as a service or once."""
    from dosestream import logs

    settings = settings_of(config, ready_file)
    logs.configure("cleanup")
    module = importlib.import_module("services.cleanup.service")
    if not once and not dry_run:
        sys.exit(module.run(settings))
    runs = importlib.import_module("services.cleanup.run")
    try:
        tally = module.once(settings, dry=dry_run)
    except runs.BusyError as busy:
        print(f"{busy}; nothing was done")
        sys.exit(0)
    except runs.StoppedError:
        print("stopped; what was done stays done, the next run goes on")
        sys.exit(1)
    except module.AWAY as away:
        raise StackError(
            f"A server is away: {str(away).strip().splitlines()[0]}. What was done stays done: run it again."
        ) from away
    _print(tally, dry=dry_run, as_json=as_json)


def settings_of(config: Path | None, ready_file: Path | None) -> "Settings":
    """The settings of the service; with a ready file those of the stack it names.

    Raises:
        StackError: the stack cannot be found.
        SettingsError: the configuration cannot be used.
    """
    from dosestream.cli import stackfile
    from dosestream.settings import load

    return load(config) if ready_file is None else stackfile.settings_of(stackfile.find(ready_file), config)


# Kinds to what is said of them.
WORDS = {
    "groups": "groups of facts",
    "facts": "facts",
    "snapshots": "snapshots written",
    "snapshot_bytes": "bytes of snapshots",
    "message_index": "rows of the message index",
    "quarantine": "quarantined records",
    "report_text": "texts of reports",
    "report_fact_text": "texts in report messages",
    "snapshot_texts": "snapshots written without their texts",
}


def _print(tally: Any, *, dry: bool, as_json: bool) -> None:
    removed = {kind: count for kind, count in tally.removed.items() if count}
    kept = {reason: count for reason, count in tally.kept.items() if count}
    if as_json:
        print(json.dumps({"dry_run": dry, "removed": removed, "kept": kept}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("would go" if dry else "went")
    table.add_column("", justify="right")
    for kind, count in removed.items():
        table.add_row(WORDS[kind], str(count))
    stays = Table("old groups that stay, because")
    stays.add_column("", justify="right")
    for reason, count in sorted(kept.items()):
        stays.add_row(reason, str(count))
    console = Console()
    for one in (table, stays):
        if one.row_count:
            console.print(one)
    if not removed:
        print("nothing is old enough to go" if not kept else "nothing goes")
