"""Everything embedded, put together: servers, topics, tables, services, and the supervisor over them."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dosestream import ready
from dosestream.cli.service import SERVICES
from dosestream.embedded import ports
from dosestream.embedded.errors import StackError
from dosestream.embedded.folder import DataFolder
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.embedded.process import Process, last_words, spawn, stop, wrapped
from dosestream.embedded.supervisor import Change, Charge, Supervisor
from dosestream.settings import Settings, SiteSettings

KAFKA_PORT = 9092
POSTGRES_PORT = 5432
# Under `up` the clock ticks at least this often.
CLOCK_INTERVAL_S = 5.0
# Below this a server that ended has most likely found no space.
FULL_BYTES = 64 * 1024**2
# A service that takes up much after a crash may be long in coming; it is named so often meanwhile.
STILL_STARTING_S = 30.0
SERVICE_STOP_TIMEOUT_S = 20.0
# Started in this order, ended in the opposite one: what takes messages in ends first. The others end together, and the
# servers after them.
TAKES_IN = ("arrivals", "ingest")
START_ORDER = tuple(sorted(SERVICES, key=("cleanup", "worklist", "reconciler", "arrivals", "ingest").index))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for.

    Attributes:
        settings: from the file and the environment.
        config: the file, absolute, None for the defaults.
        free_ports: any free ports rather than the standard ones.
        kafka: HOST:PORT of a broker that is not ours, None to embed one.
        postgres: URL of a database that is not ours, None to embed one.
    """

    settings: Settings
    config: Path | None = None
    free_ports: bool = False
    kafka: str | None = None
    postgres: str | None = None


@dataclass
class Stack:
    """One stack over one data folder. `start`, then `tend` for ever, then `stop`.

    All three run on the main thread (see `process.spawn`). `say` tells a person what happens.
    """

    folder: DataFolder
    wanted: Wanted
    say: Callable[[str], None]
    kafka: EmbeddedKafka | None = None
    postgres: EmbeddedPostgres | None = None
    # Short-lived children, such as the one that plays the demo: they end first.
    guests: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self._changed)
        self.ports = self._choose_ports()
        settings = self.wanted.settings
        self.secrets = self.folder.secrets()
        if self.wanted.kafka is None:
            self.kafka = EmbeddedKafka(
                self.folder.kafka,
                settings.kafka,
                self.ports["kafka"],
                self.ports["kafka_controller"],
                self.folder.logs,
            )
        if self.wanted.postgres is None:
            self.postgres = EmbeddedPostgres(
                self.folder.postgres, self.ports["postgres"], self.secrets.postgres_password, self.folder.logs
            )

    @property
    def kafka_address(self) -> str:
        """HOST:PORT of the broker."""
        return self.kafka.address if self.kafka else str(self.wanted.kafka)

    @property
    def postgres_url(self) -> str:
        """URL of the dose database."""
        return self.postgres.url() if self.postgres else str(self.wanted.postgres)

    def start(self) -> None:
        """Bring everything up and wait until all of it is ready.

        Raises:
            StackError: something did not start.
        """
        pool = ThreadPoolExecutor(2)
        try:
            self._together(pool, *(server.prepare for server in (self.postgres, self.kafka) if server))
            # The servers are started here and not in the pool: they live as long as the thread that started them.
            for name, server in (("PostgreSQL", self.postgres), ("Kafka", self.kafka)):
                if server is not None:
                    self.supervisor.add(_server_charge(name, server))
            self._together(pool, self._make_topics, self._make_tables)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        for name in START_ORDER:
            self.supervisor.add(
                Charge(
                    name,
                    lambda name=name: self._launch(name),  # type: ignore[misc]
                    _stop_service,
                    "taking in" if name in TAKES_IN else "services",
                )
            )
        self._wait_for_services()
        self._write_services()

    def tend(self) -> None:
        """Look after everything once."""
        self.supervisor.tend()

    def stop(self) -> None:
        """End everything, in order."""
        self.ready_file.unlink(missing_ok=True)
        for guest in self.guests:
            stop(guest, timeout_s=2.0)
        self.supervisor.end()

    @property
    def ready_file(self) -> Path:
        """The ready file in the data folder; the one asked for by `--ready-file` says the same."""
        return self.folder.run / "ready.json"

    def announce(self, asked_for: Path | None) -> dict[str, Any]:
        """Write the ready file, here and where it was asked for; returns its content."""
        document = self.ready_document()
        for path in filter(None, (self.ready_file, asked_for)):
            ready.write(path, document)
        return document

    def ready_document(self) -> dict[str, Any]:
        """The content of the ready file."""
        dicom = self.wanted.settings.dicom
        return {
            "mllp": {"host": self._host("ingest"), "port": self.ports["mllp"]},
            "mllp_tls": self._mllp_tls(),
            "dicom": {
                "host": self._host("arrivals"),
                "port": self.ports["dicom"],
                "ae_title": dicom.ae_title,
            },
            "worklist": {
                "host": self._host("worklist"),
                "port": self.ports["worklist"],
                "ae_title": self.wanted.settings.worklist.ae_title,
            },
            "kafka": self.kafka_address,
            "postgres": self.postgres_url,
            "metrics": {
                name: f"http://{_reached(self.wanted.settings.metrics.host)}:{self.ports[_metrics(name)]}"
                for name in SERVICES
            },
            "web": None,
            "pid": os.getpid(),
            "data_dir": str(self.folder.path),
            "config": str(self.wanted.config) if self.wanted.config is not None else None,
        }

    def environment(self) -> dict[str, str]:
        """What every service gets, as a container would."""
        settings = self.wanted.settings
        env = {
            **os.environ,
            "DOSESTREAM_KAFKA": self.kafka_address,
            "DOSESTREAM_POSTGRES": self.postgres_url,
            "DOSESTREAM_MLLP_PORT": str(self.ports["mllp"]),
            **({"DOSESTREAM_MLLP_TLS_PORT": str(self.ports["mllp_tls"])} if "mllp_tls" in self.ports else {}),
            "DOSESTREAM_DICOM_PORT": str(self.ports["dicom"]),
            "DOSESTREAM_WORKLIST_PORT": str(self.ports["worklist"]),
            "DOSESTREAM_REPEATS": str(self.folder.path / "repeats"),
            "DOSESTREAM_CLOCK_INTERVAL_S": str(min(settings.clock.interval_s, CLOCK_INTERVAL_S)),
        }
        if settings.site.patient_key_secret == SiteSettings().patient_key_secret:
            env["DOSESTREAM_PATIENT_KEY_SECRET"] = self.secrets.patient_key_secret
        if self.wanted.config is not None:
            env["DOSESTREAM_CONFIG"] = str(self.wanted.config)
        return env

    def _choose_ports(self) -> dict[str, int]:
        wanted, settings = self.wanted, self.wanted.settings
        remembered, taken = self.folder.ports(), set[int]()
        listeners: list[tuple[str, int, str, bool]] = [
            ("mllp", settings.mllp.port, "HL7 (MLLP)", wanted.free_ports),
            ("dicom", settings.dicom.port, "DICOM", wanted.free_ports),
            ("worklist", settings.worklist.port, "the DICOM worklist", wanted.free_ports),
        ]
        if settings.mllp.tls.certificate:
            listeners.append(("mllp_tls", settings.mllp.tls.port, "HL7 over TLS (MLLP)", wanted.free_ports))
        if wanted.kafka is None:
            listeners.append(("kafka", KAFKA_PORT, "Kafka", wanted.free_ports))
            # Nobody but the broker itself talks to this one.
            listeners.append(("kafka_controller", 0, "Kafka's controller", True))
        if wanted.postgres is None:
            listeners.append(("postgres", POSTGRES_PORT, "PostgreSQL", wanted.free_ports))
        for name in SERVICES:
            # On one machine each needs a port of its own.
            port = settings.metrics.service.get(name, 0)
            what = f"the metrics of {name}"
            listeners.append((_metrics(name), port, what, wanted.free_ports or not port))
        chosen = {
            name: ports.choose(
                port, what=what, any_port=any_port, remembered=remembered.get(name), taken=taken
            )
            for name, port, what, any_port in listeners
        }
        self.folder.remember_ports(chosen)
        return chosen

    def _together(self, pool: ThreadPoolExecutor, *jobs: Callable[[], None]) -> None:
        futures: list[Future[None]] = [pool.submit(job) for job in jobs]
        for future in futures:
            future.result()

    def _make_topics(self) -> None:
        from dosestream.kafka.admin import BrokerAwayError, create_topics, publish_schemas

        if self.kafka is not None:
            self.kafka.wait_ready()
        kafka = replace(self.wanted.settings.kafka, bootstrap=self.kafka_address)
        try:
            create_topics(kafka, site=False)
            publish_schemas(kafka, timeout_s=30.0)
        except BrokerAwayError as error:
            raise StackError(f"{error}: see that it runs, then start again.") from error

    def _make_tables(self) -> None:
        from dosestream.db.migrate import DatabaseAwayError, migrate

        if self.postgres is not None:
            self.postgres.wait_ready()
        try:
            migrate(self.postgres_url)
        except DatabaseAwayError as error:
            raise StackError(f"{error}: see that it runs, then start again.") from error

    def _launch(self, name: str) -> Process:
        ready_file = self._ready_file(name)
        ready_file.unlink(missing_ok=True)
        script = Path(sys.executable).with_name("dosestream")
        return spawn(
            wrapped([sys.executable, str(script), name]),
            self._service_log(name),
            {
                **self.environment(),
                ready.VARIABLE: str(ready_file),
                "DOSESTREAM_METRICS_PORT": str(self.ports[_metrics(name)]),
            },
        )

    def _wait_for_services(self) -> None:
        say_at = time.monotonic() + STILL_STARTING_S
        waiting = [charge for charge in self.supervisor.charges if charge.name in SERVICES]
        while waiting:
            for charge in waiting:
                if charge.process is None or charge.process.poll() is not None:
                    log = self._service_log(charge.name)
                    raise StackError(f"{charge.name} did not start: {last_words(log)} (see {log}).")
            if time.monotonic() > say_at:
                say_at += STILL_STARTING_S
                for charge in waiting:
                    self.say(f"{charge.name} is still starting; its log: {self._service_log(charge.name)}")
            time.sleep(0.05)
            waiting = [charge for charge in waiting if not self._ready_file(charge.name).exists()]

    def _ready_file(self, name: str) -> Path:
        return self.folder.run / f"{name}.json"

    def _service_log(self, name: str) -> Path:
        return self.folder.logs / f"{name.lower()}.log"

    def _host(self, name: str) -> str:
        settings = self.wanted.settings
        hosts = {
            "ingest": settings.mllp.host,
            "arrivals": settings.dicom.host,
            "worklist": settings.worklist.host,
        }
        return _reached(hosts[name])

    def _mllp_tls(self) -> dict[str, object] | None:
        mllp = self.wanted.settings.mllp
        if "mllp_tls" not in self.ports:
            return None
        return {"host": _reached(mllp.tls.host or mllp.host), "port": self.ports["mllp_tls"]}

    def _changed(self, charge: Charge, change: Change) -> None:
        if change is Change.DIED:
            code = None if charge.process is None else charge.process.returncode
            log = self._service_log(charge.name)
            self.say(f"{charge.name} ended ({_ending(code)}) and is started again; its log: {log}")
            if shutil.disk_usage(self.folder.path).free < FULL_BYTES:
                self.say(
                    f"The disk of {self.folder.path} is full: free some space, the rest follows by itself."
                )
        else:
            self._write_services()

    def _write_services(self) -> None:
        known: Mapping[str, object] = {
            charge.name: {"pid": charge.process.pid if charge.process else None, "restarts": charge.restarts}
            for charge in self.supervisor.charges
        }
        # Only `status` reads it, and a full disk is no reason to stop.
        with contextlib.suppress(OSError):
            ready.write(self.folder.run / "services.json", known)


def _metrics(service: str) -> str:
    """The name of the port of a service's metrics."""
    return f"metrics_{service}"


def _reached(host: str) -> str:
    """Where a client on this machine reaches a listener, also one on every address."""
    return ports.LOOPBACK if host in ("", "0.0.0.0", "::") else host


def _server_charge(name: str, server: EmbeddedKafka | EmbeddedPostgres) -> Charge:
    def launch() -> Process:
        server.launch()
        assert server.process is not None
        return server.process

    return Charge(name, launch, lambda _process: server.stop(), "servers")


def _stop_service(process: Process) -> None:
    stop(process, timeout_s=SERVICE_STOP_TIMEOUT_S)


def _ending(code: int | None) -> str:
    if code is None:
        return "could not be started"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
