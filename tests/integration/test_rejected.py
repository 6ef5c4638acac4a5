"""What was refused is found by a person: listed with its reason, shown with its bytes, tried again."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
from reading import records
from running_stack import RunningStack, wait_until

from dosestream.client.send import MllpSender, code
from dosestream.events.codec import Codec
from dosestream.events.identity import event_id
from dosestream.events.records import Order, RawMessage, Rejection
from dosestream.events.resolution import resolved
from dosestream.kafka.publisher import Position, Publisher
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

DOSESTREAM = str(Path(sys.executable).with_name("dosestream"))
BODY = b"MSH|^~\\&|RIS|HOSP\rgarbage\xff"


def run(kafka: KafkaSettings, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environ = {
        **os.environ,
        "DOSESTREAM_KAFKA": kafka.bootstrap,
        "DOSESTREAM_POSTGRES": "postgresql://unused",
    }
    return subprocess.run([DOSESTREAM, "rejected", *arguments], env=environ, capture_output=True, check=False)


def test_a_rejection_is_listed_once_and_shown_with_its_bytes(kafka: KafkaSettings) -> None:
    name = secrets.token_hex(16)
    rejection = Rejection(
        event_id=name,
        source="RIS|HOSP",
        control_id="M77",
        received_at=1_772_438_400_000_000,
        transport="mllp",
        code="charset",
        reason="byte 26 is no UTF-8",
        location="MSH-18",
        answer="AE",
        body=BODY,
    )
    publisher = Publisher(kafka)
    for _ in range(2):
        publisher.publish_and_wait(str(Topic.REJECTED), b"k", Codec().encode(rejection), [])
    publisher.close()
    listed = run(kafka, "list", "--last", "1000").stdout.decode()
    (line,) = [line for line in listed.splitlines() if line.startswith(name[:12])]
    assert line.endswith("RIS|HOSP  M77  charset  AE  MSH-18  byte 26 is no UTF-8")
    shown = run(kafka, "show", name[:12])
    assert (shown.returncode, shown.stdout) == (0, BODY)
    assert run(kafka, "show", "nothing").returncode == 1


def test_a_list_holds_what_is_asked_for_and_still_waits(kafka: KafkaSettings) -> None:
    source = f"S{secrets.token_hex(6)}"
    first, second, third = (
        Rejection(
            event_id=secrets.token_hex(16),
            source=source,
            control_id=str(number),
            received_at=(1_772_438_400 + number * 3600) * 1_000_000,
            raw_partition=0,
            raw_offset=10**12 + number,
            transport="mllp",
            code=kind,
            reason="r",
            body=BODY,
        )
        for number, kind in enumerate(("charset", "profile", "profile"))
    )
    publisher = Publisher(kafka)
    for one in (first, second, third, resolved(third, "retried", 1_772_500_000_000_000)):
        publisher.publish_and_wait(str(Topic.REJECTED), b"k", Codec().encode(one), [])
    publisher.close()

    def listed(*arguments: str) -> list[str]:
        lines = run(kafka, "list", "--source", source, *arguments).stdout.decode().splitlines()
        return [line.split("  ")[0] for line in lines]

    ids = [one.event_id[:12] for one in (first, second, third)]
    assert listed() == ids[:2]
    assert listed("--all") == [*ids, ids[2]]
    assert listed("--code", "profile") == [ids[1]]
    assert listed("--since", "2026-03-02T08:30") == [ids[1]]
    assert listed("--since", "1m") == []
    assert run(kafka, "list", "--since", "yesterday").returncode == 2
    assert run(kafka, "retry").returncode == 2


MENDED = """
[[source]]
name = "RIS8"
sending_application = "RIS8"
charset = "8859/1"
"""


def test_a_rejected_message_takes_its_place_once_its_source_is_mended(
    start_stack: Callable[..., RunningStack], tmp_path: Path
) -> None:
    config = tmp_path / "dosestream.toml"
    config.write_text(MENDED.replace("8859/1", "ASCII"))
    stack = start_stack("--config", str(config))
    order = "\r".join(
        (
            "MSH|^~\\&|RIS8|HOSP|DS|CITY|20260301120000||ORM^O01|M1|P|2.5",
            "PID|||4711^^^HOSP||MÜLLER^ANN||19800101|F",
            "ORC|NW|P1|F1",
            "OBR|1|P1|F1|CT1^Head||||||||||||||ACC1\r",
        )
    ).encode("latin-1")
    other = order.replace(b"|M1|", b"||")
    with MllpSender("127.0.0.1", stack.ready["mllp"]["port"]) as sender:
        assert [code(sender.send(message)) for message in (order, other)] == ["AE", "AE"]

    def rejected(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DOSESTREAM, "rejected", *arguments, "--ready-file", str(stack.ready_file)],
            capture_output=True,
            text=True,
            check=False,
        )

    def rows() -> list[tuple[str, str]]:
        with psycopg.connect(stack.ready["postgres"]) as connection:
            found = "SELECT patient_id, accession_number FROM dose.imaging_order"
            return [(str(patient), str(accession)) for patient, accession in connection.execute(found)]

    assert len(rejected("list").stdout.splitlines()) == 2
    still = rejected("retry", "--all")
    assert (still.returncode, still.stderr) == (1, "0 resolved, 2 stay.\n")
    assert "stays: charset at MSH-18" in still.stdout

    config.write_text(MENDED)
    tried = rejected("retry", "--all", "--dry-run")
    assert (tried.returncode, tried.stderr) == (1, "1 would be resolved, 1 stay.\n")
    assert len(rejected("list").stdout.splitlines()) == 2
    assert rows() == []
    done = rejected("retry", "--source", "RIS8", "--code", "charset")
    assert (done.returncode, done.stderr) == (0, "1 resolved, 0 stay.\n")
    assert done.stdout.endswith("RIS8  M1  1 events\n")
    wait_until(lambda: rows() == [("4711", "ACC1")], "the order's row")
    (left,) = rejected("list").stdout.splitlines()
    assert "no_control_id" in left
    # As it would have been: the first receipt, the raw record, and an identity of its content.
    events = [event for _, event in records(kafka_of(stack), Topic.ORDER, Order)]
    raws = dict(records(kafka_of(stack), Topic.HL7_RAW, RawMessage))
    (event,) = events
    raw = raws[Position(event.raw_partition, event.raw_offset)]
    assert (raw.body, raw.received_at) == (order, event.received_at)
    assert event.event_id == event_id(raw.source, order, 0)
    assert event.patient is not None
    assert event.patient.name == "MÜLLER^ANN"


def kafka_of(stack: RunningStack) -> KafkaSettings:
    return KafkaSettings(bootstrap=stack.ready["kafka"])
