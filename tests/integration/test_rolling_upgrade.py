"""An upgrade while messages come, and back again: two releases as processes side by side, on the same topics and the
same database. Nothing that was acknowledged is lost, and nothing has its effect twice."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import psycopg
import pytest
from containers import Host, free_ports, host
from next_release import STEP, next_release
from own_broker import own_broker
from reading import held
from running_stack import wait_until

from dosestream.client.send import MllpSender, SendError
from dosestream.events.schemas import load
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

# So many messages are acknowledged in each phase, at least.
EACH = 60
PAUSE_S = 0.02


def message(number: int) -> bytes:
    """A patient's admission, then her order: each patient and order occurs once."""
    patient, kind = divmod(number, 2)
    said = "ADT^A04" if kind == 0 else "ORM^O01"
    segments = [
        f"MSH|^~\\&|HIS|HOSP|DS|HOSP|20260302080000||{said}|M{number}|P|2.3.1",
        f"PID|||P{patient}^^^HOSP||DOE^N{patient}||19700102|F",
        "PV1||O",
    ]
    if kind == 1:
        segments += [
            f"ORC|NW|PL{patient}|FI{patient}||SC||^^^20260302090000",
            f"OBR|1|PL{patient}|FI{patient}|CT1^CT head^L||||||||||||||ACC{patient}|RP{patient}|SPS{patient}||||CT",
        ]
    return "\r".join(segments).encode() + b"\r"


class Feed(threading.Thread):
    """A sender as there are many: one message after the other, each until it is acknowledged, to whichever address
    answers."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.addresses: list[int] = []
        self.acknowledged = 0
        self.again = 0
        self._over = threading.Event()

    def run(self) -> None:
        senders: dict[int, MllpSender] = {}
        turns = count()
        for number in count():
            while not self._over.is_set():
                addresses = list(self.addresses)
                port = addresses[next(turns) % len(addresses)]
                sender = senders.setdefault(port, MllpSender("127.0.0.1", port))
                try:
                    if b"MSA|AA|" in sender.send(message(number)):
                        self.acknowledged += 1
                        break
                except (SendError, OSError):
                    sender.close()
                self.again += 1
                time.sleep(0.1)
            if self._over.is_set():
                break
            time.sleep(PAUSE_S)
        for sender in senders.values():
            sender.close()

    def more(self) -> None:
        """Wait until as many more are acknowledged as a phase has."""
        wanted = self.acknowledged + EACH
        wait_until(lambda: self.acknowledged >= wanted, "messages are acknowledged")

    def end(self) -> int:
        """No more; how many messages were acknowledged."""
        self._over.set()
        self.join(60)
        return self.acknowledged


@pytest.fixture
def machine(tmp_path: Path, fresh_database: Callable[[], str]) -> Iterator[Host]:
    with own_broker(tmp_path) as kafka, host(kafka.bootstrap, fresh_database()) as one:
        yield one


def environment(one: Host, name: str, release: Mapping[str, str]) -> dict[str, str]:
    """Of a container: its folders, ports and name are its own."""
    table = one.table(name, {})
    (port,) = free_ports("2575").values()
    return {
        "DOSESTREAM_KAFKA": one.kafka,
        "DOSESTREAM_POSTGRES": one.postgres,
        "DOSESTREAM_MLLP_PORT": port,
        "DOSESTREAM_MEMBER": name,
        "DOSESTREAM_REPEATS": table["/var/lib/dosestream"],
        "DOSESTREAM_READY": f"{table['/tmp']}/ready.json",
        "FAUST_DATADIR": f"{table['/tmp']}/faust",
        **release,
    }


def up(one: Host, release: str, service: str, python_path: Mapping[str, str]) -> int:
    """Start a service of a release and wait until it is ready; its port, where it has one."""
    name = f"{service}-{release}"
    given = environment(one, name, python_path)
    Path(given["DOSESTREAM_READY"]).unlink(missing_ok=True)
    one.start(name, [service], given)
    return int(one.wait_ready(name, given).get("port", 0))


def prepare(one: Host, name: str, python_path: Mapping[str, str]) -> str:
    """Run `prepare` of a release; what it said."""
    assert one.start(name, ["prepare"], environment(one, name, python_path)).wait(120) == 0
    one.running.pop(name)
    return one.log(name).read_text()


def rows(url: str) -> tuple[int, int]:
    """How many patients and orders there are; each has one row at most."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM dose.patient), (SELECT count(DISTINCT patient_id) FROM dose.patient),"
            " (SELECT count(*) FROM dose.imaging_order), (SELECT count(DISTINCT accession_number) FROM dose.imaging_order)"
        ).fetchone()
    assert found is not None
    assert (found[0], found[2]) == (found[1], found[3]), "an effect is there twice"
    return found[0], found[2]


def values(kafka: KafkaSettings, topic: Topic) -> list[bytes]:
    """Every record of a topic."""
    return [record.value for record in held(kafka, topic) if record.value is not None]


def test_two_releases_side_by_side_lose_nothing_and_double_nothing_on_the_way_up_and_back(
    machine: Host,
) -> None:
    old: dict[str, str] = {}
    new = {"PYTHONPATH": str(next_release(machine.folder / "next"))}
    prepare(machine, "prepare-old", old)
    feed = Feed()
    feed.addresses = [up(machine, "old", "ingest", old)]
    up(machine, "old", "reconciler", old)
    feed.start()
    feed.more()

    # Expanded under load, with the old release at work; then both work.
    assert STEP in prepare(machine, "prepare-new", new)
    feed.more()
    up(machine, "new", "reconciler", new)
    feed.addresses = [*feed.addresses, up(machine, "new", "ingest", new)]
    feed.more()
    # The old one ends; what it still holds is sent again to the new one.
    feed.addresses = feed.addresses[1:]
    assert machine.stop("ingest-old") == 0
    assert machine.stop("reconciler-old") == 0
    feed.more()

    # And back: the old release reads what the new one writes, and its `prepare` takes nothing away.
    assert "steps of the database: none" in prepare(machine, "prepare-back", old)
    up(machine, "old", "reconciler", old)
    assert machine.stop("reconciler-new") == 0
    feed.more()
    feed.addresses = [up(machine, "old", "ingest", old)]
    assert machine.stop("ingest-new") == 0
    feed.more()

    sent = feed.end()
    expected = ((sent + 1) // 2, sent // 2)
    wait_until(lambda: rows(machine.postgres) == expected, f"{expected} rows of patients and orders")
    kafka = KafkaSettings(bootstrap=machine.kafka)
    for topic, name in ((Topic.PATIENT, "patient"), (Topic.ORDER, "order")):
        written = values(kafka, topic)
        of_old = sum(value[2:10] == load(name).fingerprint for value in written)
        assert 0 < of_old < len(written), f"{topic} holds records of both releases"
    with psycopg.connect(machine.postgres) as connection:
        connection.execute("SELECT next_note FROM dose.patient")
        quarantined = connection.execute("SELECT count(*) FROM dosestream_g1.quarantine").fetchone()
    assert quarantined == (0,)
    for name in ("reconciler-old", "reconciler-new", "ingest-old", "ingest-new"):
        assert "Traceback" not in machine.log(name).read_text(), name
