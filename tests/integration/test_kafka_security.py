"""A broker with TLS, SCRAM and an authorizer: every service with exactly its rights, and subscribers with theirs."""

import os
import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
import sr_builder as sr
from arrivals_running import dose_report
from confluent_kafka import Consumer, KafkaError, Producer
from fleet import Fleet, environment
from running_stack import DOSESTREAM, wait_until
from three_brokers import ADMIN, ADMIN_PASSWORD, Nodes, brokers

from dosestream.client.send import MllpSender, code
from dosestream.client.store import Storer
from dosestream.db.migrate import migrate
from dosestream.embedded import jars
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.events.codec import Codec
from dosestream.events.records import Dose
from dosestream.kafka.access import Access
from dosestream.kafka.acl import SERVICES, Grant, Operation, subscriber
from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.administration import Administration, RefusedError
from dosestream.kafka.client import consumer_config, producer_config
from dosestream.kafka.start_check import StartCheck
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

OPERATOR = "operator"
PASSWORDS = {name: secrets.token_urlsafe(12) for name in (*SERVICES, OPERATOR, "lab", "nobody")}
MACHINES = ("ingest", "arrivals", "reconciler", "cleanup")


@dataclass
class Site:
    """The secured cluster as its operator set it up, by commands."""

    nodes: Nodes

    def user(self, name: str) -> KafkaSettings:
        return self.nodes.secured(name, PASSWORDS.get(name, ADMIN_PASSWORD))

    def topics(self, *arguments: str, by: str = OPERATOR) -> subprocess.CompletedProcess[str]:
        """`dosestream topics ...`."""
        return self.run("topics", *arguments, by=by)

    def run(self, *arguments: str, by: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | environment(self.user(by)) | more
        return subprocess.run([DOSESTREAM, *arguments], env=env, capture_output=True, text=True, check=False)

    def set_password(self, name: str, by: str = OPERATOR) -> None:
        file = self.user(name).password_file
        done = self.topics("password", name, "--file", file, by=by)
        assert done.returncode == 0, done.stderr

    def consumer(self, user: str, group: str) -> Consumer:
        return Consumer(consumer_config(self.user(user), group=group) | {"log_level": 0})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One broker; the super user made an operator, and the operator everything else."""
    with brokers(tmp_path_factory.mktemp("secured"), 1, secured=True) as nodes:
        site = Site(nodes)
        made = site.topics(
            "acl", "--service", "admin", "--principal", f"User:{OPERATOR}", "--apply", by=ADMIN
        )
        assert made.returncode == 0, made.stderr
        site.set_password(OPERATOR, by=ADMIN)
        assert site.topics("plan", "--embedded").returncode == 1
        assert site.topics("apply", "--embedded").returncode == 0
        wait_until(lambda: site.topics("plan", "--embedded").returncode == 0, "every topic is there")
        access = Access(site.user(OPERATOR))
        for name in (*SERVICES, "lab", "nobody"):
            access.set_password(name, PASSWORDS[name])
        assert site.topics("acl").returncode == 1
        assert site.topics("acl", "--apply").returncode == 0
        assert (
            site.topics("acl", "--subscriber", "lab", "--topics", str(Topic.DOSE), "--apply").returncode == 0
        )
        wait_until(lambda: site.topics("acl").returncode == 0, "every ACL is there")
        yield site


PID = "PID|||P1^^^HOSP||DOE^JANE||19800102|F\r"
ORDERED = "|PL1|FL1|CT1^CT^L||||||||||||||A1|RP1|SPS1||||RF|F\r"
MESSAGES = {
    "ORM^O01": f"{PID}ORC|NW|PL1|FL1||SC\rOBR|1{ORDERED}",
    "ADT^A08": PID,
    "SIU^S12": f"SCH|PL1|FL1||||||||30|min|^^^20260301100000\r{PID}RGS|1\rAIS|1||CT1^CT^L|20260301100000\r",
    "ORU^R01": f"{PID}OBR|1{ORDERED}OBX|1|TX|T^Text^L||Nothing seen.||||||F\r",
}


def message(kind: str, control: str, body: str = "") -> bytes:
    header = f"MSH|^~\\&|RIS|HOSP|DS|CITY|20260301090000||{kind}|{control}|P|2.5\r"
    return (header + (body or MESSAGES[kind])).encode()


def decided(log: str) -> dict[str, set[tuple[str, str, str, str]]]:
    """What the authorizer said: `Allowed` and `Denied`, of which principal, operation and resource."""
    said = (
        r"Principal = User:(\S+) is (Allowed|Denied) operation = (\S+) .*? on resource = (\w+):LITERAL:(\S+)"
    )
    found: dict[str, set[tuple[str, str, str, str]]] = {"Allowed": set(), "Denied": set()}
    for user, answer, operation, kind, name in re.findall(said, log):
        found[answer].add((user, operation, kind, name))
    return found


def uses(grant: Grant, asked: tuple[str, str, str, str]) -> bool:
    """Whether this grant is one that allows what was asked."""
    _, operation, kind, name = asked
    # READ and others imply DESCRIBE; a grant of DESCRIBE alone is used by that.
    same_operation = operation == grant.operation.name
    same_name = name.startswith(grant.name) if grant.prefixed else name == grant.name
    return same_operation and kind.lower() == grant.resource and same_name


# Used where something is there to do only: alerts, facts that come back, and what cleanup lets go.
AT_TIMES = {
    "reconciler": {(Operation.WRITE, str(Topic.ALERT)), (Operation.READ, str(Topic.SNAPSHOT))},
    # A report that cannot be read.
    "arrivals": {(Operation.WRITE, str(Topic.REJECTED))},
    "cleanup": {
        (Operation.WRITE, str(Topic.SNAPSHOT)),
        (Operation.READ, str(Topic.SNAPSHOT)),
        (Operation.DESCRIBE, "dosestream-reader"),
    },
}
# Read by whoever meets a schema that its own release does not have.
FOREIGN = {(Operation.READ, str(Topic.SCHEMAS))}


def test_every_service_works_with_its_rights_needs_each_and_asks_for_no_more(
    site: Site, embedded_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    embedded_postgres.make_database("secured")
    url = embedded_postgres.url("secured")
    migrate(url)
    report = dose_report(PatientID="P1", AccessionNumber="A1", StudyDate="20260301")
    common = {
        "DOSESTREAM_POSTGRES": url,
        "DOSESTREAM_MLLP_PORT": "0",
        "DOSESTREAM_DICOM_PORT": "0",
        "DOSESTREAM_REPEATS": str(tmp_path / "repeats"),
        "DOSESTREAM_CLOCK_INTERVAL_S": "1",
        "DOSESTREAM_MEMBER": "one",
    }
    with Fleet(tmp_path, common) as fleet:
        told = {name: fleet.start(name, environment(site.user(name))) for name in MACHINES}
        with MllpSender("127.0.0.1", told["ingest"]["port"]) as sender:
            answers = [code(sender.send(message(kind, f"M{n}"))) for n, kind in enumerate(MESSAGES)]
            assert answers == ["AA"] * len(MESSAGES)
            assert code(sender.send(message("ADT^A08", "REFUSED", "PID|||\r"))) == "AE"
        with Storer("127.0.0.1", told["arrivals"]["port"], "DOSESTREAM", "CT1") as storer:
            storer.store(sr.part10(report))
        # What a crash leaves behind is looked for by the next start, and its group removed.
        fleet.kill("ingest")
        fleet.start("ingest", environment(site.user("ingest")))

        def linked() -> bool:
            with psycopg.connect(url) as connection:
                rows = connection.execute("SELECT link_state, excluded FROM dose.study").fetchall()
            return rows == [("linked", False)]

        wait_until(linked, "the study has its order")
        env = {"DOSESTREAM_POSTGRES": url}
        person = site.run("exclude", "--study", report.StudyInstanceUID, "--reason", "test", by="duty", **env)
        assert person.returncode == 0, person.stderr
        for command in (("status",), ("rejected", "list")):
            done = site.run(*command, by="duty", **env)
            assert done.returncode == 0, done.stderr
        # Other limits than those held, so that it sets them.
        config = tmp_path / "dosestream.toml"
        config.write_text("[retention]\nrejected_days = 10\naudit_days = 10\n")
        cleaned = site.run("cleanup", "--once", "--config", str(config), by="cleanup", **env)
        assert cleaned.returncode == 0, cleaned.stderr
        consumer = site.consumer("lab", "lab")
        consumer.subscribe([str(Topic.DOSE)])
        rows: list[Dose] = []

        def excluded() -> bool:
            found = consumer.poll(1.0)
            if found is not None and found.error() is None:
                rows.append(Codec().decode(found.value() or b"", Dose))
            return bool(rows) and rows[-1].excluded

        wait_until(excluded, "the subscriber reads the decision's effect")
        consumer.close()
        assert set(fleet.stop().values()) == {0}
    said = decided(site.nodes.brokers[0].log.read_text())
    assert {one for one in said["Denied"] if one[0] in MACHINES} == set()
    for name in MACHINES:
        asked = {one for one in said["Allowed"] if one[0] == name}
        unused = {(g.operation, g.name) for g in SERVICES[name] if not any(uses(g, one) for one in asked)}
        assert unused <= AT_TIMES.get(name, set()) | FOREIGN, name


def refusal(consumer: Consumer) -> int:
    """The code of the first error that reading ends with."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = consumer.poll(0.5)
        if found is not None and found.error() is not None:
            return int(found.error().code())
    raise AssertionError("no refusal")


def refused(consumer: Consumer, topics: set[Topic]) -> bool:
    """Whether each of these topics is refused, and none of them can be read."""
    left = {str(topic) for topic in topics}
    consumer.subscribe(list(left))
    deadline = time.monotonic() + 60
    while left and time.monotonic() < deadline:
        found = consumer.poll(0.5)
        if found is not None:
            assert found.error() is not None, f"{found.topic()} can be read"
            assert found.error().code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, found.error()
            left.discard(str(found.topic()))
    return not left


def test_a_subscriber_reads_its_topic_and_nothing_else(site: Site) -> None:
    consumer = site.consumer("lab", "lab")
    assert refused(consumer, set(Topic) - {Topic.DOSE, Topic.SCHEMAS})
    consumer.close()
    others = site.consumer("lab", "dosestream-reconciler")
    others.subscribe([str(Topic.DOSE)])
    assert refusal(others) == KafkaError.GROUP_AUTHORIZATION_FAILED
    others.close()
    errors: list[int] = []
    producer = Producer(
        producer_config(site.user("lab"), linger_ms=0, delivery_timeout_ms=20_000)
        | {"log_level": 0, "enable.idempotence": False}
    )
    producer.produce(
        str(Topic.DOSE), b"forged", b"1.2.3", on_delivery=lambda error, _: errors.append(error.code())
    )
    producer.flush(30)
    assert errors == [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    with pytest.raises(RefusedError, match="an ACL of User:lab"):
        Access(site.user("lab")).add(subscriber("lab", [str(Topic.HL7_RAW)]))


def test_a_service_that_may_not_read_configuration_says_so_once_and_finds_nothing_wrong(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The person on duty reads every topic, and no configuration."""
    caplog.set_level("INFO", logger="dosestream.topics")
    check = StartCheck(site.user("duty"), "reconciler")
    check.start()
    wait_until(lambda: bool(caplog.records), "it looked", 60)
    (told,) = caplog.records
    assert told.levelname == "INFO"
    assert told.getMessage().startswith("the configuration of the topics is not looked at: Kafka at ")
    assert check() == ""


def test_who_has_no_rights_and_who_lies_is_told_what_to_do(site: Site, tmp_path: Path) -> None:
    plan = site.topics("plan", "--embedded", by="nobody")
    assert plan.returncode == 1, "a topic that may not be seen is missing"
    apply = site.topics("apply", "--embedded", by="nobody")
    assert apply.returncode == 2
    assert "refuses to make radiology." in apply.stderr
    liar = replace(site.user("ingest"), password_file=site.user("lab").password_file)
    with pytest.raises(BrokerAwayError, match=r"see kafka\.user and its password"):
        Administration(liar, timeout_s=5.0).topics()
    stranger = replace(site.user("ingest"), ca_file="")
    with pytest.raises(BrokerAwayError, match=r"see kafka\.ca_file"):
        Administration(stranger, timeout_s=5.0).topics()


def kafka_tool(site: Site, folder: Path, line: str) -> str:
    """Kafka's own tool, by a line that a command of ours printed."""
    classes = {
        "kafka-acls": "org.apache.kafka.tools.AclCommand",
        "kafka-configs": "kafka.admin.ConfigCommand",
    }
    name, *arguments = shlex.split(line)
    super_user = site.nodes.secured(ADMIN, ADMIN_PASSWORD)
    (folder / "admin.properties").write_text(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
        f'username="{ADMIN}" password="{ADMIN_PASSWORD}";\n'
        f"ssl.truststore.type=PEM\nssl.truststore.location={super_user.ca_file}\n"
    )
    if name == "kafka-acls":
        arguments += ["--bootstrap-server", super_user.bootstrap, "--command-config", "admin.properties"]
    done = subprocess.run(
        [jars.java(), "-cp", f"{jars.fetch()}/*", classes[name], *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_printed_for_kafka_s_own_tools_does_the_same(site: Site, tmp_path: Path) -> None:
    wanted = ("acl", "--subscriber", "clinic", "--topics", str(Topic.ORDER))
    assert site.topics(*wanted).returncode == 1
    for line in site.topics(*wanted, "--print").stdout.splitlines():
        kafka_tool(site, tmp_path, line)
    wait_until(lambda: site.topics(*wanted).returncode == 0, "the ACLs that the tool made are those wanted")
    # Fewer are wanted now: the rest goes where that is asked for.
    fewer = ("acl", "--subscriber", "clinic", "--topics", str(Topic.DOSE), "--apply", "--prune")
    assert "removed  User:clinic Read topic radiology.order.v1" in site.topics(*fewer).stdout
    quota = site.topics("quota", "clinic", "--consume-mib", "5", "--request-percent", "50").stdout
    kafka_tool(site, tmp_path, quota)
    entity = ["--entity-type", "users", "--entity-name", "clinic"]
    asked = shlex.join([*quota.split()[:5], "--describe", *entity])
    told = kafka_tool(site, tmp_path, asked)
    assert "consumer_byte_rate=5242880" in told
    assert "request_percentage=50" in told


def test_a_changed_password_holds_for_the_next_connection_and_open_ones_go_on(site: Site) -> None:
    site.set_password("lab")
    before = Administration(site.user("lab"), timeout_s=10.0)
    assert str(Topic.DOSE) in before.topics()
    PASSWORDS["lab"] = secrets.token_urlsafe(12)
    site.set_password("lab")
    assert str(Topic.DOSE) in before.topics()

    def taken() -> bool:
        try:
            return str(Topic.DOSE) in Administration(site.user("lab"), timeout_s=5.0).topics()
        except BrokerAwayError:
            return False

    wait_until(taken, "the new password is taken")
