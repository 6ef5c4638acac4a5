"""`dosestream simulate`: writes days of the simulated hospital to a folder, and plays them where asked."""

import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dosestream.simulate.compare import Difference, compare
from dosestream.simulate.day import Day, plan
from dosestream.simulate.folder import ForeignFolderError, clear
from dosestream.simulate.history import OVER_DAYS, history
from dosestream.simulate.play import Ports, play
from dosestream.simulate.report_files import write_reports
from dosestream.simulate.score import score
from dosestream.simulate.sr_content import stamp
from dosestream.simulate.timeline import HL7, Step, in_order
from dosestream.simulate.truth import Line, to_jsonl

# How long the rows may take after the last answer.
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.5
# So many surprises and differences are printed.
SHOWN = 20
TIMELINE = "timeline.jsonl"


def simulate(
    days: int,
    sites: int,
    seed: int,
    out: Path,
    send_to: Mapping[str, Any] | None,
    base: date | None = None,
    by_chance: bool = False,
) -> int:
    """Write `out/hl7`, `out/dicom`, `out/timeline.jsonl` and `out/truth.jsonl`; play them if asked.

    Args:
        days: how many days, the last of them the day before `base`.
        sites: how many hospitals; with one, its authority is the default one.
        seed: the same seed and base make the same bytes.
        send_to: the content of a ready file: where to play the days; None plays nothing.
        base: today (UTC) unless given.
        by_chance: a history drawn by chance instead of scripted days; it ends `OVER_DAYS` days before `base`, so
            that every window is over.

    Returns:
        0; 1 where a message was not answered as it must be or the dose database disagrees with the truth;
        2 where the folder or the numbers cannot be used.
    """
    console = Console(stderr=True)
    if not (days >= 1 and 1 <= sites <= 99):
        console.print("Give at least one day, and 1 to 99 sites.")
        return 2
    base = base or datetime.now(UTC).date()
    steps, lines = (_drawn if by_chance else _scripted)(days, sites, seed, base, console)
    try:
        write(out, steps, lines)
    except (OSError, ForeignFolderError) as error:
        return _unwritten(out, error, console)
    messages = sum(step.channel == HL7 for step in steps)
    print(
        f"{messages} HL7 messages and {len(steps) - messages} DICOM objects are in {out}, the truth in truth.jsonl"
    )
    return 0 if send_to is None else _send(steps, lines, send_to, console)


def simulate_reports(number: int, seed: int, out: Path, base: date | None = None) -> int:
    """Write synthetic reports and their answers (`report_files.write_reports`); 0, or 2 where that cannot be."""
    try:
        files, studies = write_reports(out, number, seed, base)
    except (OSError, ForeignFolderError) as error:
        return _unwritten(out, error, Console(stderr=True))
    print(
        f"{files} DICOM files are in {out}, the answers in answers.jsonl, {studies} studies in studies.jsonl"
    )
    return 0


def _unwritten(out: Path, error: OSError | ForeignFolderError, console: Console) -> int:
    if isinstance(error, ForeignFolderError):
        console.print(str(error))
    else:
        console.print(f"{out} cannot be written ({error.strerror}): give another folder by --out.")
    return 2


Played = tuple[tuple[Step, ...], list[Line]]


def _scripted(days: int, sites: int, seed: int, base: date, console: Console) -> Played:
    planned: list[Day] = []
    with _progress(console) as progress:
        task = progress.add_task("planning", total=days * sites)
        for back in reversed(range(days)):
            for site in range(1, sites + 1):
                planned.append(plan(seed, base - timedelta(days=back), site, sites, until=base))
                progress.advance(task)
    steps = in_order([step for day in planned for step in day.timeline])
    return steps, [line for day in planned for line in day.truth()]


def _drawn(days: int, sites: int, seed: int, base: date, console: Console) -> Played:
    with console.status("planning"):
        played = history(seed, base - timedelta(days=OVER_DAYS), days, sites, compressed=True)
        return played.timeline, list(played.truth())


def write(out: Path, steps: Sequence[Step], lines: Sequence[Line]) -> None:
    """The files of a simulation; those of an earlier one in the same folder are removed first.

    Raises:
        ForeignFolderError: `out/hl7` or `out/dicom` holds files that are not listed in `out/timeline.jsonl`.
        OSError: the folder cannot be written.
    """
    clear(out)
    for folder in ("hl7", "dicom"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    listed = []
    for number, step in enumerate(steps, 1):
        name = file_name(number, step)
        (out / name).write_bytes(step.body)
        listed.append(
            {
                "number": number,
                "sent_at": stamp(step.sent_at).isoformat(),
                "happened_at": stamp(step.happened_at).isoformat(),
                "channel": step.channel,
                "sender": step.sender,
                "kind": step.kind,
                "name": step.name,
                "file": name,
                "answer": step.answer,
            }
        )
    (out / TIMELINE).write_text("".join(f"{json.dumps(item)}\n" for item in listed), encoding="utf-8")
    (out / "truth.jsonl").write_text(to_jsonl(lines), encoding="utf-8")


def file_name(number: int, step: Step) -> str:
    """Name of a step's file below the folder: sorted by name, files are in the order of sending."""
    kind = step.kind.replace("^", "_").replace(" ", "-")
    if step.channel == HL7:
        return f"hl7/{number:06d}-{step.sender}-{kind}.hl7"
    return f"dicom/{number:06d}-{step.sender}-{kind}.dcm"


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def _send(steps: Sequence[Step], lines: Sequence[Line], ready: Mapping[str, Any], console: Console) -> int:
    with _progress(console) as progress:
        task = progress.add_task("playing", total=len(steps))
        played = play(steps, Ports.of(ready), progress=lambda done: progress.update(task, completed=done))
    print("answers: " + ", ".join(f"{count} {answer}" for answer, count in sorted(played.answers.items())))
    for surprise in played.surprises[:SHOWN]:
        print(surprise, file=sys.stderr)
    differing = await_truth(str(ready["postgres"]), lines, PATIENCE_S)
    for difference in differing[:SHOWN]:
        print(difference, file=sys.stderr)
    with contextlib.suppress(psycopg.OperationalError):
        print(score(str(ready["postgres"]), lines))
    if differing:
        print(f"the dose database differs from the truth in {len(differing)} cells", file=sys.stderr)
    else:
        print(f"the dose database agrees with the truth: {len(lines)} rows")
    return 1 if played.surprises or differing else 0


def await_truth(url: str, lines: Sequence[Line], patience_s: float) -> list[Difference]:
    """The differences that are left once there are none, or patience is over."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            differing = compare(url, lines)
        except psycopg.OperationalError as error:
            differing = [Difference("the dose database", "row", "an answer", str(error).strip())]
        if not differing or time.monotonic() > deadline:
            return differing
        time.sleep(LOOK_EVERY_S)
