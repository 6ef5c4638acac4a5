"""`dosestream up`: everything embedded, in the foreground, until SIGTERM or Ctrl-C."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dosestream.cli.service import ConfigOption

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from dosestream.cli.stack import Stack

LOOK_EVERY_S = 0.1


class Asked(BaseException):
    """SIGTERM or SIGINT: stop in order. No Exception, so that nothing on the way takes it for a mistake."""


def up(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", metavar="D", help="All data; resumed where it exists. [~/.local/share/dosestream]"
        ),
    ] = None,
    config: ConfigOption = None,
    ready_file: Annotated[
        Path | None, typer.Option("--ready-file", metavar="F", help="Written when all is ready (JSON).")
    ] = None,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Any free ports, not 2575, 11112, 11113, 9092 and 5432.")
    ] = False,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Play no simulated day.")] = False,
    kafka: Annotated[
        str | None,
        typer.Option("--kafka", metavar="HOST:PORT", help="A broker of yours, not an embedded one."),
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option("--postgres", metavar="URL", help="A database of yours, not an embedded one."),
    ] = None,
) -> None:
    """Run everything on this machine: Kafka, PostgreSQL and every service, until Ctrl-C."""
    from rich.console import Console

    from dosestream import settings
    from dosestream.cli.address import host_port
    from dosestream.cli.stack import Stack, Wanted
    from dosestream.embedded.errors import StackError
    from dosestream.embedded.folder import DataFolder, default_folder, mistake_of
    from dosestream.embedded.progress import prepare_broker

    if kafka is not None:
        host_port(kafka)
    config = config or (
        Path(os.environ["DOSESTREAM_CONFIG"]) if os.environ.get("DOSESTREAM_CONFIG") else None
    )
    wanted = Wanted(settings.load(config), config and config.absolute(), free_ports, kafka, postgres)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    # What lies in the data folder is about patients.
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _ask)
    signal.signal(signal.SIGINT, _ask)
    place = data_dir or default_folder()
    folder = stack = None
    try:
        folder = DataFolder.open(place)
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        if kafka is None:
            from dosestream.embedded import jars

            jars.java()
            prepare_broker()
        stack = Stack(folder, wanted, console.print)
        with console.status("Starting Kafka, PostgreSQL and the services"):
            stack.start()
        _serve(stack, ready_file, console, demo=not no_demo)
    except Asked:
        console.print("Stopping.")
    except OSError as error:
        raise StackError(mistake_of(error, place)) from error
    finally:
        _ignore_signals()
        if stack is not None:
            stack.stop()
        if folder is not None:
            # Only whoever holds the folder may take the ready file away.
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)
            folder.close()


def _serve(stack: "Stack", ready_file: Path | None, console: "Console", *, demo: bool) -> NoReturn:
    """Say that all is ready, play the demo, and look after the stack until asked to stop."""
    from dosestream.cli.demo import Demo, where_to_look

    document = stack.announce(ready_file)
    console.print(where_to_look(document))
    day = Demo(stack, document, console) if demo else None
    if day is None:
        console.print("Ready. Ctrl-C stops everything.")
    while True:
        stack.tend()
        if day is not None and day.tend():
            console.print("Everything stays up until Ctrl-C.")
            day = None
        time.sleep(LOOK_EVERY_S)


def _ask(_number: int, _frame: "FrameType | None") -> NoReturn:
    # Once asked, we stop in order, whatever else comes.
    _ignore_signals()
    raise Asked


def _ignore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
