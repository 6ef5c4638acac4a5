"""Services as processes of their own, as containers run them: each with its own environment."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running_stack import DOSESTREAM, wait_until

from dosestream.embedded.process import wrapped
from dosestream.settings import KafkaSettings


def environment(kafka: KafkaSettings) -> dict[str, str]:
    """How a service is told of its brokers and of who it is."""
    known = {
        "DOSESTREAM_KAFKA": kafka.bootstrap,
        "DOSESTREAM_KAFKA_SECURITY_PROTOCOL": kafka.security_protocol,
        "DOSESTREAM_KAFKA_USER": kafka.user,
        "DOSESTREAM_KAFKA_PASSWORD_FILE": kafka.password_file,
        "DOSESTREAM_KAFKA_CA_FILE": kafka.ca_file,
    }
    return {name: value for name, value in known.items() if value}


@dataclass
class Fleet:
    """Started one by one, ended together; their logs and ready files lie in the folder."""

    folder: Path
    common: Mapping[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, more: Mapping[str, str], *arguments: str) -> dict[str, Any]:
        """Start `dosestream <name>` and wait until it is ready; returns what it announced."""
        ready = self.folder / f"{name}.ready"
        ready.unlink(missing_ok=True)
        env = {**os.environ, "FAUST_DATADIR": str(self.folder / "faust"), **self.common, **more}
        env["DOSESTREAM_READY"] = str(ready)
        with (self.folder / f"{name}.log").open("ab") as out:
            process = subprocess.Popen(
                wrapped([DOSESTREAM, name, *arguments]),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.running[name] = process
        wait_until(lambda: ready.exists() or process.poll() is not None, f"{name} is ready")
        assert ready.exists(), self.log(name)
        said: dict[str, Any] = json.loads(ready.read_text())
        return said

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        """`kill -9`."""
        self.running[name].kill()
        self.running.pop(name).wait()

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; their exit codes."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(60) for name, process in self.running.items()}
        self.running.clear()
        return codes

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
