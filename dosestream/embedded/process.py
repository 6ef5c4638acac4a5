"""Child processes that never outlive this one.

`spawn` must be called on a thread that lives as long as the child may: the system takes the end of the
thread that started a child for the end of the parent.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dosestream.embedded.errors import StackError

_CHILD = Path(__file__).with_name("child.py")

Process = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the system, by its numbers."""

    uid: int
    gid: int


def wrapped(
    argv: Sequence[str],
    *,
    death_signal: int = signal.SIGKILL,
    account: Account | None = None,
    opened: Sequence[Path] = (),
) -> list[str]:
    """The command line that starts argv through child.py; argv[0] is an absolute path."""
    options = ["--parent", str(os.getpid()), "--signal", str(int(death_signal))]
    if account is not None:
        options += ["--user", f"{account.uid}:{account.gid}"]
    for path in opened:
        options += ["--open", str(path)]
    return [sys.executable, "-I", "-S", str(_CHILD), *options, "--", *argv]


def spawn(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Process:
    """Start a wrapped command in a session of its own (Ctrl-C reaches the parent only), output to the log."""
    with log.open("ab") as out:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            start_new_session=True,
        )


def stop(process: Process, with_signal: int = signal.SIGTERM, timeout_s: float = 15.0) -> None:
    """Ask the process to end, wait, and kill its whole session where it does not."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run(command: Sequence[str], what: str, log: Path) -> None:
    """Run a command to its end.

    Raises:
        StackError: it failed; the sentence has its last words and where the rest is.
    """
    if spawn(command, log).wait() != 0:
        raise StackError(f"{what} failed: {last_words(log)} (all of it is in {log}).")


def last_words(log: Path) -> str:
    """The last line of a log that says something, for a sentence about a failure."""
    try:
        text = log.read_bytes()[-8192:].decode(errors="replace")
    except OSError:
        return "it said nothing"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("FATAL", "ERROR", "Error", "rror:"))]
    return (telling or lines or ["it said nothing"])[-1][:300].rstrip(".")
