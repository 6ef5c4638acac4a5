"""TCP ports on the loopback address."""

import random
import socket
from pathlib import Path
from typing import Final

from dosestream.embedded.errors import StackError

LOOPBACK = "127.0.0.1"

# Above the ports that services are known by, below those that the system gives out: if there are so many, so many of
# them are tried.
LOWEST: Final = 20000
ENOUGH: Final = 1000
TRIES: Final = 100


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a listener can be opened there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As every listener here does: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def answers(port: int, host: str = LOOPBACK, timeout_s: float = 0.2) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True


def free(taken: set[int]) -> int:
    """A port that nobody has now, none of `taken`; it is added to them.

    It is used a little later, by another process, so it is none that the system gives to who asks for any: to
    connections that go out, too.
    """
    first = _given_out_from()
    wide = range(LOWEST, first) if first - LOWEST >= ENOUGH else range(0)
    for port in random.sample(wide, min(TRIES, len(wide))):
        if port not in taken and is_free(port):
            taken.add(port)
            return port
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            taken.add(port)
            return port


def _given_out_from() -> int:
    """The lowest port that the system gives out by itself (Linux: ip(7), `ip_local_port_range`; elsewhere RFC 6335)."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 49152


def choose(wanted: int, *, what: str, any_port: bool, remembered: int | None, taken: set[int]) -> int:
    """The port of one listener.

    The wanted one, or with `any_port` the remembered one where it is still free, else any free one.

    Raises:
        StackError: the wanted port is taken.
    """
    if any_port:
        if remembered and remembered not in taken and is_free(remembered):
            taken.add(remembered)
            return remembered
        return free(taken)
    if wanted in taken or not is_free(wanted):
        raise StackError(
            f"Port {wanted} for {what} is taken: stop what listens there, or start with --free-ports."
        )
    taken.add(wanted)
    return wanted
