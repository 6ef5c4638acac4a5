"""`dosestream simulate`: the deterministic hospital."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dosestream.cli.stackfile import ReadyFileOption


def simulate(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where messages, reports and truth.jsonl go.")
    ],
    days: Annotated[int, typer.Option("--days", min=1, help="How many days.")] = 1,
    sites: Annotated[int, typer.Option("--sites", min=1, help="How many sites.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same days.")] = 1,
    send: Annotated[bool, typer.Option("--send", help="Play them into the running stack, too.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Draw weeks by chance instead of playing the scripted day.")
    ] = False,
    reports: Annotated[
        int | None,
        typer.Option(
            "--reports",
            metavar="N",
            min=1,
            help="Write N synthetic dose reports with their answers instead, faults and sequences among them.",
        ),
    ] = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Make days of a hospital: HL7, dose reports, and the true answer in truth.jsonl."""
    if reports is not None:
        if send or history:
            raise typer.BadParameter("reports are only written: give it without --send and --history")
        from dosestream.simulate.main import simulate_reports

        sys.exit(simulate_reports(reports, seed, out))
    from dosestream.cli import stackfile
    from dosestream.simulate.main import simulate as play

    sys.exit(play(days, sites, seed, out, stackfile.find(ready_file) if send else None, by_chance=history))
