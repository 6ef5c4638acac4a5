"""What ingest publishes of a message: each kind of event to its topic, keyed by its patient, told by its header."""

from dataclasses import replace
from pathlib import Path

import pytest

from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import Appointment, Order, Patient, RawMessage, Report
from dosestream.hl7.batch import split
from dosestream.kafka.publisher import Position
from dosestream.mapping.normalise import interpret
from dosestream.settings import Settings
from services.ingest.publications import Publications, raw_message

PID = "PID|||4711^^^HOSP"
KINDS = [
    ("ADT^A08", (PID,), "patient", Patient),
    ("ORM^O01", (PID, "ORC|NW|P1"), "order", Order),
    ("ORU^R01", (PID, "OBR|1|P1", "OBX|1|TX|||hello"), "report", Report),
    ("MDM^T02", (PID, "TXA|1" + "|" * 11 + "D1"), "report", Report),
    ("SIU^S12", ("SCH|1|2", PID), "appointment", Appointment),
]


@pytest.mark.parametrize(("kind", "segments", "topic", "event"), KINDS, ids=[k[0] for k in KINDS])
def test_published(kind: str, segments: tuple[str, ...], topic: str, event: type) -> None:
    codec = Codec()
    body = "".join(
        f"{line}\r" for line in (f"MSH|^~\\&|HIS|HOSP|||20260301||{kind}|42|P|2.5", *segments)
    ).encode()
    raw = RawMessage(
        source="his",
        control_id="42",
        message_type=kind,
        received_at=1,
        transport="mllp",
        content_hash=content_hash(body),
        body=body,
    )
    made = Publications(Settings(), codec)
    (record,) = made.repaired(raw, Position(2, 7))
    (patient,) = made.repaired(
        replace(raw, body=body.replace(kind.encode(), b"ADT^A08"), message_type="ADT^A08"), Position(2, 8)
    )
    assert record[0] == f"radiology.{topic}.v1"
    assert record[1] == patient[1], "the key is the patient's, whatever is said of them"
    assert record[2] is not None
    found: Patient | Order | Report | Appointment = codec.decode(record[2], event)
    assert (found.raw_partition, found.raw_offset, found.control_id) == (2, 7, "42")
    assert ("ce_type", f"org.dosestream.{topic}.v1".encode()) in list(record[3])


def test_live_and_repaired_records_are_the_same_bytes(test_data: Path) -> None:
    """Of every sample message: the raw record's events as they are made live, from drafts, and again, from objects."""
    settings = Settings()
    made, position = Publications(settings, Codec()), Position(1, 123_456)
    kinds = set()
    for file in sorted((test_data / "hl7").glob("*/*.hl7")):
        for body in split(file.read_bytes()):
            found = interpret(body, settings)
            raw = raw_message(found, body, content_hash(body), 1_790_000_000_000_000, "10.0.0.1:5", "AA")
            live = made.normalised(found, raw, position)
            assert live == made.repaired(raw, position), file.name
            assert live == made.normalised(found, raw, position, made.prepared(found, raw)), file.name
            kinds |= {record.topic for record in live}
    assert len(kinds) == 5, "patients, orders, appointments, reports and rejections"
