"""What dies is started again; what ends, ends in order. With real processes."""

import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from dosestream.embedded.process import Process, spawn, stop, wrapped
from dosestream.embedded.supervisor import PAUSES_S, Change, Charge, Supervisor

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
ENDS = [sys.executable, "-c", ""]


class Watched:
    """A supervisor whose doings are kept as (name, what) pairs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[tuple[str, str]] = []
        self.supervisor = Supervisor(lambda charge, change: self.seen.append((charge.name, change.name)))

    def add(self, name: str, argv: list[str], stage: str = "") -> Charge:
        def launch() -> Process:
            self.seen.append((name, "launch"))
            return spawn(wrapped(argv), self.folder / f"{name}.log")

        def end(process: Process) -> None:
            self.seen.append((name, "end"))
            stop(process)

        charge = Charge(name, launch, end, stage)
        self.supervisor.add(charge)
        return charge


def test_a_child_that_was_killed_is_started_again_and_the_other_is_left_alone(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    one, other = watched.add("one", SLEEPS), watched.add("other", SLEEPS)
    assert one.process is not None
    assert other.process is not None
    before = other.process.pid
    one.process.send_signal(signal.SIGKILL)
    one.process.wait()
    watched.seen.clear()
    watched.supervisor.tend()
    watched.supervisor.tend()
    assert watched.seen == [("one", "DIED"), ("one", "launch"), ("one", "STARTED")]
    assert one.process.poll() is None
    assert (one.restarts, other.restarts, other.process.pid) == (1, 0, before)
    watched.supervisor.end()


def test_children_end_in_the_opposite_order_of_their_start_and_are_started_no_more(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    charges = [watched.add(name, SLEEPS) for name in ("first", "second", "third")]
    watched.seen.clear()
    watched.supervisor.end()
    watched.supervisor.tend()
    assert watched.seen == [("third", "end"), ("second", "end"), ("first", "end")]
    assert [charge.process for charge in charges] == [None, None, None]


def test_children_of_one_stage_end_together_after_those_of_the_next(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    both_asked = threading.Barrier(2)

    def stop_together(process: Process) -> None:
        # Neither gets past before the other is asked as well.
        both_asked.wait(60)
        stop(process)

    for name in ("one", "other"):
        watched.supervisor.add(
            Charge(name, lambda: spawn(wrapped(SLEEPS), tmp_path / "log"), stop_together, "both")
        )
    watched.add("later", SLEEPS, "next")
    watched.seen.clear()
    watched.supervisor.end()
    assert watched.seen == [("later", "end")]
    assert not both_asked.broken


def test_a_child_that_keeps_dying_waits_longer_each_time_but_never_more_than_the_last_pause() -> None:
    charge = Charge("flapping", lambda: spawn(wrapped(ENDS), Path("/dev/null")), stop)
    charge.start()
    now, waited = time.monotonic(), []
    for _ in range(len(PAUSES_S) + 1):
        assert charge.process is not None
        charge.process.wait()
        assert charge.tend(now) is Change.DIED
        died = now
        while charge.tend(now) is None:
            now += 0.25
        waited.append(now - died)
    assert waited == [*PAUSES_S, PAUSES_S[-1]]
    charge.end()


def test_a_child_that_cannot_be_launched_is_tried_again() -> None:
    tried: list[bool] = []

    def launch() -> Process:
        tried.append(True)
        if len(tried) == 2:
            raise OSError(28, "No space left on device")
        return spawn(wrapped(ENDS), Path("/dev/null"))

    charge = Charge("unlucky", launch, stop)
    charge.start()
    assert charge.process is not None
    charge.process.wait()
    now = time.monotonic()
    assert [charge.tend(now + after) for after in (0, 1, 2)] == [Change.DIED, Change.DIED, Change.STARTED]
    charge.end()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from dosestream.embedded.process import spawn, wrapped\n"
        f"child = spawn(wrapped({SLEEPS!r}), Path({str(tmp_path / 'child.log')!r}))\n"
        f"Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid) + ' ')\n"
        "time.sleep(600)\n"
    )
    parent = spawn([sys.executable, "-c", script], tmp_path / "parent.log")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith(" "):
        assert parent.poll() is None, (tmp_path / "parent.log").read_text()
        time.sleep(0.02)
    child = int((tmp_path / "pid").read_text())
    # Only once it has become the sleeper has it told the system what to do.
    while b"600" not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"--")[0]:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    while _runs(child):
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False
