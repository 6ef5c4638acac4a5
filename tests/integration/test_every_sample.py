"""Every sample message over the wire, as it is and asking for every kind of answer: none is dropped in silence."""

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from own_broker import own_broker
from reading import records
from test_ingest import Ingest, adt
from varied_messages import TOPICS

from dosestream.client.send import code, control_id
from dosestream.events.records import RawMessage, Rejection
from dosestream.hl7.framing import Frame, Framer, frame
from dosestream.hl7.header import read_header
from dosestream.kafka.topics import Topic
from dosestream.settings import MIB, KafkaSettings

pytestmark = pytest.mark.stack

CONDITIONS = ("", "AL", "NE", "ER", "SU")
ASKED = list(product(CONDITIONS, CONDITIONS))

# Table 0155: whether a good, and a bad, message is told of.
TOLD = {"AL": (True, True), "NE": (False, False), "ER": (False, True), "SU": (True, False)}

# Rejections that are told with R, the others with E.
TOLD_AR = {"no_msh", "no_message_type", "message_type", "event", "version", "processing_id"}

# What of the samples is listed by HL7 and means nothing for dose.
IGNORED = {
    *(f"ADT^{event}" for event in ("A09", "A14", "A15", "A16", "A25", "A26", "A27", "A60")),
    *("BAR^P01", "BAR^P02", "BAR^P12", "DFT^P03", "DFT^P11"),
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    """A broker that has heard none of the samples."""
    with own_broker(tmp_path_factory.mktemp("kafka")) as settings:
        yield settings


@dataclass(frozen=True)
class Sent:
    """One message, and what its MSH-15 and MSH-16 ask."""

    name: str
    body: bytes
    control: str
    accept: str
    application: str


def as_it_is(path: Path) -> Sent:
    body = path.read_bytes()
    header = read_header(body)
    if header is None:
        return Sent(path.name, body, "", "", "")
    asked = header.word(15), header.word(16)
    return Sent(path.name, body, header.field(10).decode("latin-1").strip(), *asked)


def asking(sent: Sent, accept: str, application: str, control: str) -> Sent:
    """The same with MSH-15 and MSH-16, and a control id of its own."""
    before, msh, after = sent.body.partition(b"MSH")
    line = (msh + after).replace(b"\n", b"\r").split(b"\r", 1)[0]
    separator = line[3:4]
    fields = line.split(separator)
    fields += [b""] * (16 - len(fields))
    fields[9], fields[14], fields[15] = control.encode(), accept.encode(), application.encode()
    body = before + separator.join(fields) + (msh + after)[len(line) :]
    return Sent(f"{sent.name} {accept}|{application}", body, control, accept, application)


def due(sent: Sent, good: bool, severity: str) -> list[str]:
    """The codes that are due, by section 2.9.2 and table 0155; a refusal is told once."""
    if not sent.accept and not sent.application:
        return ["A" + severity]
    codes = []
    # MSH-15 empty in enhanced mode: always.
    if TOLD[sent.accept or "AL"][not good]:
        codes.append("C" + severity)
    if sent.application and TOLD[sent.application][not good] and (good or not codes):
        codes.append("A" + severity)
    return codes


def talk(ingest: Ingest, messages: list[Sent]) -> list[tuple[str, str]]:
    """All of them in a row over one connection; code and control id of every answer, in order."""
    with ingest.connect() as connection:
        connection.settimeout(30)
        last = frame(adt("LAST", "last"))
        framer, found, sent = Framer(MIB), list[tuple[str, str]](), 0
        stream = b"".join(frame(message.body) for message in messages) + last
        connection.setblocking(False)
        while not found or found[-1][1] != "last":
            if sent < len(stream):
                sent += send_some(connection, stream, sent)
            connection.settimeout(0 if sent < len(stream) else 30)
            try:
                data = connection.recv(65536)
            except BlockingIOError:
                continue
            assert data, f"closed after {len(found)} answers"
            pieces = framer.feed(data)
            found += [
                (code(p.body), control_id(p.body).decode("latin-1")) for p in pieces if isinstance(p, Frame)
            ]
        return found[:-1]


def send_some(connection: socket.socket, stream: bytes, at: int) -> int:
    connection.settimeout(0)
    try:
        return connection.send(stream[at : at + 65536])
    except BlockingIOError:
        return 0


def test_every_sample_is_answered_as_it_asks_kept_once_and_normalised_ignored_or_rejected(
    broker: KafkaSettings, tmp_path: Path, test_data: Path
) -> None:
    files = sorted((test_data / "hl7").glob("*/*.hl7"))
    assert len(files) > 200
    plain = [as_it_is(path) for path in files]
    variants = [
        asking(sent, *asked, control=f"V{number}.{which}")
        for number, sent in enumerate(plain)
        if read_header(sent.body) is not None
        for which, asked in enumerate(ASKED)
    ]
    ingest = Ingest(broker, tmp_path)
    try:
        heard_plain = [(sent, talk(ingest, [sent])) for sent in plain]
        answers: dict[str, list[str]] = {}
        for said, control in talk(ingest, variants):
            answers.setdefault(control, []).append(said)
    finally:
        assert ingest.stop() == 0

    raw = [
        (at, r) for at, r in records(broker, Topic.HL7_RAW, RawMessage) if not r.source.startswith("LAST|")
    ]
    # Two samples may be the same message under two names.
    contents = {sent.body for sent in plain + variants}
    assert Counter(record.body for _, record in raw) == Counter(contents)

    rejections = [r for _, r in records(broker, Topic.REJECTED, Rejection)]
    rejected = {r.body: r for r in rejections}
    told_variants = [
        (sent, [(said, sent.control) for said in answers.get(sent.control, [])]) for sent in variants
    ]
    for sent, told in heard_plain + told_variants:
        refusal = rejected.get(sent.body)
        severity = "A" if refusal is None else "R" if refusal.code in TOLD_AR else "E"
        expected = [(said, sent.control) for said in due(sent, refusal is None, severity)]
        assert told == expected, f"{sent.name}: {refusal.code if refusal else 'accepted'}"

    made = {(r.raw_partition, r.raw_offset) for r in rejections}
    for kind, topic in TOPICS.items():
        made |= {(e.raw_partition, e.raw_offset) for _, e in records(broker, topic, kind)}
    assert {r.message_type for at, r in raw if (at.partition, at.offset) not in made} == IGNORED
