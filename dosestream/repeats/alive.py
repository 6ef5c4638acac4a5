"""Whether a process that shares a folder is alive: it holds a lock on a file there, which the system takes away
when the process ends, by kill -9 too. Works between containers, where process ids mean nothing.
"""

import contextlib
import fcntl
import os
from pathlib import Path

SUFFIX = ".alive"


class Alive:
    """This process's own mark, and a look at the others'."""

    def __init__(self, folder: Path, name: bytes) -> None:
        self._folder = folder
        self._mine = folder / f"{name.hex()}{SUFFIX}"
        self._descriptor = os.open(self._mine, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_alive(self, name: bytes) -> bool:
        """Whether the process of that name is alive; the file of one that is not is removed."""
        path = self._folder / f"{name.hex()}{SUFFIX}"
        if path == self._mine:
            return True
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        path.unlink(missing_ok=True)
        return False

    def sweep(self) -> None:
        """Remove the files of processes that are gone."""
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(ValueError):
                self.is_alive(bytes.fromhex(path.stem))

    def close(self) -> None:
        """This process is as good as gone."""
        self._mine.unlink(missing_ok=True)
        os.close(self._descriptor)
