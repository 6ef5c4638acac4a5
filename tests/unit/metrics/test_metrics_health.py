"""Live and ready mean different things, and are told over HTTP."""

import json
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from dosestream.metrics.health import Health, Pulse, Remembered
from dosestream.metrics.server import MetricsServer, serve
from dosestream.settings import MetricsSettings, Settings


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


class World:
    """A loop and a server that may be away."""

    def __init__(self) -> None:
        self.hangs = self.away = ""
        self.asked = 0

    def loop(self) -> str:
        return self.hangs

    def kafka(self) -> str:
        self.asked += 1
        return self.away


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Iterator[MetricsServer]:
    health = Health({"loop": world.loop}, {"kafka": world.kafka})
    server = MetricsServer("127.0.0.1", 0, health)
    yield server
    server.close()


def test_a_server_away_makes_a_service_unready_and_leaves_it_alive(
    server: MetricsServer, world: World
) -> None:
    assert get(f"{server.url}/health/ready")[0] == get(f"{server.url}/health/live")[0] == 200
    world.away = "Kafka at broker:9092 does not answer"
    status, text = get(f"{server.url}/health/ready")
    assert (status, json.loads(text)["checks"]) == (503, {"kafka": world.away})
    assert get(f"{server.url}/health/live")[0] == 200
    assert 'dosestream_ready{check="kafka"} 0.0' in get(f"{server.url}/metrics")[1]


def test_a_loop_that_hangs_makes_it_dead_without_asking_a_server(server: MetricsServer, world: World) -> None:
    world.hangs = "did not turn"
    assert get(f"{server.url}/health/live") == (
        503,
        '{"status": "failing", "checks": {"loop": "did not turn"}}\n',
    )
    assert world.asked == 0


def test_a_service_that_stops_is_alive_and_not_ready(server: MetricsServer) -> None:
    server.health.stopping.set()
    assert get(f"{server.url}/health/ready")[0] == 503
    assert get(f"{server.url}/health/live")[0] == 200


def test_who_asks_and_goes_before_the_answer_is_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    asked, gone = threading.Event(), threading.Event()
    answering = list[threading.Thread]()

    def slow() -> str:
        answering.append(threading.current_thread())
        asked.set()
        gone.wait(10)
        return ""

    server = MetricsServer("127.0.0.1", 0, Health({}, {"kafka": slow}))
    with socket.create_connection((server.host, server.port)) as client:
        client.sendall(b"GET /health/ready HTTP/1.0\r\n\r\n")
        assert asked.wait(10)
        # It is closed with a reset.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.set()
    answering[0].join(10)
    server.close()
    # Kafka clients of other tests in this process may still say that their broker went.
    assert [line for line in capfd.readouterr().err.splitlines() if not line.startswith("%")] == []


def test_other_paths_are_not_found(server: MetricsServer) -> None:
    assert get(f"{server.url}/")[0] == 404


def test_a_pulse_that_is_not_beaten_says_so() -> None:
    pulse = Pulse(limit_s=-1.0)
    assert "did not turn" in pulse()
    assert Pulse()() == ""


def test_a_server_is_asked_once_for_all_who_want_to_know(world: World) -> None:
    check = Remembered(world.kafka, holds_s=3600.0)
    assert [check(), check(), check()] == ["", "", ""]
    assert world.asked == 1


def test_without_a_port_nothing_is_served() -> None:
    assert serve(Settings(), "ingest", Health({}, {})) is None


def test_a_port_that_is_taken_is_told_and_the_service_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(metrics=MetricsSettings(port=taken.getsockname()[1]))
        with caplog.at_level(logging.ERROR):
            assert serve(settings, "ingest", Health({}, {})) is None
    assert "set metrics.port" in caplog.text
