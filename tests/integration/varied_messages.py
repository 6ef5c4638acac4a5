"""A few dozen varied messages, and what a sender hears: for clients that were written elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reading import records

from dosestream.events.records import Appointment, Order, Patient, RawMessage, Rejection, Report
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

PID = "PID|||4711^^^HOSP||DOE^JOHN^^^^^L||19700101|M"
ORC = "ORC|NW|P1^RIS|F1^RIS||SC||^^^20260301120000^^R||20260301115900"
OBR = "OBR|1|P1^RIS|F1^RIS|CTABD^CT Abdomen^L||||||||||||||A1|RP1|S1||||CT"
CANCEL = "ORC|CA|P1^RIS|F1^RIS||CA"
CHANGE = "ORC|XO|P1^RIS|F1^RIS||SC"
REPORT = "OBR|1|P1^RIS|F1^RIS|CTABD^CT Abdomen^L|||||||||||||||||||CT|F"
TEXT = "OBX|1|TX|GDT^Report||No stone.||||||F"
SCH = "SCH|AP1^RIS|AP2^RIS|||||ROUTINE||30|min|^^^202603021000|||||||||||||||BOOKED|P1|F1"
AIS = "AIS|1||CTABD^CT Abdomen^L|202603021000"
TXA = "TXA|1|DI|TX||20260301130000||||||||D1||P1|F1||AU"


@dataclass(frozen=True)
class Case:
    """One message: MSH-9, the segments behind MSH and PID, what MSH-15 and MSH-16 ask, and what is heard.

    Attributes:
        codes: MSA-1 of each answer.
        events: records it makes in the topics, by class.
        rejected: code of its rejection, empty where there is none.
        patient: whether PID is sent.
        legal: whether a client that reads what it sends can build it.
    """

    name: str
    kind: str
    segments: tuple[str, ...]
    codes: tuple[str, ...] = ("AA",)
    events: tuple[type[Any], ...] = ()
    rejected: str = ""
    version: str = "2.5"
    asks: str = "|"
    charset: str = ""
    processing: str = "P"
    patient: bool = True
    legal: bool = True

    def body(self, sender: str, control: str) -> str:
        """The message as text; segments end in CR."""
        msh = (
            f"MSH|^~\\&|{sender}|HOSP|DS|CITY|20260301120000||{self.kind}|{control}|{self.processing}|"
            f"{self.version}|||{self.asks}||{self.charset}"
        )
        lines = [
            msh,
            *([PID] if self.patient and "PID|" not in "".join(self.segments) else []),
            *self.segments,
        ]
        return "".join(line + "\r" for line in lines)


def _adt(event: str, *segments: str, **more: Any) -> Case:
    said: dict[str, Any] = {"name": f"ADT {event}", "events": (Patient,), **more}
    return Case(kind=f"ADT^{event}", segments=(f"EVN|{event}|20260301", PID, *segments), **said)


CASES = [
    *(_adt(event, "PV1|1|O|RAD^1^1") for event in ("A01", "A03", "A04", "A05", "A08", "A11", "A28", "A31")),
    _adt("A40", "MRG|4712^^^HOSP"),
    _adt("A08", name="in version 2.3.1", version="2.3.1"),
    _adt("A08", name="in version 2.8", version="2.8"),
    _adt("A08", name="for training", processing="T"),
    Case("an unused event is kept", "ADT^A09", ("EVN|A09|20260301",)),
    Case("an unused type is kept", "DFT^P03", ("EVN|P03|20260301", "FT1|1|||20260301||CG|CTABD")),
    Case("a new order", "ORM^O01", (ORC, OBR), events=(Order,)),
    Case(
        "two orders",
        "ORM^O01",
        (ORC, OBR, ORC.replace("1^", "2^"), OBR.replace("1^", "2^")),
        events=(Order,) * 2,
    ),
    Case("a cancelled order", "ORM^O01", (CANCEL, OBR), events=(Order,)),
    Case("a changed order", "ORM^O01", (CHANGE, OBR), events=(Order,)),
    Case("a study UID", "ORM^O01^ORM_O01", (ORC, OBR, "ZDS|1.2.3^RIS^Application^DICOM"), events=(Order,)),
    Case("an imaging order", "OMI^O23^OMI_O23", (ORC, OBR, "IPC|A1|RP1|1.2.3|S1|CT"), events=(Order,)),
    Case("a general order", "OMG^O19^OMG_O19", (ORC, OBR), events=(Order,)),
    Case("a laboratory order", "OML^O21^OML_O21", (ORC, OBR), events=(Order,)),
    Case("an answer to an order", "ORR^O02", ("MSA|AA|1", ORC.replace("NW", "OK")), events=(Order,)),
    Case("a report", "ORU^R01", (REPORT, TEXT), events=(Report,)),
    Case(
        "a report of two", "ORU^R01", (REPORT, TEXT, REPORT.replace("1^", "2^"), TEXT), events=(Report,) * 2
    ),
    Case("a document", "MDM^T02^MDM_T02", ("EVN|T02|20260301", "PV1|1|O", TXA, TEXT), events=(Report,)),
    Case("an appointment", "SIU^S12^SIU_S12", (SCH, PID, "RGS|1", AIS), events=(Appointment,)),
    Case("a cancelled appointment", "SIU^S15^SIU_S15", (SCH, PID, "RGS|1", AIS), events=(Appointment,)),
    Case("escapes", "ORM^O01", (ORC, OBR.replace("Abdomen", "A\\T\\B\\S\\C\\E\\")), events=(Order,)),
    _adt("A08", PID.replace("JOHN", "JÜRGEN"), name="umlauts in UTF-8", charset="UNICODE UTF-8"),
    _adt("A08", name="accept only", asks="AL|NE", codes=("CA",)),
    _adt("A08", name="nothing on success", asks="ER|NE", codes=()),
    _adt("A08", name="accept and application", asks="AL|AL", codes=("CA", "AA")),
    _adt("A08", name="application only", asks="NE|AL", codes=("AA",)),
    Case("no order in it", "ORM^O01", (), ("AE",), rejected="no_order"),
    Case("no order in it, enhanced", "ORM^O01", (), ("CE",), rejected="no_order", asks="AL|NE"),
    Case("nobody in it", "ADT^A08", ("EVN|A08|20260301", "PID|||"), ("AE",), rejected="no_patient_id"),
    Case("no such event", "ADT^Z99", (PID,), ("AR",), rejected="event"),
    Case("no such type", "QQQ^A01", (PID,), ("AR",), rejected="message_type"),
    Case("no such type, enhanced", "QQQ^A01", (PID,), ("CR",), rejected="message_type", asks="AL|AL"),
    Case("a processing id not taken", "ADT^A08", (PID,), ("AR",), rejected="processing_id", processing="X"),
    Case("no such version", "ADT^A08", (PID,), ("AR",), rejected="version", version="9.9", legal=False),
]

TOPICS: dict[type[Any], Topic] = {
    Patient: Topic.PATIENT,
    Order: Topic.ORDER,
    Appointment: Topic.APPOINTMENT,
    Report: Topic.REPORT,
}


def check_topics(kafka: KafkaSettings, sender: str, sent: Mapping[str, tuple[Case, bytes | None]]) -> None:
    """Every message sent (by control id) is in the raw topic once, byte for byte where its bytes are known, with its
    events or its rejection."""
    source = f"{sender}|HOSP"
    raw = [record for _, record in records(kafka, Topic.HL7_RAW, RawMessage) if record.source == source]
    assert sorted(record.control_id for record in raw) == sorted(sent)
    known = {control: body for control, (_, body) in sent.items() if body is not None}
    assert {r.control_id: r.body for r in raw if r.control_id in known} == known
    for kind, topic in TOPICS.items():
        events = [event for _, event in records(kafka, topic, kind) if event.source == source]
        expected = [control for control, (case, _) in sent.items() for of in case.events if of is kind]
        assert sorted(event.control_id for event in events) == sorted(expected), topic
    rejections = [r for _, r in records(kafka, Topic.REJECTED, Rejection) if r.source == source]
    assert sorted((r.control_id, r.code) for r in rejections) == sorted(
        (control, case.rejected) for control, (case, _) in sent.items() if case.rejected
    )
