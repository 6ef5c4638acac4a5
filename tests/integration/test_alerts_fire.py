"""Each alert fires on the fault it is for: the faults are made on a real stack, what it says of itself meanwhile is
given to Prometheus' own rule tester.
"""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError

import psycopg
import pytest
import yaml
from certificates import Authority
from confluent_kafka import Producer
from promtool import RULES, fires, needs_promtool
from running_stack import DOSESTREAM, RunningStack, children, wait_until
from scraping import scrape, total

from dosestream.client.send import MllpSender, code
from dosestream.client.store import Storer
from dosestream.kafka.cluster import Cluster
from dosestream.kafka.plan import Change
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings
from dosestream.simulate.day import plan
from dosestream.simulate.timeline import HL7
from services.cleanup.run import ADVISORY_LOCK as CLEANUP_LOCK
from services.reconciler.outbox import ADVISORY_LOCK

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600), needs_promtool]

# Minutes of series: at rest, in the fault as it was first seen, and as it was last seen.
REST, FIRST, LAST = 20, 5, 75
ALERTS = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
NAMES = {name for expression in ALERTS.values() for name in re.findall(r"\bdosestream_\w+", expression)}
# More records than DosestreamLag bears.
BACKLOG = 10_000
# Where the fault lasts for days: so many minutes for one.
STEPS = {"DosestreamCleanupOverdue": 50}
# What grows by a second a second while its fault goes on.
AGES = ("dosestream_clock_age_seconds", "dosestream_source_silent_seconds")

Scrape = Mapping[str, float]


@dataclass
class Faults:
    """What was scraped at rest, and twice in the fault of each alert."""

    stack: RunningStack
    # A small disk whose free space the services tell, None where none can be mounted.
    disk: Path | None
    rest: Scrape = field(default_factory=dict)
    # Where the fault was preceded by others: what was scraped right before it.
    before: dict[str, Scrape] = field(default_factory=dict)
    seen: dict[str, tuple[Scrape, Scrape]] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)

    def scrape(self, *services: str, timeout_s: float = 20.0) -> dict[str, float]:
        """All services as Prometheus would have them, by the name of each series."""
        found: dict[str, float] = {}
        for service, url in self.stack.ready["metrics"].items():
            if services and service not in services:
                continue
            here = f'instance="{service}",job="dosestream"'
            try:
                values = scrape(url, timeout_s)
            except (URLError, OSError):
                found[f"up{{{here}}}"] = 0
                continue
            found[f"up{{{here}}}"] = 1
            self.shown |= {one.name for one in values}
            for one in values:
                if one.name in NAMES:
                    labels = "".join(f',{name}="{value}"' for name, value in one.labels)
                    # The rule tester's time begins at 0.
                    since = time.time() if one.name.endswith("_timestamp_seconds") else 0.0
                    found[f"{one.name}{{{here}{labels}}}"] = one.value - since
        return found

    def during(self, *alerts: str, between: Callable[[], object] = lambda: time.sleep(1)) -> None:
        """The fault of these alerts is there; `between` the two scrapes it goes on."""
        first = self.scrape()
        between()
        last = self.scrape()
        self.seen |= dict.fromkeys(alerts, (first, last))

    def series(self, alert: str) -> dict[str, list[float | None]]:
        """A rest, the fault as first seen, the fault as last seen, minute by minute."""
        rest, (first, last) = self.before.get(alert, self.rest), self.seen[alert]
        found: dict[str, list[float | None]] = {}
        for name in sorted({*rest, *first, *last}):
            late: list[float | None] = [last.get(name)] * LAST
            if name.startswith(AGES) and name in last:
                late = [last[name] + 60 * minute for minute in range(LAST)]
            found[name] = [rest.get(name)] * REST + [first.get(name)] * FIRST + late
        return found


def order(control: str) -> bytes:
    """An order of years ago, for which a dose report is due."""
    return (
        f"MSH|^~\\&|RULES|HOSP|DS|X|20200301||ORM^O01|{control}|P|2.5\r"
        f"PID|||RULE{control}^^^HOSP||Alert^Anna\r"
        f"ORC|NW|P{control}|F{control}||||^^^20200301080000\r"
        f"OBR|1|P{control}|F{control}|CT1^CT HEAD||||||||||||||A{control}||||||CT|||^^^20200301080000\r"
    ).encode()


def wrong(control: str, kind: str = "ADT^Z99") -> bytes:
    return f"MSH|^~\\&|WRONG|HOSP|DS|X|20260301||{kind}|{control}|P|2.5\rEVN||2026\rPID|||||\r".encode()


class Senders:
    """Numbers messages and sends them."""

    def __init__(self, stack: RunningStack) -> None:
        self._mllp = stack.ready["mllp"]
        self._number = time.time_ns()

    def send(self, make: Callable[[str], bytes], count: int) -> set[str]:
        answers = set()
        with MllpSender(self._mllp["host"], self._mllp["port"]) as sender:
            for _ in range(count):
                self._number += 1
                answers.add(code(sender.send(make(str(self._number)))))
        return answers


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    folder = tmp_path_factory.mktemp("alerts")
    authority = Authority(folder / "authority")
    server = authority.sign("server", days=90)
    config = folder / "dosestream.toml"
    config.write_text(
        f"[mllp.tls]\ncertificate = '{server.certificate}'\nkey = '{server.key}'\n"
        "[clock]\nidle_minutes = 0.05\n[limits]\nrejected_in_a_row = 5\n"
        "[matching]\nwindow_hours = 0.0\ngrace_hours = 0.0\n"
        # Longer than the alert's five seconds.
        "[kafka]\ndelivery_timeout_ms = 6000\n"
    )
    with ExitStack() as opened:
        disk = opened.enter_context(small_disk(folder / "disk"))
        if disk is not None:
            config.write_text(f"{config.read_text()}[metrics]\nfolders = ['{disk}']\n")
        stack = opened.enter_context(RunningStack.start(folder, "--config", str(config)))
        made = Faults(stack, disk)
        time.sleep(2.0)
        made.rest = made.scrape()
        for fault in (
            *(refused, overdue, expiring, hanging, unpublished, stuck, away, garbage, tidy, untidy),
            *(unaudited, filled),
        ):
            fault(made, Senders(stack), authority)
        yield made


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of 8 MiB; None where this user may mount none."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        # Lazily: a service may be looking.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def refused(faults: Faults, senders: Senders, _: Authority) -> None:
    """A sender whose messages are refused, and one kind of which all are."""
    assert senders.send(wrong, 20) == {"AR"}
    assert senders.send(lambda control: wrong(control, "ADT^A40"), 8) == {"AE"}
    faults.during(
        *("DosestreamErrorRate", "DosestreamRejectedGrowing", "DosestreamSourceStopped"),
        between=lambda: senders.send(wrong, 60),
    )


def overdue(faults: Faults, senders: Senders, _: Authority) -> None:
    """Orders whose reports never come, of a source that then says nothing."""
    url = faults.stack.ready["metrics"]["reconciler"]
    assert senders.send(order, 12) == {"AA"}
    wait_until(lambda: total(scrape(url), "dosestream_orders", state="overdue") >= 12, "overdue", 60)
    wait_until(lambda: total(scrape(url), "dosestream_source_silent_seconds") > 6, "silence", 60)
    faults.during("DosestreamOverdueReports", "DosestreamSilentSource")


def expiring(faults: Faults, _: Senders, authority: Authority) -> None:
    """A certificate that ends within days is put in place."""
    authority.sign("server", days=5)
    pid = faults.stack.pid("ingest")
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    url = faults.stack.ready["metrics"]["ingest"]
    name = "dosestream_certificate_expiry_timestamp_seconds"
    soon = datetime.now(UTC).timestamp() + 10 * 86400
    wait_until(lambda: 0 < total(scrape(url), name, file="server.pem") < soon, "the certificate is read", 60)
    faults.during("DosestreamCertificateExpiry")


def hanging(faults: Faults, _: Senders, __: Authority) -> None:
    """A service that does not answer any more."""
    pid = faults.stack.pid("worklist")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        down = faults.scrape("worklist", timeout_s=3.0)
        faults.seen["DosestreamServiceDown"] = (down, down)
    finally:
        os.kill(pid, signal.SIGCONT)


def unpublished(faults: Faults, _: Senders, __: Authority) -> None:
    """Nobody publishes and nobody ticks: somebody else holds the lock."""
    reports = [step.body for step in plan(4711, datetime.now(UTC).date()).timeline if step.channel != HL7][:3]
    dicom = faults.stack.ready["dicom"]
    url = faults.stack.ready["metrics"]["reconciler"]
    with psycopg.connect(faults.stack.ready["postgres"], autocommit=True) as holder:
        waiting = threading.Thread(
            target=holder.execute, args=("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        )
        waiting.start()
        with psycopg.connect(faults.stack.ready["postgres"], autocommit=True) as other:
            asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
            wait_until(
                lambda: other.execute(asked, (ADVISORY_LOCK,)).fetchone() == (1,), "the lock is asked for"
            )
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted",
                (ADVISORY_LOCK,),
            )
        waiting.join(30)
        assert not waiting.is_alive()
        with Storer(dicom["host"], dicom["port"], dicom["ae_title"]) as storer:
            for one in reports:
                assert storer.store(one) == 0
        wait_until(lambda: total(scrape(url), "dosestream_outbox_records") > 0, "rows wait", 60)
        faults.during("DosestreamOutboxGrowing", "DosestreamClockStopped", between=lambda: time.sleep(3))


def stuck(faults: Faults, senders: Senders, _: Authority) -> None:
    """The engine of the reconciler hangs."""
    url = faults.stack.ready["metrics"]["reconciler"]
    service = faults.stack.pid("reconciler")
    assert service is not None
    [engine] = children(service)
    os.kill(engine, signal.SIGSTOP)
    try:
        assert senders.send(order, 5) == {"AA"}
        repeat(faults.stack.ready["kafka"], BACKLOG)
        wait_until(
            lambda: total(scrape(url), "dosestream_lag_records", topic="radiology.order.v1") > BACKLOG,
            "lag",
            60,
        )
        faults.during("DosestreamStuckQueue", "DosestreamLag")
    finally:
        os.kill(engine, signal.SIGCONT)


def repeat(bootstrap: str, times: int) -> None:
    """An order that is there comes so many times more: what a sender that sends everything again does."""
    kafka = KafkaSettings(bootstrap=bootstrap)
    reader, producer = PartitionReader(kafka), Producer({"bootstrap.servers": bootstrap, "linger.ms": 50})
    try:
        bounds = {one: reader.watermarks(one) for one in reader.partitions(str(Topic.ORDER))}
        where, (low, high) = max(bounds.items(), key=lambda item: item[1][1] - item[1][0])
        (again, *_) = (record for batch in reader.read(where, low, high) for record in batch)
    finally:
        reader.close()
    for _ in range(times):
        producer.produce(str(Topic.ORDER), again.value, b"again")
    assert producer.flush(60) == 0


def away(faults: Faults, senders: Senders, _: Authority) -> None:
    """The broker hangs: what comes is not answered for a while, and then refused."""
    url = faults.stack.ready["metrics"]["ingest"]
    broker = faults.stack.pid("kafka.Kafka")
    assert broker is not None
    faults.before["DosestreamSlowAnswers"] = faults.scrape("ingest")
    os.kill(broker, signal.SIGSTOP)
    try:
        waiting = threading.Thread(target=senders.send, args=(order, 1))
        waiting.start()
        wait_until(lambda: total(scrape(url), "dosestream_in_flight") > 0, "a message is under way", 8)
        found = faults.scrape("ingest")
        faults.seen["DosestreamIngestStuck"] = (found, found)
        waiting.join(30)
        faults.during(
            *("DosestreamNotReady", "DosestreamNotStored", "DosestreamSlowAnswers"),
            between=lambda: senders.send(order, 1),
        )
    finally:
        os.kill(broker, signal.SIGCONT)


def garbage(faults: Faults, _: Senders, __: Authority) -> None:
    """Something else writes to a topic of ours."""
    url = faults.stack.ready["metrics"]["reconciler"]
    producer = Producer({"bootstrap.servers": faults.stack.ready["kafka"]})
    producer.produce("radiology.order.v1", b"no Avro at all", b"key")
    assert producer.flush(30) == 0
    wait_until(lambda: total(scrape(url), "dosestream_quarantined_records") > 0, "quarantine", 90)
    faults.during("DosestreamQuarantine")


def tidy(faults: Faults, senders: Senders, _: Authority) -> None:
    """Cleanup runs, and a sender's clock is wrong."""
    assert senders.send(lambda control: order(control).replace(b"|20200301||", b"|20900301||"), 1) == {"AA"}
    assert "nothing was done" not in cleaned(faults.stack)
    urls = faults.stack.ready["metrics"]
    wait_until(lambda: total(scrape(urls["reconciler"]), "dosestream_anomalies") > 0, "an anomaly", 60)
    last = "dosestream_cleanup_last_done_timestamp_seconds"
    wait_until(lambda: total(scrape(urls["cleanup"]), last) > 0, "cleanup is told", 60)
    faults.scrape()


def cleaned(stack: RunningStack) -> str:
    """What a run of cleanup says."""
    done = subprocess.run(
        [DOSESTREAM, "cleanup", "--once", "--ready-file", str(stack.ready_file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def untidy(faults: Faults, _: Senders, __: Authority) -> None:
    """Cleanup is begun, and never gets to it: somebody else holds its lock. The two days pass in the rule tester."""

    def left_out() -> None:
        assert "nothing was done" in cleaned(faults.stack)

    with psycopg.connect(faults.stack.ready["postgres"], autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (CLEANUP_LOCK,))
        faults.during("DosestreamCleanupOverdue", between=left_out)


def unaudited(faults: Faults, senders: Senders, _: Authority) -> None:
    """The audit topic takes no record any more."""
    url = faults.stack.ready["metrics"]["ingest"]
    kafka = KafkaSettings(bootstrap=faults.stack.ready["kafka"])

    def take(most_bytes: int) -> None:
        change = Change(str(Topic.AUDIT), "max.message.bytes", "", str(most_bytes))
        Cluster(kafka).make([change], {})

    take(1)
    try:
        assert senders.send(order, 1) == {"AA"}
        wait_until(lambda: total(scrape(url), "dosestream_audit_lost_total") > 0, "a record is lost", 60)
        faults.during("DosestreamAuditLost", between=lambda: senders.send(order, 1))
    finally:
        take(kafka.max_record_bytes)


def filled(faults: Faults, _: Senders, __: Authority) -> None:
    """A disk runs full."""
    if faults.disk is None:
        return
    (faults.disk / "full").write_bytes(bytes(7_800_000))
    faults.during("DosestreamDiskFull")


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_the_alert_fires_on_its_fault_and_is_quiet_before(faults: Faults, alert: str, tmp_path: Path) -> None:
    if alert == "DosestreamDiskFull" and faults.disk is None:
        pytest.skip("a small disk cannot be mounted here: that takes root, and the right to mount")
    series, step = faults.series(alert), STEPS.get(alert, 1)
    assert fires(tmp_path, alert, series, REST - 1, REST + FIRST + LAST - 1, step_minutes=step) == ""


def test_every_metric_of_the_rules_and_of_the_dashboard_was_shown_by_a_service(faults: Faults) -> None:
    dashboard = (RULES.parents[1] / "grafana" / "dashboard.json").read_text()
    asked = NAMES | set(re.findall(r"\b(?:dosestream|process)_\w+", dashboard))
    assert asked - faults.shown == set()
