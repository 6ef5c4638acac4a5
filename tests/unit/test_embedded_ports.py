"""Ports for listeners that are opened a little later."""

import socket

import pytest

from dosestream.embedded import ports


def test_a_free_port_is_none_that_the_system_gives_to_connections_meanwhile() -> None:
    first = ports._given_out_from()
    if first - ports.LOWEST < ports.ENOUGH:
        pytest.skip("this system gives out nearly all ports by itself")
    taken: set[int] = set()
    found = [ports.free(taken) for _ in range(50)]
    assert len(set(found)) == 50 and taken == set(found)
    assert all(ports.LOWEST <= port < first and ports.is_free(port) for port in found)


def test_a_port_is_found_where_the_system_gives_out_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_given_out_from", lambda: 1024)
    taken: set[int] = set()
    found = {ports.free(taken) for _ in range(5)}
    assert len(found) == 5 and taken == found


def test_a_port_that_is_taken_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as listener:
        held = listener.getsockname()[1]
        # Only the port that is taken, and the one after it.
        monkeypatch.setattr(ports, "LOWEST", held)
        monkeypatch.setattr(ports, "ENOUGH", 2)
        monkeypatch.setattr(ports, "_given_out_from", lambda: held + 2)
        assert ports.free(set()) != held
