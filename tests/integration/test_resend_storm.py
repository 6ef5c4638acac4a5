"""A sender's queue after an outage: many connections, doubled messages, ingest killed twice, the broker once."""

import asyncio
import random
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from reading import records
from running_stack import RunningStack, descendants, wait_until

from dosestream.cli import watch
from dosestream.client.send import code, control_id
from dosestream.embedded.errors import StackError
from dosestream.events.records import Order, Patient, RawMessage, Rejection
from dosestream.hl7.framing import Frame, Framer, frame
from dosestream.kafka.topics import Topic
from dosestream.settings import MIB, KafkaSettings

CONNECTIONS = 200
# Every second connection sends without waiting, up to so many.
PIPELINED = 8
# One in so many is sent again by another connection.
DOUBLED = 10
MEMORY_MB = 300
ANSWER_S = 15.0

# Messages, and whether ingest's hot path is compiled.
STORMS = [
    pytest.param(5_000, "interpreted", id="5,000 messages", marks=pytest.mark.timeout(300)),
    pytest.param(
        200_000, "interpreted", id="200,000 messages", marks=[pytest.mark.long, pytest.mark.timeout(3000)]
    ),
    pytest.param(
        200_000,
        "compiled",
        id="200,000 messages, compiled",
        marks=[pytest.mark.long, pytest.mark.timeout(3000)],
    ),
]


@dataclass(frozen=True)
class Content:
    """One message; `kind` says what becomes of it."""

    control: str
    kind: str
    body: bytes


# In ten messages.
KINDS = ["patient", "order", "order", "patient", "order", "order", "patient", "ignored", "order", "rejected"]


def patient(sender: str, number: int) -> str:
    """Ten messages are one person's."""
    return f"{sender}P{number // 10}"


def content(sender: str, number: int) -> Content:
    kind = KINDS[number % len(KINDS)]
    said = {"patient": "ADT^A08", "order": "ORM^O01", "ignored": "DFT^P03", "rejected": "ADT^A08"}[kind]
    who = "" if kind == "rejected" else f"{patient(sender, number)}^^^HOSP"
    text = f"MSH|^~\\&|{sender}|HOSP|DS|CITY|20260301120000||{said}|{number}|P|2.5\r"
    text += f"PID|||{who}||DOE^JOHN||19700101|M\r"
    if kind == "order":
        order = f"P{sender}{number}|F{sender}{number}"
        text += f"ORC|NW|{order}||SC\rOBR|1|{order}|CT{number % 10}^CT^L||||||||||||||A{sender}{number}|RP|SPS||||CT\r"
    return Content(str(number), kind, text.encode())


@dataclass
class Storm:
    """The senders together."""

    port: int
    patience_s: float
    answered: int = 0
    # The final answers to each content.
    codes: dict[str, set[str]] = field(default_factory=dict)
    reconnects: int = 0

    async def sender(self, queue: list[Content], window: int) -> None:
        """One connection: everything in the queue, in order, sent again until it has a final answer."""
        deadline = time.monotonic() + self.patience_s
        while queue:
            assert time.monotonic() < deadline, f"{len(queue)} messages of one connection have no answer"
            try:
                await self._converse(queue, window)
            except (OSError, TimeoutError, EOFError):
                self.reconnects += 1
                await asyncio.sleep(0.2)

    async def _converse(self, queue: list[Content], window: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        framer = Framer(MIB)
        try:
            while queue:
                under_way = queue[:window]
                writer.write(b"".join(frame(one.body) for one in under_way))
                heard = list[bytes]()
                async with asyncio.timeout(ANSWER_S):
                    while len(heard) < len(under_way):
                        data = await reader.read(65536)
                        if not data:
                            raise EOFError
                        heard += [piece.body for piece in framer.feed(data) if isinstance(piece, Frame)]
                again = [
                    one for one, told in zip(under_way, heard, strict=True) if not self._final(one, told)
                ]
                queue[:window] = again
                if again:
                    await asyncio.sleep(0.2)
        finally:
            writer.close()

    def _final(self, one: Content, told: bytes) -> bool:
        """Whether the answer is one; not where the message could not be stored and is to come again."""
        assert control_id(told).decode() == one.control
        if code(told) == "AE" and b"|207^" in told:
            return False
        self.codes.setdefault(one.control, set()).add(code(told))
        self.answered += 1
        return True


@contextmanager
def memory_of_ingest(stack: RunningStack) -> Iterator[list[int]]:
    """The largest resident set of any process of ingest, in kB, while the block runs."""
    largest, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            parent = stack.pid("ingest")
            for pid in [parent, *descendants(parent)] if parent is not None else []:
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue
                if "VmRSS:" in status:
                    largest[0] = max(largest[0], int(status.partition("VmRSS:")[2].split()[0]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield largest
    finally:
        over.set()
        thread.join()


async def storm(stack: RunningStack, contents: list[Content], patience_s: float) -> Storm:
    """Send everything; ingest is killed at a quarter and at three quarters, the broker at the half."""
    running = Storm(stack.ready["mllp"]["port"], patience_s)
    chance = random.Random(7)
    doubled = chance.sample(contents, len(contents) // DOUBLED)
    queues: list[list[Content]] = [[] for _ in range(CONNECTIONS)]
    for number, one in enumerate(contents):
        queues[number % CONNECTIONS].append(one)
    for one in doubled:
        queues[chance.randrange(CONNECTIONS)].append(one)
    total = len(contents) + len(doubled)

    async def befalls(part: float, act: Callable[[], object]) -> None:
        while running.answered < part * total:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(act)

    senders: list[Awaitable[None]] = [
        running.sender(queue, PIPELINED if number % 2 else 1) for number, queue in enumerate(queues)
    ]
    await asyncio.gather(
        *senders,
        befalls(0.25, lambda: stack.kill("ingest")),
        befalls(0.5, lambda: stack.kill("kafka.Kafka")),
        befalls(0.75, lambda: stack.kill("ingest")),
    )
    assert running.answered == total
    return running


def of(found: list[Order] | list[Patient] | list[Rejection] | list[RawMessage], sender: str) -> Counter[str]:
    """Control ids of a source, each as often as it has different identities."""
    identities = {
        (one.control_id, one.content_hash if isinstance(one, RawMessage) else one.event_id)
        for one in found
        if one.source == f"{sender}|HOSP"
    }
    return Counter(control for control, _ in identities)


@pytest.mark.parametrize(("count", "form"), STORMS)
def test_a_resend_storm_loses_nothing_and_has_each_effect_once(
    start_stack: Callable[..., RunningStack],
    request: pytest.FixtureRequest,
    count: int,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if form == "compiled":
        monkeypatch.setenv("PYTHONPATH", str(request.getfixturevalue("compiled_tree")))
    monkeypatch.setenv("DOSESTREAM_MLLP_WORKERS", "2")
    stack = start_stack()
    assert re.search(rf"listening on \S+, {form}$", stack.log("ingest"), re.MULTILINE)
    sender = f"S{secrets.token_hex(4)}"
    contents = [content(sender, number) for number in range(count)]
    patience_s = 60 + count / 100
    began = time.monotonic()
    with memory_of_ingest(stack) as largest:
        heard = asyncio.run(storm(stack, contents, patience_s))
    sent_s = time.monotonic() - began
    by_kind = {kind: {one.control for one in contents if one.kind == kind} for kind in KINDS}

    # What was refused was refused each time, and nothing else.
    refused = {"AE"}
    for one in contents:
        assert heard.codes[one.control] == (refused if one.kind == "rejected" else {"AA"}), one
    assert largest[0] < MEMORY_MB * 1024

    kafka = KafkaSettings(bootstrap=stack.ready["kafka"])
    raw = [r for _, r in records(kafka, Topic.HL7_RAW, RawMessage)]
    assert {r.body for r in raw if r.source == f"{sender}|HOSP"} == {one.body for one in contents}

    def normalised() -> bool:
        orders = of([r for _, r in records(kafka, Topic.ORDER, Order)], sender)
        patients = of([r for _, r in records(kafka, Topic.PATIENT, Patient)], sender)
        rejections = of([r for _, r in records(kafka, Topic.REJECTED, Rejection)], sender)
        return (
            orders == Counter(by_kind["order"])
            and patients == Counter(by_kind["patient"])
            and rejections == Counter(by_kind["rejected"])
        )

    wait_until(normalised, "every raw content has its events or its rejection, under one identity each", 120)

    def applied() -> bool:
        try:
            return watch.behind(stack.ready["kafka"], stack.ready["postgres"]) == 0
        except StackError:
            return False

    wait_until(applied, "the reconciler has read everything", patience_s)
    with psycopg.connect(stack.ready["postgres"]) as connection:
        rows = connection.execute(
            "SELECT accession_number FROM dose.imaging_order WHERE accession_number LIKE %s", [f"A{sender}%"]
        ).fetchall()
        people = connection.execute(
            "SELECT patient_id FROM dose.patient WHERE patient_id LIKE %s", [f"{sender}P%"]
        ).fetchall()
    assert Counter(row[0] for row in rows) == Counter(f"A{sender}{n}" for n in by_kind["order"])
    named = {patient(sender, int(one.control)) for one in contents if one.kind in ("patient", "order")}
    assert Counter(row[0] for row in people) == Counter(named)
    print(
        f"\n{count} contents and {count // DOUBLED} again over {CONNECTIONS} connections in {sent_s:.0f} s, "
        f"{heard.reconnects} reconnections, {len(raw) - count} doubled in raw, "
        f"largest process {largest[0] / 1024:.0f} MB"
    )
