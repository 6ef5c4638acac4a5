"""`dosestream check`: what messages become, where each field came from, and what a change would change."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dosestream.cli import corpus
from dosestream.cli.stackfile import ReadyFileOption, find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dosestream.cli.corpus import Recorded
    from dosestream.mapping.explain import Outcome
    from dosestream.settings import Settings

_FOLDER = typer.Option("--corpus", exists=True, metavar="DIR", help="Recorded messages: a folder or a file.")


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, metavar="[FILE]...", help="Messages to explain field by field."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="dosestream.toml; else, with --from-raw, the running stack's; else DOSESTREAM_CONFIG, else defaults.",
        ),
    ] = None,
    recorded: Annotated[Path | None, _FOLDER] = None,
    raw: Annotated[
        bool, typer.Option("--from-raw", help="The raw topic of a running stack as corpus.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="With --from-raw: 2h, 7d, or an ISO time.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", exists=True, metavar="TOML", help="The changed configuration.")
    ] = None,
    against_corpus: Annotated[
        Path | None,
        typer.Option("--against-corpus", exists=True, metavar="DIR", help="The changed messages."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="FIELD", help="Leave a field out of the comparison."),
    ] = None,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show values of a corpus: they may be patient data.")
    ] = False,
    standard: Annotated[
        bool, typer.Option(help="Hold each FILE against its HL7 version and the site's message profile, too.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")] = False,
    ready_file: ReadyFileOption = None,
) -> None:
    """Explain FILEs field by field (exit 1 where one is rejected); sum up a corpus; or say what a changed
    configuration (--against) or changed messages (--against-corpus) would change (exit 1 where anything does)."""
    if bool(files) + bool(recorded) + raw != 1:
        raise typer.BadParameter("give FILEs, or --corpus DIR, or --from-raw")
    if files and (against or against_corpus):
        raise typer.BadParameter(
            "--against and --against-corpus compare a corpus: give --corpus or --from-raw"
        )
    if since and not raw:
        raise typer.BadParameter("--since is for --from-raw")
    start = corpus.moment(since) if since else None

    from dosestream.cli import check_tables
    from dosestream.settings import load

    # What a stack has stored was mapped by its own configuration, not by the defaults.
    settings = load(config or (find(ready_file).get("config") if raw else None))
    changed = load(against) if against else settings
    if files:
        sys.exit(
            check_tables.explain(_outcomes(corpus.from_files(files), settings), standard, settings, json)
        )
    old = list(_messages(recorded, ready_file, start))
    if against is None and against_corpus is None:
        sys.exit(check_tables.summary([(one.name, o) for one, o in _outcomes(old, settings)], json))
    before = [(one.name, o) for one, o in _outcomes(old, settings)]
    new = corpus.from_files([against_corpus]) if against_corpus else old
    after = [(one.name, o) for one, o in _outcomes(new, changed)]
    sys.exit(
        check_tables.compare(
            before,
            after,
            same_messages=against_corpus is None,
            ignore=ignore or [],
            show=show_values,
            json=json,
        )
    )


def _messages(recorded: Path | None, ready_file: Path | None, since: datetime | None) -> "Iterator[Recorded]":
    return corpus.from_files([recorded]) if recorded else corpus.from_raw(ready_file, since)


def _outcomes(messages: "Iterable[Recorded]", settings: "Settings") -> "Iterator[tuple[Recorded, Outcome]]":
    from dosestream.mapping.explain import outcome

    named = {source.name: source for source in settings.source if source.name}
    for one in messages:
        yield one, outcome(one.body, settings, named.get(one.source))
