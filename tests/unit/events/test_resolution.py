"""A rejection waits until it is resolved, whatever is told twice."""

import pytest

from dosestream.events.records import Rejection
from dosestream.events.resolution import resolved, waiting


def rejection(name: str, offset: int = 1, at: int = 0) -> Rejection:
    return Rejection(
        event_id=name,
        source="ris",
        control_id="1",
        received_at=at,
        raw_partition=0,
        raw_offset=offset,
        transport="mllp",
        code="no_order",
        reason="r",
        body=b"MSH|",
    )


A, B = rejection("a"), rejection("b", 2, at=-5)
A_AGAIN = rejection("a", 9)
FRAME = rejection("f", -1)

CASES: dict[str, tuple[list[Rejection], list[Rejection]]] = {
    "the oldest receipt comes first": ([A, B], [B, A]),
    "an identical one waits once": ([A, A_AGAIN], [A]),
    "a resolved one waits no more": ([A, B, resolved(A, "retried", 7)], [B]),
    "a resolution ends every receipt before it": ([A, A_AGAIN, resolved(A, "retried", 7)], []),
    "the same raw record told again by a repair waits no more": ([A, resolved(A, "retried", 7), A], []),
    "the same bytes refused again later wait again": ([A, resolved(A, "retried", 7), A_AGAIN], [A_AGAIN]),
    "bytes that were never stored raw wait by themselves": ([FRAME, resolved(FRAME, "x", 7), FRAME], [FRAME]),
    "a resolution of something never seen ends nothing": ([resolved(B, "retried", 7), A], [A]),
}


@pytest.mark.parametrize(("records", "expected"), CASES.values(), ids=CASES.keys())
def test_what_waits_is_what_no_record_resolved(records: list[Rejection], expected: list[Rejection]) -> None:
    assert waiting(records) == expected


def test_a_resolution_holds_no_patient_data() -> None:
    assert resolved(A, "retried", 7).body == b""
