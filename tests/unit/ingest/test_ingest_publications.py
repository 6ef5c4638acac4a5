"""What ingest publishes of a message: each kind of event to its topic, keyed by its patient, told by its header."""

from dataclasses import replace

import pytest

from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import Appointment, Order, Patient, RawMessage, Report
from dosestream.kafka.publisher import Position
from dosestream.settings import Settings
from services.ingest.publications import Publications

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
