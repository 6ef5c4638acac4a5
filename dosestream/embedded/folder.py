"""The data folder of one stack: its lock, its secrets, the ports it had, and a room for each server.

lock            held by the one `up` that uses the folder
secrets.json    made once, mode 0600
ports.json      where everything listened last
kafka/  postgres/  logs/  run/ (ready files of the services)
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dosestream.embedded.errors import StackError
from dosestream.ready import write

# Below this a start would only fill the disk.
LEAST_FREE_BYTES = 1024**3
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def default_folder() -> Path:
    """$XDG_DATA_HOME/dosestream, else ~/.local/share/dosestream."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "dosestream"


def space_mistake(folder: Path, free_bytes: int) -> str | None:
    """What to say about too little free space, None where there is enough."""
    if free_bytes >= LEAST_FREE_BYTES:
        return None
    return (
        f"The disk of {folder} has only {free_bytes // 1024**2} MiB left, and at least "
        f"{LEAST_FREE_BYTES // 1024**2} MiB are needed: free some space, or choose another folder with --data-dir."
    )


def mistake_of(error: OSError, folder: Path) -> str:
    """A sentence about what the system refused while the folder was used."""
    if error.errno in NO_SPACE:
        return f"The disk of {folder} is full: free some space, or choose another folder with --data-dir."
    return (
        f"{error.filename or folder} cannot be used ({error.strerror or error}): "
        "mend that, or choose another folder with --data-dir."
    )


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made once for a folder, and as secret as its data."""

    patient_key_secret: str
    postgres_password: str


@dataclass
class DataFolder:
    """An open, locked data folder."""

    path: Path
    _lock: IO[str]

    @classmethod
    def open(cls, path: Path) -> "DataFolder":
        """Make the folder where it is missing and lock it until `close` or the end of the process.

        Raises:
            StackError: another process uses it, it cannot be used, or its disk is full.
        """
        path = path.expanduser().absolute()
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (path / "lock").open("a+")
        except OSError as error:
            raise StackError(mistake_of(error, path)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise StackError(
                f"The data folder {path} is in use by another `dosestream up` (process {owner}): stop that one, "
                "or choose another folder with --data-dir."
            ) from error
        folder = cls(path, lock)
        try:
            if mistake := space_mistake(path, shutil.disk_usage(path).free):
                raise StackError(mistake)
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            for room in (folder.logs, folder.run):
                room.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            folder.close()
            raise StackError(mistake_of(error, path)) from error
        except StackError:
            folder.close()
            raise
        return folder

    def close(self) -> None:
        """Give the folder free."""
        self._lock.close()

    @property
    def kafka(self) -> Path:
        """The broker's files."""
        return self.path / "kafka"

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.path / "postgres"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Ready files of the services."""
        return self.path / "run"

    def secrets(self) -> Secrets:
        """The folder's secrets, made at the first call."""
        path = self.path / "secrets.json"
        if not path.exists():
            _write_private(
                path,
                {
                    "patient_key_secret": secrets.token_urlsafe(32),
                    "postgres_password": secrets.token_urlsafe(24),
                },
            )
        try:
            return Secrets(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise StackError(
                f"{path} cannot be read as the secrets of this folder: put back the file that was there, "
                "or start with a new folder by --data-dir."
            ) from error

    def ports(self) -> dict[str, int]:
        """Where everything listened last; empty for a new folder."""
        try:
            document = json.loads((self.path / "ports.json").read_text())
        except (OSError, ValueError):
            return {}
        return {str(k): v for k, v in document.items() if isinstance(v, int)}

    def remember_ports(self, chosen: dict[str, int]) -> None:
        """Keep them for the next start."""
        write(self.path / "ports.json", chosen)


def _write_private(path: Path, document: dict[str, str]) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
