"""`dosestream config check [FILE]`: every mistake of a site's configuration with its line."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look at a configuration.", no_args_is_help=True)


@app.callback()
def _config() -> None:
    """Look at a configuration."""


@app.command("check")
def check(
    file: Annotated[
        Path,
        typer.Argument(envvar="DOSESTREAM_CONFIG", help="A dosestream.toml; else the one services get."),
    ],
) -> None:
    """Say what is wrong with FILE, one line a mistake; exit 1 where anything is."""
    from dosestream.settings import SettingsError, load

    try:
        load(file, environ={})
    except SettingsError as error:
        print("\n".join(error.mistakes), file=sys.stderr)
        sys.exit(1)
    print(f"{file}: good")
