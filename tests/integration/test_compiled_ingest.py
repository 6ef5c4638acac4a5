"""Ingest compiled and interpreted, by the same bytes: the same answers, and the same records in every topic.

Each way has a broker of its own, which has heard nothing. Masked is only what is different at every run: times,
offsets, the name of the process, and the port of the connection.
"""

import re
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from own_broker import own_broker
from reading import stored
from running_stack import wait_until
from test_clients_raw_socket import CASES, CONFIG, LARGE
from test_ingest import Ingest, adt, msh
from varied_messages import TOPICS

from dosestream.client.send import control_id
from dosestream.events.codec import Codec
from dosestream.events.records import Event, RawMessage, Rejection
from dosestream.hl7.framing import FS, VT, Frame, Framer, frame
from dosestream.kafka.topics import Topic
from dosestream.settings import MIB, KafkaSettings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

# The topics that hold what senders said and what became of it.
TOLD: dict[str, type[Event]] = {
    str(Topic.HL7_RAW): RawMessage,
    str(Topic.REJECTED): Rejection,
    **{str(topic): kind for kind, topic in TOPICS.items()},
}
# Fields and headers of a record that say when, where in a topic, or by which process.
DIFFERENT = {"received_at": 0, "raw_offset": 0, "peer": ""}
HEADERS = {"ce_time", "ce_instance"}

WAYS = [("one process", ()), ("two processes", ("--workers", "2"))]


@dataclass(frozen=True)
class Conversation:
    """What one connection sends, packet by packet.

    Attributes:
        ends: it closes behind its last packet; else it hears every answer first.
    """

    name: str
    packets: list[bytes]
    ends: bool = False


def batch(*messages: bytes) -> bytes:
    return b"FHS|^~\\&\rBHS|^~\\&\r" + b"".join(messages) + b"BTS|%d\rFTS|1\r" % len(messages)


def broken(sender: str) -> list[bytes]:
    """Messages that cannot be read, or say what they should not; and foreign ones."""
    good = adt(sender, "1")
    order = msh(sender, "ORM^O01", "2") + "PID|||4711^^^HOSP||DOE^JOHN\r"
    return [
        b"no message",
        b"MSH",
        b"MSH|",
        b"MSH|^~\\&",
        good[:40],
        good.replace(b"|ADT^A08|", b"||"),
        good.replace(b"|P|2.5", b"|X|2.5"),
        good.replace(b"|P|2.5", b"|P|3.0"),
        good.replace(b"|P|2.5", b"|P|2.1"),
        good.replace(b"ADT^A08", b"ADT^Z99"),
        good.replace(b"ADT^A08", b"NMD^N02"),
        good.replace(b"DOE", b"D\xd6E"),
        good.replace(b"|P|2.5\r", b"|P|2.5||||||8859/1\r").replace(b"DOE", b"D\xd6E"),
        good.replace(b"|P|2.5\r", b"|P|2.5||||||KLINGON\r"),
        good.replace(b"DOE", b"D\\X4f4\\E\\H\\"),
        good.replace(b"|", b"#").replace(b"^", b"*"),
        good.replace(b"4711^^^HOSP", b"4711^^^HOSP~0815^^^OTHER&1.2.3&ISO~"),
        msh(sender, "ADT^A40", "3").encode() + b'PID|||1^^^HOSP||""\rMRG|2^^^HOSP\r',
        msh(sender, "ADT^A08", "4").encode() + b"PV1||O\r",
        (order + "ORC|NW|P1|F1\r").encode(),
        (order + "ORC|QQ|P1|F1\rOBR|1|P1|F1|CT1^CT^L|||2026030199\r").encode(),
        (order + "ORC|XO|P1|F1||SC\rOBR|1|P1|F1|CT1^CT^L\rZDS|1.2.3^^Application^DICOM\rZZZ|x\r").encode(),
        msh(sender, "ORU^R01", "5").encode() + b"PID|||1^^^HOSP\rOBR|1|P1|F1\rOBX|1|TX|A||one\rNTE|1||two\r",
        msh(sender, "ACK^A01^ACK", "6").encode() + b"MSA|AA|7\r",
        msh(sender, "ORR^O02", "7").encode() + b"MSA|AA|7\rORC|OK|P1|F1\r",
    ]


def conversations(folder: Path) -> list[Conversation]:
    """Everything that is sent: every sample, the list of framings, and what is broken, large, doubled or cut off."""
    samples = [frame(path.read_bytes()) for path in sorted((folder / "hl7").rglob("*")) if path.is_file()]
    found = [Conversation("every sample", samples)]
    for number, case in enumerate(CASES):
        messages = [adt(f"FRAMING{number}", control, patient=control) for control in ("1", "2", "3")]
        found.append(Conversation(case.name, case.packets(*messages)))
    asked = [
        f"|||{accept}|{application}"
        for accept in ("", "AL", "NE", "ER", "SU")
        for application in ("AL", "ER")
    ]
    enhanced = [adt("ASKING", str(number), rest=rest) for number, rest in enumerate(asked)]
    refused = [msh("ASKING", "ADT^Z99", f"9{number}", rest).encode() for number, rest in enumerate(asked)]
    twice = frame(adt("TWICE", "1"))
    found += [
        Conversation("broken and foreign", [frame(one) for one in broken("BROKEN")]),
        Conversation("what MSH-15 and 16 ask", [frame(one) for one in enhanced + refused]),
        Conversation("a batch", [frame(batch(adt("BATCH", "1"), adt("BATCH", "2", "4712"), b"PID|x\r"))]),
        Conversation("the same again", [twice, twice + twice]),
        Conversation("the same control id, other bytes", [twice, frame(adt("TWICE", "1", "4712"))]),
        Conversation("over the cap", [frame(adt("LARGE", "1") + LARGE), frame(adt("LARGE", "2"))]),
        Conversation("many at once", [b"".join(frame(adt("MANY", str(n), str(n % 7))) for n in range(300))]),
        Conversation("an end in mid-frame", [frame(adt("CUT", "1")), VT + adt("CUT", "2")], ends=True),
        Conversation("MLLP release 2", [VT + b"\x06" + FS + b"\r", VT + b"\x15" + FS + b"\r"]),
    ]
    return found


def masked(answer: bytes) -> bytes:
    """An answer without its time: MSH-7, and the number behind the code in MSH-10."""
    msh, end, rest = answer.partition(b"\r")
    separator = msh[3:4]
    fields = msh.split(separator)
    fields[6], fields[9] = b"", fields[9].rstrip(b"0123456789")
    return separator.join(fields) + end + rest


def talk(ingest: Ingest, conversation: Conversation, number: int) -> list[bytes]:
    """The answers in order, up to the one to a last message of ours."""
    last = f"LAST{number}"
    with ingest.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        framer, heard = Framer(MIB), list[bytes]()

        def hear() -> None:
            data = connection.recv(65536)
            assert data, f"{conversation.name}: closed after {len(heard)} answers"
            heard.extend(piece.body for piece in framer.feed(data) if isinstance(piece, Frame))

        for packet in conversation.packets:
            connection.sendall(packet)
        if conversation.ends:
            hear()
            return heard
        connection.sendall(frame(adt("LAST", last, last)))
        while not heard or control_id(heard[-1]) != last.encode():
            hear()
    return heard


@dataclass(frozen=True)
class Run:
    """What one way of running it said and stored, without what differs at every run."""

    answers: dict[str, list[bytes]]
    records: dict[str, list[str]]
    log: str


def shown(kafka: KafkaSettings) -> dict[str, list[str]]:
    """The records of each topic, sorted."""
    codec, found = Codec(), dict[str, list[str]]()
    for message in stored(kafka, lambda name: name in TOLD):
        value = message.value()
        assert value is not None
        record = asdict(codec.decode(value, TOLD[str(message.topic())])) | DIFFERENT
        headers = sorted((name, said) for name, said in message.headers() or [] if name not in HEADERS)
        text = repr((message.partition(), message.key(), headers, record))
        found.setdefault(str(message.topic()), []).append(text)
    return {topic: sorted(each) for topic, each in found.items()}


def run(folder: Path, said: list[Conversation], *arguments: str) -> Run:
    """Everything said to an ingest of its own before a broker of its own."""
    with own_broker(folder / "kafka") as kafka:
        ingest = Ingest(kafka, folder, CONFIG, *arguments)
        try:
            answers = {
                one.name: [masked(answer) for answer in talk(ingest, one, number)]
                for number, one in enumerate(said)
            }
            # Nobody is told of it, so it may come a little later.
            wait_until(
                lambda: any("truncated" in each for each in shown(kafka)[str(Topic.REJECTED)]), "the cut"
            )
        finally:
            assert ingest.stop() == 0
        return Run(answers, shown(kafka), ingest.log.read_text())


@pytest.fixture(scope="module")
def said(test_data: Path) -> list[Conversation]:
    return conversations(test_data)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory, said: list[Conversation]) -> Run:
    return run(tmp_path_factory.mktemp("interpreted"), said)


@pytest.mark.parametrize("arguments", [way[1] for way in WAYS], ids=[way[0] for way in WAYS])
def test_compiled_ingest_answers_and_stores_what_interpreted_ingest_does(
    compiled_tree: Path,
    interpreted: Run,
    said: list[Conversation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(compiled_tree))
    # So that each of two processes takes a part.
    monkeypatch.setenv("DOSESTREAM_MLLP_GATHER", "0")
    compiled = run(tmp_path, said, *arguments)
    assert re.search(r"listening on \S+, compiled$", compiled.log, re.MULTILINE)
    assert re.search(r"listening on \S+, interpreted$", interpreted.log, re.MULTILINE)
    assert compiled.answers.keys() == interpreted.answers.keys()
    for name, answers in interpreted.answers.items():
        assert compiled.answers[name] == answers, name
    assert set(interpreted.records) == set(TOLD)
    for topic, records in interpreted.records.items():
        assert compiled.records[topic] == records, topic
