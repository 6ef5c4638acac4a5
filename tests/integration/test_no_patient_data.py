"""Patient data stays in the values of the topics that are for it: not in logs, keys, headers, metrics or the audit trail."""

import contextlib
import itertools
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from certificates import Authority
from reading import stored
from running_stack import DOSESTREAM, RunningStack, wait_until
from scraping import get

from dosestream.audit.trail import TOPIC
from dosestream.cli import watch
from dosestream.cli.service import SERVICES
from dosestream.client.send import MllpSender
from dosestream.events.codec import Codec, CodecError
from dosestream.events.records import Audit
from dosestream.hl7.framing import VT, frame
from dosestream.settings import KafkaSettings
from dosestream.simulate.day import plan
from dosestream.simulate.play import Ports, play
from dosestream.simulate.timeline import HL7

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

# Shorter words are found everywhere.
LENGTH = 4
# Somebody whose messages are wrong in every way that is logged.
NAME, IDENTIFIER, BORN = "Wrongmessage^Wilhelmina", "WM4711-0815", "19440229"


def bad_messages() -> list[bytes]:
    """Refused, flagged or odd, each naming the patient."""
    pid = f"PID|||{IDENTIFIER}^^^HOSP||{NAME}||{BORN}\r"
    numbers = itertools.count(1)

    def adt(kind: str = "ADT^A08", rest: str = "", pid: str = pid, control: str = "") -> bytes:
        control = control or f"BAD{next(numbers)}-{time.time_ns()}"
        head = f"MSH|^~\\&|HIS|HOSP|DS|X|20260301||{kind}|{control}|P|2.5{rest}\r"
        return (head + f"EVN||2026\r{pid}").encode()

    same = f"SAME-{time.time_ns()}"
    return [
        adt("ADT^Z99"),
        adt(pid=f"PID|||||{NAME}||{BORN}\r"),
        adt(rest="||||||8859/1").replace(b"8859/1", b"ASCII") + "ZZZ|Ümlaut\r".encode("latin-1"),
        adt(rest="||||||KLINGON"),
        adt("ADT^A40"),
        adt(control=same),
        adt(control=same, pid=pid + "PV1||I\r"),
        adt("ORM^O01"),
        adt("ORU^R01"),
        adt(pid=pid.replace(BORN, f"{BORN}X")),
        pid.encode(),
    ]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own, with a TLS port, in which nothing is killed."""
    folder = tmp_path_factory.mktemp("quiet")
    authority = Authority(folder / "authority")
    server = authority.sign("server")
    config = folder / "dosestream.toml"
    config.write_text(f"[mllp.tls]\ncertificate = '{server.certificate}'\nkey = '{server.key}'\n")
    with RunningStack.start(folder, "--config", str(config)) as running:
        yield running


@pytest.fixture(scope="module")
def played(stack: RunningStack) -> frozenset[str]:
    """A day, and the wrong messages; what names their patients."""
    day = plan(4711, datetime.now(UTC).date())
    assert play(day.timeline, Ports.of(stack.ready)).surprises == ()
    mllp = stack.ready["mllp"]
    with MllpSender(mllp["host"], mllp["port"]) as sender:
        for message in bad_messages():
            assert sender.send(message)
    with socket.create_connection((mllp["host"], mllp["port"]), 10) as wire:
        # Junk, a frame that begins anew, one that never ends.
        wire.sendall(NAME.encode() + VT + NAME.encode() + frame(bad_messages()[0]) + VT + NAME.encode())
        assert wire.recv(1)
    wait_until(lambda: watch.behind(stack.ready["kafka"], stack.ready["postgres"]) == 0, "at rest", 120)
    words: set[str] = {*NAME.split("^"), IDENTIFIER, BORN}
    for step in day.timeline:
        words.update(in_hl7(step.body) if step.channel == HL7 else in_dicom(step.body))
    found = frozenset(form for word in words if len(word) >= LENGTH for form in forms(word))
    assert len(found) > 200
    return found


# Where a patient is named: field of a segment to how many of its components say who.
WHERE = {
    "PID": {2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 1, 9: 2, 18: 1, 19: 1},
    "MRG": {1: 1, 4: 1, 7: 2},
}


def in_hl7(body: bytes) -> Iterator[str]:
    """Names, identifiers and birth dates of PID and MRG."""
    for segment in body.decode("latin-1" if b"8859/1" in body else "utf-8").split("\r"):
        values = segment.split("|")
        for place, count in WHERE.get(values[0], {}).items():
            for repetition in values[place].split("~") if place < len(values) else ():
                yield from repetition.split("^")[:count]


def in_dicom(body: bytes) -> Iterator[str]:
    """The same of an instance."""
    data_set = pydicom.dcmread(BytesIO(body), stop_before_pixels=True, force=True)
    yield from str(data_set.get("PatientName", "")).split("^")[:2]
    yield str(data_set.get("PatientID", ""))
    yield str(data_set.get("PatientBirthDate", ""))


def forms(word: str) -> Iterator[str]:
    """How it may be written."""
    yield from (word, word.upper())
    if re.fullmatch(r"\d{8}", word):
        yield f"{word[:4]}-{word[4:6]}-{word[6:]}"


def named(words: Iterable[str], text: str) -> set[str]:
    """Which of the words stand in the text as words of their own."""
    alternatives = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return set(re.findall(rf"(?<!\w)(?:{alternatives})(?!\w)", text))


def messages(stack: RunningStack) -> Iterator[tuple[str, bytes, list[tuple[str, bytes]], bytes]]:
    """Topic, key, headers and value of every record of every topic of ours."""
    for one in stored(
        KafkaSettings(bootstrap=stack.ready["kafka"]), lambda topic: topic.startswith("radiology.")
    ):
        yield one.topic(), one.key() or b"", one.headers() or [], one.value() or b""


def test_the_search_finds_what_is_there() -> None:
    words = set(forms("19440229")) | set(forms("Wilhelmina")) | {"WM4711-0815"}
    assert named(words, "born 1944-02-29, WILHELMINA (WM4711-0815)") == {
        "1944-02-29",
        "WILHELMINA",
        "WM4711-0815",
    }
    assert named(words, "a19440229f") == set()


def test_no_log_names_a_patient(stack: RunningStack, played: frozenset[str]) -> None:
    logs = {
        path.name: path.read_text(errors="replace")
        for path in (stack.data_dir / "logs").rglob("*")
        if path.is_file()
    }
    assert {"ingest.log", "arrivals.log", "reconciler.log"} <= logs.keys()
    assert "control_id_reused" in logs["ingest.log"], "the wrong messages are in the log"
    logs["up"] = stack.output()
    assert {name: found for name, text in logs.items() if (found := named(played, text))} == {}


def test_no_metric_names_a_patient(stack: RunningStack, played: frozenset[str]) -> None:
    pages = {name: get(f"{url}/metrics")[1] for name, url in stack.ready["metrics"].items()}
    assert set(SERVICES) == pages.keys()
    for name, count in (
        ("ingest", "dosestream_messages_total"),
        ("arrivals", "dosestream_messages_total"),
        ("reconciler", "dosestream_source_silent_seconds"),
    ):
        assert f"{count}{{" in pages[name]
    assert {name: found for name, text in pages.items() if (found := named(played, text))} == {}


def test_no_key_and_no_header_names_a_patient(stack: RunningStack, played: frozenset[str]) -> None:
    seen: dict[str, set[str]] = {}
    texts: dict[str, list[str]] = {}
    for topic, key, headers, _ in messages(stack):
        pairs = (f"{name}={(value or b'').decode(errors='replace')}" for name, value in headers)
        texts.setdefault(topic, []).append(" ".join([key.decode(errors="replace"), *pairs]))
    assert {"radiology.hl7.raw.v1", "radiology.study.v1", "radiology.dose.v1", TOPIC} <= texts.keys()
    for topic, found in texts.items():
        seen[topic] = named(played, "\n".join(found))
    assert {topic: found for topic, found in seen.items() if found} == {}


def test_no_audit_record_names_a_patient_and_every_receipt_has_one(
    stack: RunningStack, played: frozenset[str]
) -> None:
    services = {"radiology.hl7.raw.v1": "ingest", "radiology.dicom.raw.v1": "arrivals"}

    def read() -> tuple[list[Audit], list[str]]:
        """The trail, and for each raw record the service that stored it."""
        records, raw = [], []
        for topic, _, _, value in messages(stack):
            if topic in services:
                raw.append(services[topic])
            elif topic == TOPIC:
                with contextlib.suppress(CodecError):
                    records.append(Codec().decode(value, Audit))
        return records, raw

    def receipts_of(records: list[Audit]) -> list[Audit]:
        return [record for record in records if record.kind == "receipt"]

    def positions(receipts: list[Audit]) -> set[tuple[str, int, int]]:
        return {(r.service, r.raw_partition, r.raw_offset) for r in receipts if r.raw_offset >= 0}

    def gathered() -> bool:
        """Records of the trail gather for a while before they are sent."""
        records, raw = read()
        return len(positions(receipts_of(records))) >= len(raw)

    wait_until(gathered, "a receipt for every raw record")
    records, raw = read()
    text = "\n".join(str(getattr(record, f.name)) for record in records for f in fields(record))
    assert named(played, text) == set()
    receipts = receipts_of(records)
    assert {record.service for record in receipts} == {"ingest", "arrivals"}
    assert {"AA", "AE", "AR", "0000"} <= {record.answer for record in receipts}
    assert sorted(service for service, *_ in positions(receipts)) == sorted(raw)


def test_the_ready_file_says_where_tls_is_heard_and_send_finds_it(
    stack: RunningStack, tmp_path: Path
) -> None:
    tls = stack.ready["mllp_tls"]
    assert tls["port"] not in (0, stack.ready["mllp"]["port"])
    message = tmp_path / "message.hl7"
    message.write_bytes(bad_messages()[9])
    authority = stack.ready_file.parent / "authority" / "authority.pem"
    sent = subprocess.run(
        [
            DOSESTREAM,
            "send",
            str(message),
            "--to",
            f"{tls['host']}:{tls['port']}",
            "--tls",
            "--ca",
            str(authority),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (sent.returncode, sent.stdout.split()[-1:]) == (0, ["AA"]), sent.stdout + sent.stderr
