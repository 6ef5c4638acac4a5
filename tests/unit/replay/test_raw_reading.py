"""Raw records as events for a build: what is put aside of them is written, and nothing else."""

import pytest

from dosestream.cli import remap
from dosestream.events.codec import Codec
from dosestream.events.records import Order, Patient, RawMessage
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.settings import Settings

HEAD = "MSH|^~\\&|HIS|H|D|D|20260314080000||{kind}|C1|P|2.5.1\r"
PATIENT = "PID|1||P1^^^H||Doe^Jane\\X00\\||19700101|F\r"


def record(body: str) -> Record:
    raw = RawMessage(
        source="HIS",
        control_id="C1",
        message_type="",
        received_at=1_773_475_200_000_000,
        transport="mllp",
        content_hash="",
        body=body.encode(),
    )
    return Record(Partition(str(Topic.HL7_RAW), 1), 7, Codec().encode(raw))


@pytest.mark.parametrize(
    ("says", "body", "topic", "cls", "written"),
    [
        (
            "a fact is written",
            HEAD.format(kind="ORM^O01") + PATIENT.replace("\\X00\\", "") + "ORC|NW|A1\rOBR|1|A1\r",
            Topic.ORDER,
            Order,
            True,
        ),
        (
            "what is said of a patient is no fact",
            HEAD.format(kind="ADT^A08") + PATIENT.replace("\\X00\\", ""),
            Topic.PATIENT,
            Patient,
            False,
        ),
        (
            "without its NUL characters it is written",
            HEAD.format(kind="ADT^A08") + PATIENT,
            Topic.PATIENT,
            Patient,
            True,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 50 else "",
)
def test_a_raw_record_is_read_as_the_event_it_makes(
    says: str, body: str, topic: Topic, cls: type[Order | Patient], written: bool
) -> None:
    del says
    found, stopped = remap.reading(Settings())([record(body)])
    assert stopped == []
    [item] = found
    assert item.record[:2] == (Partition(str(topic), 1), 7)
    assert isinstance(item.event, cls)
    assert item.event.patient is not None
    assert item.event.patient.name == "Doe^Jane"
    if written:
        assert item.record.value is not None
        assert Codec().decode(item.record.value, cls) == item.event
    else:
        assert item.record.value is None
