"""`dosestream replay`: the dose database built anew from the topics, compared, and swapped."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from dosestream.cli.service import ConfigOption
from dosestream.cli.stackfile import ReadyFileOption
from dosestream.db.origin import NEXT_VIEWS, Origin
from dosestream.embedded.errors import StackError

if TYPE_CHECKING:
    from dosestream.cli.progress import Told
    from dosestream.db.compare import Difference
    from dosestream.db.generations import Generation
    from dosestream.settings import Settings
    from services.reconciler.replay.comparing import Compared
    from services.reconciler.replay.follow import Follower
    from services.reconciler.replay.run import Wanted
    from services.reconciler.replay.swap import Swapped

# How long a comparison waits for both generations to come to rest at equal ledgers.
REST_S = 30.0
SHOWN = 12


def replay(
    source: Annotated[
        Origin | None,
        typer.Option("--from", help="The events as they were mapped, or the messages, mapped as today."),
    ] = None,
    into: Annotated[
        str,
        typer.Option("--into", metavar="SCHEMA", help="Where the public views show the new generation."),
    ] = NEXT_VIEWS,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Leave out what was received later (ISO 8601)."),
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Make the new generation the live one when it has come up to it.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Make the generation before the last swap live again.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Drop the generations that a swap left.")
    ] = False,
    compare: Annotated[bool, typer.Option(help="Compare with the live generation before the swap.")] = True,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="Every difference, a line of JSON each; about patients."
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that build.")] = 2,
    publish: Annotated[
        bool,
        typer.Option("--publish", help="With --from raw: publish the events as they are mapped now, too."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Build anew although a generation is there to go on with.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Although topics no longer hold all that was said.")
    ] = False,
    patience: Annotated[
        float, typer.Option("--patience", metavar="SECONDS", help="How long a swap waits for readers.")
    ] = 600.0,
    work: Annotated[
        Path | None, typer.Option("--work", metavar="DIR", help="Where the build puts things aside.")
    ] = None,
    config: ConfigOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Build the dose database anew from the topics, while everything runs; compare it, and swap it in.

    Interrupted, it goes on where the same command is given again. Until the swap the live database is untouched.
    """
    from dosestream.cli.progress import Told

    if sum((source is not None, rollback, drop_old)) != 1:
        raise typer.BadParameter("give one of --from raw, --from normalised, --rollback and --drop-old")
    if publish and source is not Origin.RAW:
        raise typer.BadParameter("--publish is for --from raw: the other events are there")
    settings, folder = settings_of(config, ready_file)
    with Told() as told, _mistakes():
        if source is None:
            _again(settings, patience, told, rollback=rollback)
            return
        from dosestream.cli import remap
        from services.reconciler.replay.run import Wanted

        wanted = Wanted(
            origin=source,
            work=work or folder / "replay",
            into=into,
            until=None if until is None else micros(until),
            swap=swap,
            workers=workers,
            fresh=fresh,
            accept_loss=accept_loss,
            patience_s=patience,
            reading=remap.reading,
        )
        _replay(settings, wanted, told, compare=compare, report=report, publish=publish)


def micros(text: str) -> int:
    """ISO 8601 as microseconds since 1970 UTC; without offset it is this machine's time.

    Raises:
        typer.BadParameter: it is nothing of the kind.
    """
    from datetime import datetime

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time such as 2026-03-02T08:00 or 2026-03-02") from None
    return int(at.astimezone().timestamp() * 1_000_000)


def settings_of(config: Path | None, ready_file: Path | None) -> "tuple[Settings, Path]":
    """The configuration as it is now with the stack's servers, and a folder for our own use."""
    from dosestream.cli import stackfile
    from dosestream.embedded.folder import default_folder

    ready = stackfile.find(ready_file)
    folder = Path(ready["data_dir"]) if ready.get("data_dir") else default_folder()
    return stackfile.settings_of(ready, config), folder


@contextmanager
def _mistakes() -> Iterator[None]:
    """What goes wrong as a sentence that says what to do."""
    import psycopg

    from dosestream.kafka.admin import BrokerAwayError
    from dosestream.kafka.reader import ReadError
    from services.reconciler.replay.follow import StandstillError
    from services.reconciler.replay.plan import BuildError
    from services.reconciler.replay.run import ReplayError
    from services.reconciler.replay.swap import SwapError

    try:
        yield
    except (ReplayError, SwapError, StandstillError, BuildError, ReadError, TimeoutError) as error:
        raise StackError(f"{error}") from error
    except (psycopg.OperationalError, BrokerAwayError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StackError(f"{first}: give the same command again, it goes on where it was.") from error


def _again(settings: "Settings", patience_s: float, told: "Told", *, rollback: bool) -> None:
    from dosestream.kafka.codec import codec_for
    from dosestream.reconcile.rules import rules_from
    from services.reconciler.replay import run

    if not rollback:
        run.drop_old(settings, told)
        return
    codec, rules = codec_for(settings.kafka), rules_from(settings)
    generation, swapped = run.roll_back(settings, codec, rules, patience_s, told)
    _tell_swap(generation, swapped, told)


def _replay(
    settings: "Settings",
    wanted: "Wanted",
    told: "Told",
    *,
    compare: bool,
    report: Path | None,
    publish: bool,
) -> None:
    from dosestream.cli import remap
    from dosestream.kafka.codec import codec_for
    from dosestream.reconcile.rules import rules_from
    from services.reconciler.replay import comparing, run
    from services.reconciler.replay.plan import Progress

    codec, rules = codec_for(settings.kafka), rules_from(settings)

    def compared(follower: "Follower", live: "Generation", new: "Generation") -> None:
        with ExitStack() as files:
            out = files.enter_context(_private(report)) if report is not None else None

            def hear(difference: "Difference") -> None:
                if out is not None:
                    out.write(comparing.report_line(difference))

            told.say(f"comparing generation {new.number} with the live one, {live.number}")
            found = comparing.comparing(settings, codec, follower, live, new, REST_S, hear)
            if out is not None:
                out.write(comparing.summary_line(found))
        _tell_comparison(found, told)

    entry, swapped = run.replay(settings, codec, rules, wanted, told, compared if compare else None)
    if swapped is not None:
        _tell_swap(entry.generation, swapped, told)
    else:
        told.say(f"generation {entry.generation.number} is shown in schema {wanted.into}")
    if publish:
        count = remap.publish(
            settings,
            codec,
            entry.stops,
            lambda done, total: told.progress(
                Progress("publish", done, total, "messages", done / total if total else 1.0)
            ),
        )
        told.say(f"the events of {count} messages are published as they are mapped now")


def _private(file: Path) -> BinaryIO:
    """A new file that nobody else may read: it tells of patients."""
    try:
        return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
    except OSError as error:
        raise StackError(
            f"{file} cannot be written ({error.strerror}): name another with --report"
        ) from error


def _tell_swap(generation: "Generation", swapped: "Swapped", told: "Told") -> None:
    told.say(
        f"generation {generation.number} is live; {swapped.marked} rows are published on radiology.dose.v1. "
        f"The live reconciler waited for {swapped.held_s:.1f} s. "
        f"Generation {swapped.live.number} stays for `dosestream replay --rollback`."
    )


def _tell_comparison(compared: "Compared", told: "Told") -> None:
    """The comparison in words: counts and names of columns, and no value of a patient's."""
    found = compared.comparison
    if not compared.at_equal_ledgers:
        told.say(
            f"not at equal ledgers: the new generation is {compared.ahead} records ahead, {compared.behind} behind"
        )
    if compared.live_owes or compared.new_owes:
        told.say(
            f"to be derived again yet: {compared.live_owes} groups of the live, {compared.new_owes} of the new one"
        )
    if found.same:
        told.say("the public rows are the same")
    for one in found.tables:
        if one.differing:
            told.say(f"{one.table}: {one.live} rows live, {one.next} new; {one.differing} differ")
    if found.columns:
        told.say(f"columns of studies: {_listed(found.columns.most_common(SHOWN))}")
    for (name, before, after), count in found.changes.most_common(SHOWN):
        told.say(f"{name}: {before} becomes {after} in {count}")
    if found.reasons:
        told.say(f"why: {_listed(found.reasons.most_common(SHOWN))}")
    if found.other_rules:
        told.say(f"{found.other_rules} studies of the same content were derived with other rules")
    for example in found.examples[:3]:
        columns = ", ".join(example.columns) or f"only {example.only}"
        told.say(f"such as {example.key['study_instance_uid']}: {columns} ({'; '.join(example.why)})")


def _listed(counts: list[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts)
