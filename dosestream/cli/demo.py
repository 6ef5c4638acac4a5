"""The short hospital day that `up` plays without --no-demo, and the table that says what became of it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dosestream import ready
from dosestream.cli import watch
from dosestream.cli.stack import Stack
from dosestream.cli.stackfile import kafka_of
from dosestream.embedded.errors import StackError
from dosestream.embedded.process import Process, wrapped
from dosestream.kafka.topics import Topic

SEED = 1
LOOK_EVERY_S = 0.5
# How long the rows may take after the last answer before the table is printed all the same.
PATIENCE_S = 120.0


class Demo:
    """Plays the day as a child process (`dosestream simulate --send`), waits for the rows, prints the table."""

    def __init__(self, stack: Stack, document: dict[str, Any], console: Console) -> None:
        self._folder, self._document, self._console = stack.folder.path, document, console
        self._player: Process | None = None
        self._deadline: float | None = None
        self._look_at = 0.0
        if self._mark.exists():
            console.print(
                "The simulated day was played into this data folder before, and is not played again: here is what it left."
            )
        else:
            self._player = self._play(stack)

    def tend(self) -> bool:
        """Look once; True when the table has been printed, or cannot be."""
        now = time.monotonic()
        if self._player is not None:
            if (code := self._player.poll()) is None:
                return False
            self._player = None
            if code == 1:
                self._console.print("An answer or a row is not what the day's truth.jsonl says; see above.")
            elif code != 0:
                self._console.print(f"The simulated day could not be played to its end (exit code {code}).")
                return True
            ready.write(self._mark, {"seed": SEED})
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        self._deadline = self._deadline or now + PATIENCE_S
        try:
            left = watch.behind(kafka_of(self._document), self._document["postgres"])
            if left and now < self._deadline:
                return False
            if left:
                self._console.print(f"The dose database is still {left} records behind; what it has by now:")
            self._console.print(summary(self._document))
        except StackError as error:
            # A server is being started again.
            if now < self._deadline:
                return False
            self._console.print(str(error))
        self._console.print(where_to_look(self._document))
        return True

    @property
    def _mark(self) -> Path:
        return self._folder / "demo.json"

    def _play(self, stack: Stack) -> Process:
        self._console.print("Playing a simulated hospital day through the real ports.")
        command = [
            sys.executable,
            str(Path(sys.executable).with_name("dosestream")),
            "simulate",
            *("--days", "1", "--sites", "1", "--seed", str(SEED)),
            *("--out", str(self._folder / "demo"), "--send", "--ready-file", str(stack.ready_file)),
        ]
        # On our terminal, for its progress bar; Ctrl-C reaches only us.
        player = subprocess.Popen(wrapped(command), stdin=subprocess.DEVNULL, start_new_session=True)
        stack.guests.append(player)
        return player


def summary(document: dict[str, Any]) -> Table:
    """What was reconciled.

    Raises:
        StackError: the broker or the database is away.
    """
    dose = watch.dose(document["postgres"])
    states = {state.name: state for state in watch.topics(kafka_of(document), document["postgres"])}
    table = Table("", title="The hospital day", show_header=False)
    table.add_column(justify="right")
    table.add_row("HL7 messages stored (repeats once)", str(states[Topic.HL7_RAW].records))
    table.add_row("DICOM objects stored (repeats once)", str(states[Topic.DICOM_RAW].records))
    table.add_row("events applied", str(dose.messages))
    table.add_row("studies", str(dose.studies))
    for state in ("linked", "waiting", *sorted(dose.by_link_state.keys() - {"linked", "waiting"})):
        table.add_row(f"  {state}", str(dose.by_link_state.get(state, 0)))
    table.add_row("rejected messages", str(states[Topic.REJECTED].records))
    if dose.latency is not None:
        table.add_row("arrival to row, median", f"{dose.latency.median_ms:.0f} ms")
        table.add_row("arrival to row, p99", f"{dose.latency.p99_ms:.0f} ms")
    return table


def program() -> str:
    """The command line as a person here can type it: short where the environment lies below this folder."""
    path = Path(sys.executable).with_name("dosestream")
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def where_to_look(document: dict[str, Any]) -> str:
    """Addresses, and the first commands to try; lines that can be copied, however narrow the terminal."""
    mllp, dicom, worklist = document["mllp"], document["dicom"], document["worklist"]
    ready_file = Path(document["data_dir"]) / "run" / "ready.json"
    tls = document["mllp_tls"]
    lines = {
        "HL7 (MLLP)": f"{mllp['host']}:{mllp['port']}",
        **({"HL7 over TLS": f"{tls['host']}:{tls['port']}"} if tls else {}),
        "DICOM": f"{dicom['ae_title']}@{dicom['host']}:{dicom['port']}",
        "worklist": f"{worklist['ae_title']}@{worklist['host']}:{worklist['port']}",
        "Kafka": f"{document['kafka']}, topics radiology.*.v1",
        "dose database": f"psql '{document['postgres']}'   (views dose.study, dose.imaging_order, ...)",
        "data and logs": str(document["data_dir"]),
        "on duty": f"{program()} status --ready-file {ready_file}",
        "rejected": f"{program()} rejected list --ready-file {ready_file}",
    }
    return "\n".join(f"{name:<14} {value}" for name, value in lines.items())
