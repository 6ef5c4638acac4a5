"""Several brokers of a test's own: one cluster of processes on this machine, and a listener that knows its users."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from certificates import Authority

from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka, new_cluster_id
from dosestream.settings import KafkaSettings

HOST = ports.LOOPBACK
ADMIN = "super"
ADMIN_PASSWORD = "administrator of the test"


@dataclass
class Nodes:
    """The brokers, each also a controller, and how to reach them.

    Attributes:
        authority: signed the certificates of the secured listeners; None where there are none.
        secured_ports: of the listeners with TLS and SCRAM, one a broker.
    """

    brokers: list[EmbeddedKafka]
    folder: Path
    authority: Authority | None = None
    secured_ports: list[int] = field(default_factory=list)

    @property
    def settings(self) -> KafkaSettings:
        """Plain, as a super user."""
        return replace(self.brokers[0].settings, bootstrap=",".join(one.address for one in self.brokers))

    def secured(self, user: str, password: str) -> KafkaSettings:
        """Over TLS, as this user; the password goes into a file."""
        assert self.authority is not None
        file = self.folder / f"{user}.password"
        file.write_text(password + "\n")
        return replace(
            self.settings,
            bootstrap=",".join(f"{HOST}:{port}" for port in self.secured_ports),
            security_protocol="SASL_SSL",
            user=user,
            password_file=str(file),
            ca_file=str(self.authority.certificate),
        )

    def launch(self) -> None:
        """Start all, and wait for all: one alone has no quorum."""
        for one in self.brokers:
            one.launch()
        for one in self.brokers:
            one.wait_ready()

    def stop(self) -> None:
        """End all: killed, since one that ends in order waits for a quorum that is gone. What they hold is lost."""
        for number, one in enumerate(self.brokers, 1):
            if one.process is not None:
                self.kill(number)

    def kill(self, number: int) -> None:
        """`kill -9` one of them: 1, 2 or 3."""
        process = self.brokers[number - 1].process
        assert process is not None
        process.kill()
        process.wait()


@contextmanager
def brokers(folder: Path, count: int, *, secured: bool = False) -> Iterator[Nodes]:
    """`count` running brokers without topics, stopped afterwards; `secured`: with an authorizer and a listener
    for TLS and SCRAM-SHA-512, where the only user is `super`."""
    made = _nodes(folder, count, secured=secured)
    try:
        for one in made.brokers:
            one.prepare()
            if secured:
                _log_authorizer(one)
        made.launch()
        yield made
    finally:
        made.stop()


def _log_authorizer(broker: EmbeddedKafka) -> None:
    """Every question to the authorizer and its answer into the broker's log."""
    file = broker.folder / "log4j2.xml"
    logger = '<Loggers><Logger name="kafka.authorizer.logger" level="DEBUG"/>'
    file.write_text(file.read_text().replace("<Loggers>", logger).replace("10 MB", "200 MB"))


def _nodes(folder: Path, count: int, *, secured: bool) -> Nodes:
    taken: set[int] = set()
    plain, controller, users = ([ports.free(taken) for _ in range(count)] for _ in range(3))
    copies = str(count)
    in_sync = max(1, count - 1)
    together = {
        "controller.quorum.voters": ",".join(f"{n + 1}@{HOST}:{port}" for n, port in enumerate(controller)),
        "default.replication.factor": copies,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": str(in_sync),
        "min.insync.replicas": str(in_sync),
    }
    authority = Authority(folder / "tls") if secured else None
    settings = KafkaSettings(replication=count)
    cluster = new_cluster_id()
    found = []
    for n in range(count):
        own = {"node.id": str(n + 1)}
        options: list[str] = []
        if authority is not None:
            own |= _secured(folder, authority, n + 1, plain[n], controller[n], users[n])
            options = ["--add-scram", f"SCRAM-SHA-512=[name={ADMIN},password={ADMIN_PASSWORD}]"]
        found.append(
            EmbeddedKafka(
                folder / f"broker{n + 1}",
                settings,
                plain[n],
                controller[n],
                overrides=together | own,
                format_options=options,
                cluster_id=cluster,
            )
        )
    return Nodes(found, folder, authority, users if secured else [])


def _secured(
    folder: Path, authority: Authority, number: int, plain: int, controller: int, users: int
) -> Mapping[str, str]:
    """The brokers know each other, and the test, on the plain listener; everyone else has to say who it is."""
    pair = authority.sign(f"broker{number}", dns=("localhost",))
    store = folder / "tls" / f"broker{number}.store.pem"
    store.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_SSL"
    return {
        "listeners": f"PLAINTEXT://{HOST}:{plain},CONTROLLER://{HOST}:{controller},USERS://{HOST}:{users}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{plain},USERS://{HOST}:{users}",
        "listener.security.protocol.map": protocols,
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.users.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{ADMIN}",
    }
