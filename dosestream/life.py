"""One life of one process: a name that is never used again, and whether that life is over.

Marks and claims are kept by lives rather than by hosts: a process that is started again is another one, and
what the old one left behind is seen to belong to nobody alive.
"""

import hashlib
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PIDS = Path("/proc/self/ns/pid")


@dataclass(frozen=True, slots=True)
class Life:
    """Who it is.

    Attributes:
        name: host and 8 random hex digits.
        machine: the same for processes that see each other's process ids: one boot of one machine (container).
        pid: its process id.
        started: when the process started, in clock ticks since boot; 0 where the system does not tell.
    """

    name: str
    machine: str
    pid: int
    started: int

    @classmethod
    def mine(cls) -> "Life":
        """A new life of this process."""
        host = "".join(c for c in socket.gethostname() if c.isalnum() or c in ".-")
        return cls(f"{host or 'host'}-{secrets.token_hex(4)}", _machine(), os.getpid(), _started(os.getpid()))

    def is_over(self) -> bool | None:
        """Whether the process is gone; None where it cannot be told from here."""
        if not self.machine or self.machine != _machine():
            return None
        try:
            return _started(self.pid) != self.started
        except OSError:
            return True


def boot() -> str:
    """Changes with every boot of the machine; empty where the system does not tell."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _machine() -> str:
    """Empty where processes cannot be told apart by the system's own word."""
    try:
        return hashlib.sha256(f"{boot()} {_PIDS.readlink()}".encode()).hexdigest()[:16]
    except OSError:
        return ""


def _started(pid: int) -> int:
    """Field 22 of /proc/PID/stat; a zombie is over. Raises OSError where there is no such process."""
    if not _BOOT.exists():
        return 0
    state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if state in "ZX":
        raise ProcessLookupError(pid)
    return int(rest[18])
