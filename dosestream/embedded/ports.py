"""TCP ports on the loopback address."""

import socket

from dosestream.embedded.errors import StackError

LOOPBACK = "127.0.0.1"


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
    """A port that nobody has now, none of `taken`; it is added to them."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            taken.add(port)
            return port


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
