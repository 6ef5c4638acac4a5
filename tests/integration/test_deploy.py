"""Every service as deploy/ starts it, by its exact command and environment, against a real broker and database:
from the compose file, the Kubernetes manifests and the systemd units."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
import yaml
from compose_file import ROOT, document, own_services, substituted
from containers import Host, account, free_ports, host
from own_broker import own_broker
from running_stack import wait_until
from systemd_units import started

from dosestream.cli.service import SERVICES
from dosestream.client.send import MllpSender
from dosestream.kafka.topics import TOPICS

ADT = (
    b"MSH|^~\\&|HIS|HOSP|DS|HOSP|20260302080000||ADT^A04|M1|P|2.5.1\rEVN||20260302080000\r"
    b"PID|||4711^^^HOSP||DOE^JANE||19700102|F\rPV1||O\r"
)
# Of the Dockerfile.
IMAGE = {
    "DOSESTREAM_REPEATS": "/var/lib/dosestream",
    "DOSESTREAM_READY": "/tmp/ready.json",
    "FAUST_DATADIR": "/tmp/faust",
}
EXAMPLE = (ROOT / "deploy" / "compose" / "dosestream.example.toml").read_text()


@dataclass(frozen=True)
class Deployment:
    """What a way of deployment starts.

    Attributes:
        processes: name to command and environment; `prepare` ends before the others start.
        kafka, postgres, secrets: what the environment calls them.
        config: the site's configuration.
    """

    processes: Mapping[str, tuple[list[str], Mapping[str, str]]]
    kafka: str
    postgres: str
    secrets: str = "/run/secrets"
    config: str = EXAMPLE


def compose() -> Deployment:
    own = own_services(document({"DOSESTREAM_VERSION": "0"}))
    processes = {name: (one["command"], {**IMAGE, **one["environment"]}) for name, one in own.items()}
    return Deployment(processes, "kafka:9092", "dosestream@postgres:5432/dosestream")


def kubernetes() -> Deployment:
    processes: dict[str, tuple[list[str], Mapping[str, str]]] = {}
    config = ""
    for one in yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "dosestream.yaml").read_text()):
        if one["kind"] == "ConfigMap":
            config = one["data"]["dosestream.toml"]
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        for container in spec.get("template", {}).get("spec", {}).get("containers", ()):
            given = {pair["name"]: pair["value"] for pair in container["env"]}
            processes[container["name"]] = (container["args"], {**IMAGE, **given})
    return Deployment(
        processes,
        "dosestream-kafka-bootstrap:9092",
        "dosestream@dosestream-postgres-rw:5432/dosestream",
        "/run/secrets/dosestream",
        config,
    )


def systemd() -> Deployment:
    made = {name: started("dosestream@.service", name, "/credentials") for name in SERVICES}
    made["prepare"] = started("dosestream-prepare.service", "", "/credentials")
    # Of the EnvironmentFile, as docs/install.md writes it.
    file = {"DOSESTREAM_KAFKA": "kafka:9092"}
    processes = {name: (command[1:], {**given, **file}) for name, (command, given) in made.items()}
    return Deployment(processes, "kafka:9092", "dosestream@127.0.0.1:5432/dosestream", "/credentials")


LISTENERS = {
    "ingest": "DOSESTREAM_MLLP_PORT",
    "arrivals": "DOSESTREAM_DICOM_PORT",
    "worklist": "DOSESTREAM_WORKLIST_PORT",
}
STANDARD = {
    "DOSESTREAM_MLLP_PORT": "2575",
    "DOSESTREAM_DICOM_PORT": "11112",
    "DOSESTREAM_WORKLIST_PORT": "11113",
}
PORTS = free_ports(*STANDARD.values())


def environment_of(one: Host, name: str, deployed: Deployment) -> dict[str, str]:
    """The environment on this machine."""
    inside = {
        deployed.kafka: one.kafka,
        deployed.postgres: one.database,
        deployed.secrets: str(one.folder / name / "secrets"),
        f"/var/lib/dosestream/{name}": str(one.folder / name / "state"),
        f"/run/dosestream/{name}": str(one.folder / name / "tmp"),
        "0.0.0.0": "127.0.0.1",
    }
    table = one.table(name, inside)
    given = {key: substituted(value, table) for key, value in deployed.processes[name][1].items()}
    given = {key: PORTS.get(value, value) if key.endswith("_PORT") else value for key, value in given.items()}
    # Containers have addresses of their own; here they share one.
    return given | {"DOSESTREAM_METRICS_PORT": free_ports("9464")["9464"]}


@pytest.fixture
def servers(tmp_path: Path, fresh_database: Callable[[], str]) -> Iterator[tuple[str, str]]:
    """A broker of its own without topics, and an empty database."""
    with own_broker(tmp_path, topics=False) as kafka:
        yield kafka.bootstrap, fresh_database()


@pytest.mark.parametrize("deployment", [compose, kubernetes, systemd])
def test_every_service_starts_as_it_is_deployed_and_a_message_becomes_a_row(
    deployment: Callable[[], Deployment], servers: tuple[str, str]
) -> None:
    deployed = deployment()
    assert deployed.processes.keys() == {*SERVICES, "prepare"}
    with host(*servers, deployed.config) as machine:
        environments = {name: environment_of(machine, name, deployed) for name in deployed.processes}
        # Systemd's listeners have the standard ports, unless the site sets others.
        for name, variable in LISTENERS.items():
            environments[name].setdefault(variable, PORTS[STANDARD[variable]])
        command, _ = deployed.processes["prepare"]
        assert machine.start("prepare", command, environments["prepare"]).wait(120) == 0, machine.log(
            "prepare"
        ).read_text()
        assert all(spec.name in machine.log("prepare").read_text() for spec in TOPICS)
        machine.running.pop("prepare")
        once = [name for name, (command, _) in deployed.processes.items() if "--once" in command]
        stay = deployed.processes.keys() - {"prepare", *once}
        for name in stay:
            machine.start(name, deployed.processes[name][0], environments[name])
        ready = {name: machine.wait_ready(name, environments[name]) for name in stay}
        for name, variable in LISTENERS.items():
            assert ready[name]["port"] == int(PORTS[STANDARD[variable]])

        # As the health checks and probes ask.
        for name in stay:
            port = environments[name]["DOSESTREAM_METRICS_PORT"]
            for path in ("/health/live", "/health/ready"):
                with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                    assert answer.status == 200, (name, path)

        with MllpSender("127.0.0.1", int(ready["ingest"]["port"])) as sender:
            assert b"MSA|AA|M1" in sender.send(ADT)
        with psycopg.connect(machine.postgres, autocommit=True) as connection:

            def row() -> bool:
                found = connection.execute("SELECT patient_name FROM dose.patient WHERE patient_id = '4711'")
                return found.fetchone() == ("DOE^JANE",)

            wait_until(row, "the row of the message")

        if (image := account()) is not None:
            # It owns nothing but its own folders, so it wrote nowhere else.
            for process in machine.running.values():
                assert Path(f"/proc/{process.pid}").stat().st_uid == image.uid
        for name in once:
            assert machine.start(name, deployed.processes[name][0], environments[name]).wait(60) == 0
            machine.running.pop(name)
        assert {name: machine.stop(name) for name in stay} == dict.fromkeys(stay, 0)
        for name in deployed.processes:
            said = machine.log(name).read_text()
            assert "Traceback" not in said, name
            assert not any(secret in said for secret in machine.secrets.values()), name


def test_services_that_start_before_the_topics_and_tables_are_there_work_once_they_are(
    servers: tuple[str, str],
) -> None:
    deployed = compose()
    with host(*servers, deployed.config) as machine:
        environments = {name: environment_of(machine, name, deployed) for name in deployed.processes}
        machine.start("ingest", ["ingest"], environments["ingest"])
        port = int(machine.wait_ready("ingest", environments["ingest"])["port"])
        with MllpSender("127.0.0.1", port) as sender:
            assert b"MSA|AE|M1" in sender.send(ADT)
        # Without tables it ends, and whoever started it starts it again.
        assert machine.start("reconciler", ["reconciler"], environments["reconciler"]).wait(60) == 1
        assert machine.start("prepare", ["prepare"], environments["prepare"]).wait(120) == 0
        machine.start("reconciler", ["reconciler"], environments["reconciler"])
        with MllpSender("127.0.0.1", port) as sender:
            wait_until(lambda: b"MSA|AA|M1" in sender.send(ADT), "the topics are there")
        with psycopg.connect(machine.postgres, autocommit=True) as connection:

            def row() -> bool:
                found = connection.execute("SELECT patient_name FROM dose.patient WHERE patient_id = '4711'")
                return found.fetchone() == ("DOE^JANE",)

            wait_until(row, "the row of the message")
