"""Services as their containers run them, but as processes: the same command and environment, as the image's
account where the tests are root, in a folder that it cannot write to."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from running_stack import DOSESTREAM, wait_until

from dosestream import ready
from dosestream.embedded import ports
from dosestream.embedded.process import Account, Process, last_words, spawn, stop, wrapped

# The Dockerfile's USER.
IMAGE = Account(10001, 10001)


@dataclass
class Host:
    """Where containers run.

    Attributes:
        folder: of their files, open to the image's account.
        kafka: HOST:PORT of the broker; postgres: the database's address with user and password.
        config: the site's configuration.
    """

    folder: Path
    kafka: str
    postgres: str
    config: str = ""
    running: dict[str, Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.postgres)
        assert parts.password is not None
        self.secrets = {"postgres_password": unquote(parts.password), "patient_key": "a key of the test"}
        user, _, where = parts.netloc.rpartition("@")
        self.database = f"{user.partition(':')[0]}@{where}{parts.path}"

    def table(self, name: str, pairs: Mapping[str, str]) -> dict[str, str]:
        """Paths and hosts inside a container to those here; the longer before the shorter."""
        own = self.folder / name
        for inner in ("", "state", "tmp", "secrets"):
            self._make(own / inner)
        for secret, content in self.secrets.items():
            (own / "secrets" / secret).write_text(content)
        (own / "dosestream.toml").write_text(self.config)
        inside = {
            "/etc/dosestream/dosestream.toml": str(own / "dosestream.toml"),
            "/run/secrets": str(own / "secrets"),
            "/var/lib/dosestream": str(own / "state"),
            "/tmp": str(own / "tmp"),
            **pairs,
        }
        return dict(sorted(inside.items(), key=lambda pair: -len(pair[0])))

    def _make(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, IMAGE.uid, IMAGE.gid)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        """A container's process with exactly this environment, and where Python is."""
        kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LANG") if key in os.environ}
        line = wrapped([sys.executable, DOSESTREAM, *command], account=account())
        process = spawn(line, self.log(name), {**kept, "PYTHONDONTWRITEBYTECODE": "1", **environment})
        self.running[name] = process
        return process

    def log(self, name: str) -> Path:
        """What it said."""
        return self.folder / f"{name}.log"

    def wait_ready(self, name: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """Wait for the container's ready file, as its health check does; returns what it says."""
        path, process = Path(environment[ready.VARIABLE]), self.running[name]

        def is_ready() -> bool:
            assert process.poll() is None, f"{name} ended: {last_words(self.log(name))}"
            return path.exists()

        wait_until(is_ready, f"{name} is ready")
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    def stop(self, name: str) -> int:
        """SIGTERM as the engine sends it; the exit code."""
        process = self.running.pop(name)
        stop(process, timeout_s=30.0)
        code = process.returncode
        assert code is not None
        return code


@contextmanager
def host(kafka: str, postgres: str, config: str = "") -> Iterator[Host]:
    """A host; whatever still runs on it at the end is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="dosestream-containers-"))
    folder.chmod(0o755)
    one = Host(folder, kafka, postgres, config)
    try:
        yield one
    finally:
        for name in list(one.running):
            one.stop(name)
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(*inside: str) -> dict[str, str]:
    """Container ports to free ones here."""
    taken: set[int] = set()
    return {port: str(ports.free(taken)) for port in inside}


@cache
def account() -> Account | None:
    """The image's, where the tests are root and that account can reach Python and the package; else our own."""
    if os.geteuid() != 0:
        return None
    line = wrapped([sys.executable, "-c", "import dosestream.settings, services, typer"], account=IMAGE)
    return IMAGE if subprocess.run(line, capture_output=True, check=False).returncode == 0 else None
