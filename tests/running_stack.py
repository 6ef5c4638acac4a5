"""A stack of its own for a test: `dosestream up` as a child process, with its services found in /proc."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dosestream.embedded.process import wrapped

DOSESTREAM = str(Path(sys.executable).with_name("dosestream"))


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
    """Look until it is true; fail with `what` where it never is."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain: {what}"
        time.sleep(0.05)


@dataclass
class RunningStack:
    """One `dosestream up` and its folder."""

    data_dir: Path
    ready_file: Path
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, folder: Path, *arguments: str, wait: bool = True) -> "RunningStack":
        """Start one over folder/data, on free ports, without a demo; wait until it is ready."""
        folder.mkdir(parents=True, exist_ok=True)
        data_dir, ready_file = folder / "data", folder / "ready.json"
        command = [DOSESTREAM, "up", "--data-dir", str(data_dir), "--ready-file", str(ready_file)]
        command += ["--free-ports", "--no-demo", *arguments]
        with (folder / "up.out").open("a") as out:
            process = subprocess.Popen(
                # It ends with the tests, also where they are killed.
                wrapped(command, death_signal=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )
        stack = cls(data_dir, ready_file, process)
        if wait:
            stack.wait_ready()
        return stack

    def wait_ready(self, timeout_s: float = 200.0) -> None:
        """Wait for the ready file."""

        def is_ready() -> bool:
            assert self.process.poll() is None, f"up ended early:\n{self.output()}"
            return self.ready_file.exists()

        wait_until(is_ready, "the ready file", timeout_s)

    @property
    def ready(self) -> dict[str, Any]:
        """The ready file's content."""
        document: dict[str, Any] = json.loads(self.ready_file.read_text())
        return document

    def output(self) -> str:
        """What `up` has said so far."""
        return (self.ready_file.parent / "up.out").read_text()

    def log(self, name: str) -> str:
        """The log of a service."""
        return (self.data_dir / "logs" / f"{name}.log").read_text()

    def ends_of_logs(self, lines: int = 40) -> Iterator[tuple[str, str]]:
        """The last lines of what `up` said and of every log, by name."""
        for path in [self.ready_file.parent / "up.out", *sorted((self.data_dir / "logs").glob("*"))]:
            yield path.name, "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def pid(self, word: str) -> int | None:
        """The process under `up` whose arguments contain the word, None where there is none."""
        for child in children(self.process.pid):
            if word in arguments(child):
                return child
        return None

    def kill(self, word: str) -> int:
        """`kill -9` the process whose arguments contain the word; returns the process that takes its place.

        The words: ingest, arrivals, reconciler, kafka.Kafka. The server of the database is found by -D.
        """
        old = self.pid(word)
        assert old is not None, f"no process with {word!r} in its arguments"
        os.kill(old, signal.SIGKILL)
        found: list[int] = []

        def again() -> bool:
            found[:] = [pid for pid in [self.pid(word)] if pid not in (None, old)]
            return bool(found)

        wait_until(again, f"{word} started again")
        return found[0]

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def __enter__(self) -> "RunningStack":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def children(pid: int) -> list[int]:
    """Child processes that have not been reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # proc(5): the command's name in parentheses, the state, the parent.
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if int(parent) == pid:
                found.append(int(entry.name))
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    found = children(pid)
    return found + [grandchild for child in found for grandchild in descendants(child)]


def arguments(pid: int) -> list[str]:
    """The arguments of a process, none for one that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether it runs (a zombie does not)."""
    return bool(arguments(pid)) and arguments(pid) != [""]
