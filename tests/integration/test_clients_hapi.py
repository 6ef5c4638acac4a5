"""HAPI's client against ingest: one message at a time, and several under way over one connection."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_ingest import Ingest
from varied_messages import CASES, check_topics

from dosestream.embedded import jars
from dosestream.settings import KafkaSettings

pytestmark = pytest.mark.stack

PEERS = Path(__file__).parents[2] / "bench" / "peers"


@pytest.fixture(scope="module")
def hapi() -> str:
    """The class path of HAPI and its client."""
    build = [sys.executable, str(PEERS / "maven.py"), str(PEERS / "hapi")]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"HAPI's client cannot be built: {done.stderr.strip()}")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def ingest(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    service = Ingest(kafka, tmp_path_factory.mktemp("ingest"))
    yield service
    assert service.stop() == 0


@pytest.mark.parametrize("threads", [1, 8])
def test_hapi_hears_the_answer_to_each(
    hapi: str, ingest: Ingest, kafka: KafkaSettings, tmp_path: Path, threads: int
) -> None:
    sender = f"J{secrets.token_hex(6)}"
    # It waits for one answer after each message.
    cases = [case for case in CASES if case.legal and len(case.codes) == 1]
    expected = {}
    for number, case in enumerate(cases):
        control = f"C{number:02}"
        (tmp_path / f"{control}.hl7").write_bytes(case.body(sender, control).encode())
        expected[control] = case
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    client = [
        jars.java(),
        quiet,
        "-cp",
        hapi,
        "Client",
        "127.0.0.1",
        str(ingest.port),
        str(tmp_path),
        str(threads),
    ]
    done = subprocess.run(client, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    heard = {line[1]: (line[2], line[3]) for line in (text.split("\t") for text in done.stdout.splitlines())}
    assert heard == {control: (case.codes[0], control) for control, case in expected.items()}, done.stderr
    # HAPI writes its messages anew, without the empty fields at a line's end.
    check_topics(kafka, sender, {control: (case, None) for control, case in expected.items()})
