"""What is remembered of a sender is what its own message says."""

import pytest

from dosestream.hl7.acceptance import check
from dosestream.hl7.header import Header, read_header
from dosestream.mapping.sender import LONGEST_REMEMBERED, MOST_REMEMBERED, Senders
from dosestream.settings import Settings, SourceSettings, source_for_hl7

SETTINGS = Settings(source=(SourceSettings(name="ris", sending_application="RIS", processing_ids=("P",)),))
HEADS = [
    "MSH|^~\\&|RIS|HOSP|||20260301||ORM^O01|42|P|2.5",
    "MSH|^~\\&|RIS|HOSP|||20260301||ORM^O01|42|T|2.5",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT^A08|42|T|2.5",
    "MSH|^~\\&|HIS|WARD|||20260301||ADT^A08|42|P|2.5",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT^A08|42|P|7",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT^A08||P|2.5",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT^A08| |P|2.5",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT^A08|42|P",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT^A08|42",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT$A08|42|P|2.5",
    "MSH|$~\\&|HIS|HOSP|||20260301||ADT$A08|42|P|2.5",
    "MSH|^~\\&|HIS|HOSP|||20260301||ADT^XXX|42|P|2.5",
    "MSH|^~\\&|" + "X" * LONGEST_REMEMBERED + "|HOSP|||20260301||ADT^A08|42|P|2.5",
    "MSH|^~\\&",
]


def head(text: str) -> Header:
    found = read_header(text.encode())
    assert found is not None
    return found


@pytest.mark.parametrize("given", [None, SourceSettings(name="x", processing_ids=("T",))], ids=["", "named"])
def test_a_remembered_sender_is_the_one_that_would_be_found(given: SourceSettings | None) -> None:
    senders = Senders(SETTINGS)
    for text in (*HEADS, *reversed(HEADS)):
        header = head(text)
        found = senders.of(header, given)
        assert found.source == (given or source_for_hl7(SETTINGS, header.party(3), header.party(4)))
        assert found.refusal == check(header, found.source.processing_ids)
        assert found.kind == f"{found.code}^{found.trigger}"
        assert (found.code, found.trigger) == (header.word(9, 1), header.word(9, 2))


def test_a_source_that_is_given_is_not_taken_for_the_one_in_the_header() -> None:
    senders, other = Senders(SETTINGS), SourceSettings(name="other")
    assert [senders.of(head(HEADS[0]), one).source.name for one in (None, other, None)] == [
        "ris",
        "other",
        "ris",
    ]


def test_senders_that_change_their_names_do_not_fill_the_memory() -> None:
    senders = Senders(SETTINGS)
    for number in range(MOST_REMEMBERED + 2):
        text = HEADS[2].replace("HIS", f"H{number}")
        assert senders.of(head(text), None).source.name == f"H{number}|HOSP"
    assert len(senders) == 2
    assert senders.of(head(HEADS[-2]), None).source.name.startswith("XXX")
    assert len(senders) == 2, "what is long is not remembered"
