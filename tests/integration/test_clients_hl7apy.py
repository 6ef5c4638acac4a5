"""hl7apy as a sender: it builds and frames the messages, and reads and validates the answers."""

import secrets
import socket
from collections.abc import Iterator

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.parser import parse_message
from test_ingest import Ingest, answers
from varied_messages import CASES, check_topics

from dosestream.settings import KafkaSettings

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def ingest(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    service = Ingest(kafka, tmp_path_factory.mktemp("ingest"))
    yield service
    assert service.stop() == 0


def heard(body: bytes) -> tuple[str, str]:
    """MSA-1 and MSA-2 of an answer."""
    answer = parse_message(body.decode(), validation_level=VALIDATION_LEVEL.TOLERANT)
    return str(answer.msa.msa_1.value), str(answer.msa.msa_2.value)


def test_what_it_reads_and_writes_again_is_answered(ingest: Ingest, kafka: KafkaSettings) -> None:
    sender = f"A{secrets.token_hex(6)}"
    sent = {}
    with ingest.connect() as connection:
        for number, case in enumerate(case for case in CASES if case.legal):
            control = f"C{number}"
            message = parse_message(case.body(sender, control), find_groups=False)
            framed = message.to_mllp().encode()
            # Between the start byte and the two end bytes.
            sent[control] = (case, framed[1:-2])
            connection.sendall(framed)
            told = [heard(answer) for answer in answers(connection, len(case.codes))]
            assert told == [(code, control) for code in case.codes], case.name
    check_topics(kafka, sender, sent)


KINDS = [("ADT_A01", "ADT^A01^ADT_A01"), ("ADT_A01", "ADT^A08^ADT_A01")]


@pytest.mark.parametrize("version", ["2.5", "2.5.1", "2.6"])
@pytest.mark.parametrize(("structure", "kind"), KINDS)
def test_what_it_builds_is_accepted_and_its_answer_is_valid(
    ingest: Ingest, version: str, structure: str, kind: str
) -> None:
    message = Message(structure, version=version, validation_level=VALIDATION_LEVEL.TOLERANT)
    message.msh.msh_3 = f"A{secrets.token_hex(6)}"
    message.msh.msh_9 = kind
    message.msh.msh_10 = "1"
    message.msh.msh_11 = "P"
    message.evn.evn_2 = "20260301"
    message.pid.pid_3 = "4711^^^HOSP"
    message.pid.pid_5 = "DOE^JOHN"
    message.pv1.pv1_2 = "O"
    with socket.create_connection(("127.0.0.1", ingest.port), 20) as connection:
        connection.sendall(message.to_mllp().encode())
        answer = answers(connection, 1)[0].decode()
    assert heard(answer.encode()) == ("AA", "1")
    assert parse_message(answer, validation_level=VALIDATION_LEVEL.TOLERANT).validate()
