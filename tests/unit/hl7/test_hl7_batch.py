"""Batches: every message comes out, and trailers that count otherwise are told."""

from dataclasses import dataclass

import pytest

from dosestream.hl7.batch import is_batch, read_batch

MSH = b"MSH|^~\\&|RIS|HOSP|||20260301||ADT^A08|%d|P|2.5\rPID|1\r"


@dataclass(frozen=True)
class Case:
    name: str
    sent: bytes
    messages: int
    mistakes: tuple[str, ...] = ()


ONE, TWO = MSH % 1, MSH % 1 + MSH % 2
CASES = [
    Case("a batch with its trailer", b"BHS|^~\\&\r" + TWO + b"BTS|2\r", 2),
    Case("a batch without trailer", b"BHS|^~\\&\r" + TWO, 2),
    Case("a trailer that counts nothing", b"BHS|^~\\&\r" + TWO + b"BTS\r", 2),
    Case("no messages", b"BHS|^~\\&\rBTS|0\r", 0),
    Case("a file without batches", b"FHS|^~\\&\rFTS|0\r", 0),
    Case(
        "a file of two batches",
        b"FHS|^~\\&\rBHS|^~\\&\r" + ONE + b"BTS|1\rBHS|^~\\&\r" + TWO + b"BTS|2\rFTS|2\r",
        3,
    ),
    Case("LF line ends and another separator", b"BHS#^~\\&\n" + ONE.replace(b"\r", b"\n") + b"BTS#1#x\n", 1),
    Case("too many counted", b"BHS|^~\\&\r" + TWO + b"BTS|3\r", 2, ("BTS-1",)),
    Case("no number", b"BHS|^~\\&\r" + ONE + b"BTS|one\r", 1, ("BTS-1",)),
    Case("a batch is missing", b"FHS|^~\\&\rBHS|^~\\&\r" + ONE + b"BTS|1\rFTS|2\r", 1, ("FTS-1",)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_batch(case: Case) -> None:
    assert is_batch(case.sent)
    found = read_batch(case.sent)
    assert len(found.messages) == case.messages
    assert all(message.startswith(b"MSH") and b"BTS" not in message for message in found.messages)
    assert tuple(mistake.split()[0] for mistake in found.mistakes) == case.mistakes
