"""What was refused is found by a person: listed with its reason, shown with its bytes."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

from dosestream.events.codec import Codec
from dosestream.events.records import Rejection
from dosestream.kafka.publisher import Publisher
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
    event_id = secrets.token_hex(16)
    rejection = Rejection(
        event_id=event_id,
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
    (line,) = [line for line in listed.splitlines() if line.startswith(event_id[:12])]
    assert line.endswith("RIS|HOSP  M77  charset  AE  MSH-18  byte 26 is no UTF-8")
    shown = run(kafka, "show", event_id[:12])
    assert (shown.returncode, shown.stdout) == (0, BODY)
    assert run(kafka, "show", "nothing").returncode == 1
