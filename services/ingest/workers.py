"""Several processes on one port: a parent that listens to nobody, and workers that share the port, and give each
other the connections that come (`gathering.py`).

The parent holds the port with SO_REUSEPORT, starts the workers, starts one again that dies, and hands signals
on. A worker does not outlive it, not even after kill -9. Where one closes its listener, connections that the
system had queued for it are reset, and their senders connect again.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from dosestream import ready
from dosestream.embedded.process import Process, wrapped
from dosestream.embedded.supervisor import Change, Charge, Supervisor
from dosestream.metrics.health import Pulse
from dosestream.settings import Settings
from services.ingest.gathering import Doors

log = logging.getLogger("dosestream.ingest")

# Which worker a process is: NUMBER/WORKERS, the number from 0. Set by the parent.
VARIABLE: Final = "DOSESTREAM_WORKER"
TURN_S: Final = 0.1
# Longer than a worker needs to drain.
STOP_TIMEOUT_S: Final = 18.0
FORWARDED: Final = (signal.SIGHUP, signal.SIGUSR1)


@dataclass(frozen=True, slots=True)
class Share:
    """One worker of several."""

    number: int
    workers: int

    @classmethod
    def mine(cls) -> "Share | None":
        """What the parent said; None in a process that has none."""
        number, _, count = os.environ.get(VARIABLE, "").partition("/")
        return cls(int(number), int(count)) if number.isdigit() and count.isdigit() else None


ALONE: Final = Share(0, 1)


class Parent:
    """Starts and looks after the workers. Everything happens on the main thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mllp = settings.mllp
        self._pulse = Pulse()
        self._stopping = False
        self._supervisor = Supervisor(self._changed)

    def run(self) -> int:
        """Until SIGTERM or SIGINT; 0 when every worker ended well, 1 when the port cannot be had."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        for number in FORWARDED:
            signal.signal(number, self._hand_on)
        try:
            held = hold(self._mllp.host, self._mllp.port)
        except OSError as error:
            log.error("%s:%d cannot be listened on: %s", self._mllp.host, self._mllp.port, error.strerror)
            return 1
        tls = self._mllp.tls
        with (
            held,
            closing(Doors.made(self._mllp.workers)) as self._doors,
            tempfile.TemporaryDirectory(prefix="dosestream-ingest-") as folder,
        ):
            ports = {"DOSESTREAM_MLLP_PORT": int(held.getsockname()[1])}
            if not tls.certificate:
                self._serve(ports, Path(folder))
                return self._end()
            try:
                held_tls = hold(tls.host or self._mllp.host, tls.port)
            except OSError as error:
                log.error(
                    "%s:%d cannot be listened on: %s", tls.host or self._mllp.host, tls.port, error.strerror
                )
                return 1
            with held_tls:
                ports["DOSESTREAM_MLLP_TLS_PORT"] = int(held_tls.getsockname()[1])
                self._serve(ports, Path(folder))
                return self._end()

    def _serve(self, ports: Mapping[str, int], folder: Path) -> None:
        names = [str(number) for number in range(self._mllp.workers)]
        for name in names:
            self._supervisor.add(
                Charge(name, lambda name=name: self._launch(name, ports, folder), _stop)  # type: ignore[misc]
            )
        waiting = [folder / f"{name}.json" for name in names]
        if self._settings.metrics.port_of("ingest"):
            from services.ingest.metrics import begin_parent

            begin_parent(self._settings, folder, self._pulse)
        while not self._stopping:
            self._pulse.beat()
            self._supervisor.tend()
            if waiting:
                waiting = [path for path in waiting if not path.exists()]
                if not waiting:
                    address = json.loads((folder / "0.json").read_text())
                    address.pop("metrics", None)
                    ready.announce({**address, "workers": len(names)})
                    log.info("%d workers listen on %s:%d", len(names), address["host"], address["port"])
            time.sleep(TURN_S)

    def _launch(self, name: str, ports: Mapping[str, int], folder: Path) -> Process:
        # As it was called, so that every worker's arguments name the service and its configuration.
        script = Path(sys.executable).with_name("dosestream")
        return subprocess.Popen(
            wrapped([sys.executable, str(script), *sys.argv[1:]]),
            stdin=subprocess.DEVNULL,
            pass_fds=self._doors.descriptors,
            env={
                **os.environ,
                VARIABLE: f"{name}/{self._mllp.workers}",
                **self._doors.environment,
                **{variable: str(port) for variable, port in ports.items()},
                ready.VARIABLE: str(folder / f"{name}.json"),
            },
        )

    def _end(self) -> int:
        """All drain at the same time."""
        processes = [charge.process for charge in self._supervisor.charges if charge.process is not None]
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        self._supervisor.end()
        return int(any(process.returncode for process in processes))

    def _told_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _hand_on(self, number: int, _frame: FrameType | None) -> None:
        for charge in self._supervisor.charges:
            if charge.process is not None and charge.process.poll() is None:
                charge.process.send_signal(number)

    def _changed(self, charge: Charge, change: Change) -> None:
        if change is Change.DIED:
            self._doors.board.away(int(charge.name))
            code = None if charge.process is None else charge.process.returncode
            log.error("worker %s ended (%s) and is started again", charge.name, code)


def hold(host: str, port: int) -> socket.socket:
    """A socket that holds the port for the workers; port 0 is any free one.

    Raises:
        OSError: somebody else has it.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as alone:
        # Without SO_REUSEPORT: another service of ours on this port is somebody else too.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        address = alone.getsockname()
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError:
        held.close()
        raise
    return held


def _stop(process: Process) -> None:
    """The worker was told to end already; what does not is killed."""
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
