"""The port that workers share, and what a reload may change."""

import socket
from dataclasses import replace

import pytest

from dosestream.settings import KafkaSettings, MllpSettings, Settings
from services.ingest.reload import reloaded
from services.ingest.workers import Share, hold


def test_a_held_port_is_for_those_who_share_it() -> None:
    with hold("127.0.0.1", 0) as held:
        address = held.getsockname()
        with socket.socket() as worker, socket.socket() as stranger:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(address)
            worker.listen()
            with pytest.raises(OSError, match="in use"):
                stranger.bind(address)
            # A second service of ours on the same port is a mistake too.
            with pytest.raises(OSError, match="in use"):
                hold(*address)


def test_a_port_that_another_listens_on_cannot_be_held() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            hold(*other.getsockname())


@pytest.mark.parametrize(
    ("said", "share"),
    [("2/3", Share(2, 3)), ("", None), ("x", None)],
    ids=["a worker", "no parent", "something else"],
)
def test_which_worker_a_process_is(monkeypatch: pytest.MonkeyPatch, said: str, share: Share | None) -> None:
    monkeypatch.setenv("DOSESTREAM_WORKER", said)
    assert Share.mine() == share


RUNNING = Settings(mllp=MllpSettings(port=2575, on_reject="AE"))
CHANGES = [
    ("what is read with each message", Settings(mllp=MllpSettings(on_reject="AA")), "AA", []),
    ("the port", Settings(mllp=MllpSettings(port=1, on_reject="AA")), "AA", ["mllp.port"]),
    ("the broker", replace(RUNNING, kafka=KafkaSettings(bootstrap="b:1")), "AE", ["kafka"]),
]


@pytest.mark.parametrize(
    ("wanted", "on_reject", "fixed"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_a_reload_changes(wanted: Settings, on_reject: str, fixed: list[str]) -> None:
    settings, names = reloaded(RUNNING, wanted)
    assert (settings.mllp.on_reject, names) == (on_reject, fixed)
    assert (settings.mllp.port, settings.kafka) == (RUNNING.mllp.port, RUNNING.kafka)
