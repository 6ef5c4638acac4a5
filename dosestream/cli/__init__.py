"""The command line. One file a command; what a command needs is imported when it runs, so that it starts fast."""

import os
import sys

import typer

from dosestream.cli import (
    archive,
    check,
    config,
    decide,
    fetch,
    missing,
    prepare,
    rejected,
    replay,
    send,
    service,
    show,
    simulate,
    status,
    store,
    tail,
    topics,
    up,
)
from dosestream.embedded.errors import StackError
from dosestream.kafka.errors import BrokerAwayError
from dosestream.settings import SettingsError

app = typer.Typer(
    name="dosestream",
    help="A Kafka pipeline that gives every radiology study in the dose database "
    "the right patient, order and procedure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
for name in service.SERVICES:
    app.command(name, help=service.SERVICES[name])(service.command(name))
app.command("prepare")(prepare.prepare)
app.command("send")(send.send)
app.command("store")(store.store)
app.command("status")(status.status)
app.command("missing")(missing.missing)
app.command("fetch")(fetch.fetch)
app.command("replay")(replay.replay)
app.command("show")(show.show)
app.command("tail")(tail.tail)
app.command("simulate")(simulate.simulate)
app.command("check")(check.check)
app.command("archive")(archive.archive)
for name, (text, _) in decide.COMMANDS.items():
    app.command(name, help=text)(decide.command(name))
app.add_typer(rejected.app, name="rejected")
app.add_typer(config.app, name="config")
app.add_typer(topics.app, name="topics")


def main() -> None:
    """The entry point: a mistake is one sentence on standard error and exit code 2, never a traceback."""
    try:
        app()
    except (StackError, BrokerAwayError) as error:
        _say(str(error))
    except SettingsError as error:
        _say("\n".join(error.mistakes))
    except BrokenPipeError:
        # The reader (`| head`) went away; nothing more can be said on standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _say(text: str) -> None:
    print(f"dosestream: {text}", file=sys.stderr)
    sys.exit(2)
