"""Every service of deploy/compose.yaml, by its exact command and environment, against a real broker and database."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from compose_file import FILE, document, own_services, substituted
from containers import Host, account, free_ports, host
from own_broker import own_broker
from running_stack import wait_until

from dosestream.client.send import MllpSender
from dosestream.kafka.topics import TOPICS

PORTS = free_ports("2575", "11112", "11113")
COMPOSE = document({"DOSESTREAM_VERSION": "0"})
OWN = own_services(COMPOSE)
ADT = (
    b"MSH|^~\\&|HIS|HOSP|DS|HOSP|20260302080000||ADT^A04|M1|P|2.5.1\rEVN||20260302080000\r"
    b"PID|||4711^^^HOSP||DOE^JANE||19700102|F\rPV1||O\r"
)


def environment_of(one: Host, name: str, service: dict[str, Any]) -> dict[str, str]:
    """The service's environment and the image's, on this machine."""
    image = {
        "DOSESTREAM_REPEATS": "/var/lib/dosestream",
        "DOSESTREAM_READY": "/tmp/ready.json",
        "FAUST_DATADIR": "/tmp/faust",
    }
    pairs = {
        "kafka:9092": one.kafka,
        "dosestream@postgres:5432/dosestream": one.database,
        "0.0.0.0": "127.0.0.1",
    }
    table = one.table(name, pairs)
    given = {
        key: substituted(value, table) for key, value in {**image, **service.get("environment", {})}.items()
    }
    return {key: PORTS.get(value, value) if key.endswith("_PORT") else value for key, value in given.items()}


@pytest.fixture
def machine(tmp_path: Path, fresh_database: Callable[[], str]) -> Iterator[Host]:
    """A host with a broker of its own without topics, an empty database and the example's configuration."""
    config = (FILE.parent / "compose" / "dosestream.example.toml").read_text()
    with own_broker(tmp_path, topics=False) as kafka, host(kafka.bootstrap, fresh_database(), config) as one:
        yield one


def test_every_service_starts_as_the_compose_file_says_and_a_message_becomes_a_row(machine: Host) -> None:
    ready: dict[str, dict[str, Any]] = {}
    # As depends_on orders them: what prepares the servers ends with 0 before the rest begins.
    for name, service in sorted(OWN.items(), key=lambda item: len(item[1]["depends_on"]), reverse=True):
        environment = environment_of(machine, name, service)
        process = machine.start(name, service["command"], environment)
        if name == "prepare":
            assert process.wait(120) == 0, machine.log(name).read_text()
            said = machine.log(name).read_text()
            assert all(spec.name in said for spec in TOPICS)
    for name, service in OWN.items():
        if name != "prepare":
            ready[name] = machine.wait_ready(name, environment_of(machine, name, service))
    assert ready["ingest"]["port"] == int(PORTS["2575"])
    assert ready["arrivals"]["port"] == int(PORTS["11112"])
    assert ready["worklist"]["port"] == int(PORTS["11113"])

    with MllpSender("127.0.0.1", ready["ingest"]["port"]) as sender:
        assert b"MSA|AA|M1" in sender.send(ADT)
    with psycopg.connect(machine.postgres, autocommit=True) as connection:

        def row() -> bool:
            found = connection.execute("SELECT patient_name FROM dose.patient WHERE patient_id = '4711'")
            return found.fetchone() == ("DOE^JANE",)

        wait_until(row, "the row of the message")

    if (image := account()) is not None:
        # It owns nothing but its own folders, so it wrote nowhere else.
        for name, process in machine.running.items():
            assert name == "prepare" or Path(f"/proc/{process.pid}").stat().st_uid == image.uid
    codes = {name: machine.stop(name) for name in list(machine.running)}
    assert set(codes.values()) == {0}, codes
    for name in OWN:
        said = machine.log(name).read_text()
        assert "Traceback" not in said, name
        assert machine.secrets["postgres_password"] not in said
