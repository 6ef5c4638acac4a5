"""The reconciler as two processes, the service's and its engine's: whichever ends, nothing is left over or lost."""

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_broker import own_broker
from reconciler_running import Service
from running_stack import arguments, children, is_alive

from dosestream.db.migrate import migrate
from dosestream.embedded.process import Process
from dosestream.settings import KafkaSettings


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    """A broker of these tests' own: a reconciler stops at what other tests leave in the topics."""
    with own_broker(tmp_path_factory.mktemp("kafka")) as settings:
        yield settings


@pytest.fixture
def service(kafka: KafkaSettings, fresh_database: Callable[[], str], tmp_path: Path) -> Iterator[Service]:
    url = fresh_database()
    migrate(url)
    found = Service(kafka, url, tmp_path)
    yield found
    found.close()


def both(service: Service) -> tuple[Process, int]:
    """The service's process, ready, and the process id of its engine."""
    process = service.start()
    (engine,) = children(process.pid)
    return process, engine


def told_by_the_next(service: Service, prefix: str) -> None:
    """What is said while nobody listens is applied by the next process."""
    service.say(prefix, 5)
    service.start()
    service.wait(lambda: service.rows(prefix) == 5, "the rows of what was said meanwhile")


def test_the_service_ends_with_an_error_when_its_engine_is_killed(service: Service) -> None:
    process, engine = both(service)
    assert "reconciler" in arguments(engine)
    os.kill(engine, signal.SIGKILL)
    assert process.wait(90) == 1
    told_by_the_next(service, secrets.token_hex(4))


def test_the_engine_ends_when_the_service_is_killed(service: Service) -> None:
    process, engine = both(service)
    process.kill()
    process.wait(90)
    service.wait(lambda: not is_alive(engine), "the engine gone")
    told_by_the_next(service, secrets.token_hex(4))


def test_a_service_asked_to_end_takes_its_engine_with_it(service: Service) -> None:
    prefix = secrets.token_hex(4)
    process, engine = both(service)
    service.say(prefix, 20)
    service.wait(lambda: service.rows(prefix) > 0, "the first rows")
    process.terminate()
    assert process.wait(90) == 0
    assert not is_alive(engine)
    told_by_the_next(service, secrets.token_hex(4))
    service.wait(lambda: service.rows(prefix) == 20, "every row")


def test_an_engine_asked_to_end_finishes_and_the_service_ends_to_be_started_again(service: Service) -> None:
    process, engine = both(service)
    os.kill(engine, signal.SIGTERM)
    assert process.wait(90) == 1
    assert not is_alive(engine)
    told_by_the_next(service, secrets.token_hex(4))
