"""python-hl7's two clients against ingest: the blocking one, and the one for asyncio with messages in a row."""

import asyncio
import secrets
from collections.abc import Iterator

import hl7
import pytest
from hl7.client import MLLPClient
from hl7.mllp import open_hl7_connection
from test_ingest import Ingest
from varied_messages import CASES, Case, check_topics

from dosestream.settings import KafkaSettings

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def ingest(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    service = Ingest(kafka, tmp_path_factory.mktemp("ingest"))
    yield service
    assert service.stop() == 0


def messages(sender: str, cases: list[Case]) -> dict[str, tuple[Case, bytes]]:
    """By control id."""
    return {f"C{n}": (case, case.body(sender, f"C{n}").encode()) for n, case in enumerate(cases)}


def said(answer: bytes | hl7.Message) -> tuple[str, str]:
    """MSA-1 and MSA-2, read by python-hl7."""
    message = answer if isinstance(answer, hl7.Message) else hl7.parse(answer.strip(b"\x0b\x1c\r") + b"\r")
    return str(message.segment("MSA")[1]), str(message.segment("MSA")[2])


def test_its_blocking_client_hears_the_answer_to_each(ingest: Ingest, kafka: KafkaSettings) -> None:
    sender = f"H{secrets.token_hex(6)}"
    # It waits for one answer after each message.
    sent = messages(sender, [case for case in CASES if len(case.codes) == 1])
    assert len(sent) > 30
    with MLLPClient("127.0.0.1", ingest.port) as client:
        client.socket.settimeout(20)
        for control, (case, body) in sent.items():
            assert said(client.send_message(body)) == (case.codes[0], control), case.name
    check_topics(kafka, sender, sent)


def test_its_asyncio_client_hears_answers_in_order_to_messages_sent_in_a_row(
    ingest: Ingest, kafka: KafkaSettings
) -> None:
    sender = f"H{secrets.token_hex(6)}"
    sent = messages(sender, CASES)
    expected = [(code, control) for control, (case, _) in sent.items() for code in case.codes]

    async def talk() -> list[tuple[str, str]]:
        reader, writer = await open_hl7_connection("127.0.0.1", ingest.port)
        for _, body in sent.values():
            writer.writeblock(body)
        await writer.drain()
        async with asyncio.timeout(30):
            heard = [said(await reader.readmessage()) for _ in expected]
        writer.close()
        await writer.wait_closed()
        return heard

    assert asyncio.run(talk()) == expected
    check_topics(kafka, sender, sent)
