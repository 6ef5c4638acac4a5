"""Apache Kafka on this machine: one KRaft node, on the loopback address only.

One node: acks=all means that its page cache has the record, so it survives the end of the broker, not of
the machine's power.
"""

import base64
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dosestream.embedded import jars, ports
from dosestream.embedded.errors import StackError
from dosestream.embedded.process import Process, last_words, run, spawn, stop, wrapped
from dosestream.settings import KafkaSettings

START_TIMEOUT_S = 60.0

# What helps a small broker start fast; the heap holds a few records of the largest size.
JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-Xshare:auto",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
)

OFFSETS_PARTITIONS = 4
# Groups that nobody is in, one in each partition of the groups' topic: their hashes are consecutive.
ASKED_GROUPS = [f"dosestream-nobody-{number}" for number in range(OFFSETS_PARTITIONS)]

LOG4J = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="file" fileName="{log}" filePattern="{log}.%i">
      <PatternLayout pattern="%d{{ISO8601}} %p %c{{1}} %m%n"/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="2"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="file"/></Root>
  </Loggers>
</Configuration>
"""


def properties(settings: KafkaSettings, folder: Path, port: int, controller_port: int) -> dict[str, str]:
    """The broker's configuration (Apache Kafka 4.1, "Broker Configs")."""
    size = str(settings.max_record_bytes)
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        # A static voter: the ports may change between two starts.
        "controller.quorum.voters": f"1@{ports.LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{ports.LOOPBACK}:{port},CONTROLLER://{ports.LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{ports.LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(folder / "data"),
        "auto.create.topics.enable": "false",
        "message.max.bytes": size,
        "replica.fetch.max.bytes": size,
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": str(OFFSETS_PARTITIONS),
        # Positions such as normalised-up-to must outlive any quiet time.
        "offsets.retention.minutes": str(2**31 - 1),
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        # After a kill -9 the broker may register again once its old session is over.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "num.network.threads": "2",
        "num.io.threads": "4",
    }


@dataclass
class EmbeddedKafka:
    """One broker over one folder. `prepare`, then `launch`, `wait_ready` and `stop`, again and again.

    Attributes:
        folder: its files; made where missing, resumed where present.
        settings: sizes.
        port: of the clients' listener.
        controller_port: of the controller's listener.
        overrides: configuration over `properties`, such as that of one node of several.
        format_options: more options of the tool that formats the folder, such as the first users.
        cluster_id: the same for every node of a cluster; empty: a new one.
        jvm: options of the broker's Java.
    """

    folder: Path
    settings: KafkaSettings
    port: int
    controller_port: int
    logs: Path | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    format_options: Sequence[str] = ()
    cluster_id: str = ""
    jvm: Sequence[str] = JVM
    process: Process | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{ports.LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        """The broker's log file."""
        return (self.logs or self.folder) / "kafka.log"

    @property
    def _output(self) -> Path:
        return (self.logs or self.folder) / "kafka.out"

    def client_settings(self) -> KafkaSettings:
        """The same settings with this broker's address."""
        return replace(self.settings, bootstrap=self.address)

    def prepare(self) -> None:
        """Fetch the jars where they are missing, write the configuration, format a new folder.

        Raises:
            StackError: Java or Maven are missing, or the folder cannot be formatted.
        """
        self._java, self._libs = jars.java(), jars.fetch()
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        config = properties(self.settings, self.folder, self.port, self.controller_port) | dict(
            self.overrides
        )
        self._config.write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        self._log4j.write_text(LOG4J.format(log=self.log))
        if not (data / "meta.properties").exists():
            options = ["-t", self.cluster_id or new_cluster_id(), *self.format_options]
            tool = self._command("kafka.tools.StorageTool", "format", *options, "-c", str(self._config))
            run(tool, "Formatting the folder of Kafka", self._output)

    def launch(self) -> None:
        """Start the broker and return at once; see `wait_ready`. Takes up what a killed one left."""
        self._output.write_bytes(b"")
        self.process = spawn(self._command("kafka.Kafka", str(self._config)), self._output)

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the broker answers.

        Raises:
            StackError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise StackError(f"Kafka did not start: {last_words(self._output)} (see {self.log}).")
            if ports.answers(self.port) and self._serves():
                return
            time.sleep(0.05)
        raise StackError(
            f"Kafka did not answer on port {self.port} within {timeout_s:.0f} s: see {self.log}."
        )

    def stop(self, timeout_s: float = 20.0) -> None:
        """End the broker in order."""
        if self.process is not None:
            stop(self.process, signal.SIGTERM, timeout_s)
            self.process = None

    @property
    def _config(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _log4j(self) -> Path:
        return self.folder / "log4j2.xml"

    def _command(self, main_class: str, *arguments: str) -> list[str]:
        archive = jars.class_archive(self._java)
        return wrapped(
            [
                self._java,
                *([f"-XX:SharedArchiveFile={archive}"] if archive.is_file() else []),
                *self.jvm,
                f"-Dlog4j2.configurationFile={self._log4j}",
                "-cp",
                f"{self._libs}/*",
                main_class,
                *arguments,
            ],
        )

    def _serves(self) -> bool:
        """It answers, and coordinates groups: it makes their topic when it is first asked, and whoever joins before
        that is done waits three seconds more."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        try:
            # The level keeps librdkafka's word on a broker that is still starting off the terminal.
            admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
            if not admin.list_topics(timeout=2).brokers:
                return False
            for described in admin.describe_consumer_groups(ASKED_GROUPS, request_timeout=2).values():
                described.result()
        except KafkaException:
            return False
        return True


def new_cluster_id() -> str:
    """A random UUID as Kafka writes them; never one that begins like an option of the tool."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text
