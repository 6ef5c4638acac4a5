"""Real servers for the tests: a Kafka broker, a PostgreSQL server, a whole stack, each started once a session.

A test that asks for one of them is marked `stack` by itself.
"""

import os
import secrets
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import compiled_tree as tree
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from running_stack import RunningStack
from sharing import ByFile
from started_server import started
from xdist.remote import Producer

from dosestream.db.migrate import migrate
from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.settings import KafkaSettings

# How long an example takes is a matter of the machine, not of what it shows.
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")

# What mypyc made is the same however much the C compiler optimises it, and there in half the time where it does not.
os.environ.setdefault("MYPYC_OPT_LEVEL", "0")

SERVERS = {"embedded_kafka", "embedded_postgres", "stack", "start_stack"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers."""
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure over a stack: the ends of its logs, since its folder is gone by the time it is read."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, RunningStack):
                report.sections += [(f"end of {name}", text) for name, text in value.ends_of_logs()]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """How `pytest -n` shares the tests."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of public sample messages and reports that lies outside the project."""
    folder = os.environ.get("DOSESTREAM_TEST_DATA")
    if not folder:
        pytest.skip("DOSESTREAM_TEST_DATA is not set: the sample messages and reports are not there")
    return Path(folder)


@pytest.fixture(scope="session")
def compiled_tree() -> Path:
    """The packages with ingest's hot path compiled; PYTHONPATH of a process that is to run them."""
    return tree.built()


@pytest.fixture(scope="session")
def embedded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """The broker itself, for tests that stop it: `stop()`, then `launch()` and `wait_ready()` again."""
    taken: set[int] = set()
    broker = EmbeddedKafka(
        tmp_path_factory.mktemp("kafka"), KafkaSettings(), ports.free(taken), ports.free(taken)
    )
    with started(broker):
        create_topics(broker.client_settings(), site=False)
        publish_schemas(broker.client_settings())
        yield broker


@pytest.fixture(scope="session")
def kafka(embedded_kafka: EmbeddedKafka) -> KafkaSettings:
    """A real broker with every topic made and every schema published."""
    return embedded_kafka.client_settings()


@pytest.fixture(scope="session")
def embedded_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The server itself, for tests that stop it: `stop()`, then `launch()` and `wait_ready()` again."""
    server = EmbeddedPostgres(
        tmp_path_factory.mktemp("postgres") / "cluster",
        ports.free(set()),
        secrets.token_urlsafe(16),
        # What is committed outlives the server's end, and nothing here outlives the machine's.
        options=("fsync=off",),
    )
    with started(server):
        yield server


@pytest.fixture(scope="session")
def postgres(embedded_postgres: EmbeddedPostgres) -> str:
    """URL of the database `dosestream`, empty at first and shared by the session, on a real server."""
    return embedded_postgres.url()


@pytest.fixture
def fresh_database(embedded_postgres: EmbeddedPostgres) -> Callable[[], str]:
    """Makes an empty database of its own at every call, and returns its URL."""

    def make() -> str:
        name = f"test_{secrets.token_hex(6)}"
        embedded_postgres.make_database(name)
        return embedded_postgres.url(name)

    return make


@pytest.fixture
def new_database(
    fresh_database: Callable[[], str],
) -> Iterator[Callable[[], psycopg.Connection[tuple[object, ...]]]]:
    """Makes a dose database of its own, empty, at every call, and returns a connection to it."""
    opened: list[psycopg.Connection[tuple[object, ...]]] = []

    def make() -> psycopg.Connection[tuple[object, ...]]:
        url = fresh_database()
        migrate(url)
        opened.append(psycopg.connect(url, autocommit=True))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def database(
    new_database: Callable[[], psycopg.Connection[tuple[object, ...]]],
) -> psycopg.Connection[tuple[object, ...]]:
    """A connection to a dose database of the test's own."""
    return new_database()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One `dosestream up` for the session. A test may kill its services, and leaves it up."""
    with RunningStack.start(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[Callable[..., RunningStack]]:
    """Starts a `dosestream up` of the test's own over tmp_path; the test's end stops it."""
    running: list[RunningStack] = []

    def start(*arguments: str, wait: bool = True) -> RunningStack:
        running.append(RunningStack.start(tmp_path, *arguments, wait=False))
        if wait:
            running[-1].wait_ready()
        return running[-1]

    yield start
    for one in running:
        one.stop()
