"""Names of people with several representations: XPN and XCN repetitions to the groups of a DICOM PN."""

from pathlib import Path

import pytest
from hl7_cases import events

from dosestream.events.records import Order, Patient
from dosestream.hl7.batch import split
from dosestream.mapping.normalise import interpret
from dosestream.settings import Settings

NAMES = [
    ("one name", "YAMADA^TARO", "YAMADA^TARO"),
    ("alphabetic, ideographic, phonetic", "YAMADA^TARO^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P", "YAMADA^TARO=山田^太郎=やまだ^たろう"),
    ("in any order", "やまだ^たろう^^^^^L^P~YAMADA^TARO^^^^^L^A~山田^太郎^^^^^L^I", "YAMADA^TARO=山田^太郎=やまだ^たろう"),
    ("a first repetition that says nothing is alphabetic", "YAMADA^TARO~山田^太郎^^^^^L^I", "YAMADA^TARO=山田^太郎"),
    ("ideographic alone", "山田^太郎^^^^^L^I", "=山田^太郎"),
    ("phonetic alone", "ヤマダ^タロウ^^^^^L^P", "==ヤマダ^タロウ"),
    ("another name of the person is none of it", "DOE^JANE^^^^^L~SMITH^JANE^^^^^M", "DOE^JANE"),
    ("the first of each representation", "A^B^^^^^L^A~C^D^^^^^L^A~E^F^^^^^L^I", "A^B=E^F"),
    ("an unknown representation is none", "DOE^JOHN^^^^^L^X", "DOE^JOHN"),
    ("prefix before suffix in every group", "DOE^JOHN^Q^JR^DR^^L^A~山田^太郎^^^先生^^L^I", "DOE^JOHN^Q^DR^JR=山田^太郎^^先生"),
    ("an equals sign is a blank", "DO=E^JOHN", "DO E^JOHN"),
    ("a cleared name", '""', '""'),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), [n[1:] for n in NAMES], ids=[n[0] for n in NAMES])
def test_a_patients_name(sent: str, expected: str) -> None:
    (event,) = events("ADT^A08", f"PID|||1||{sent}|")
    assert isinstance(event, Patient)
    assert event.patient is not None
    assert event.patient.name == expected
    assert event.paths == {}


def test_a_physicians_name() -> None:
    name = "9^YAMADA^TARO" + "^" * 12 + "A~9^山田^太郎" + "^" * 12 + "I"
    (event,) = events("ORM^O01", "PV1||O||||||" + name, "ORC|NW|P1", "OBR|1" + "|" * 15 + name)
    assert isinstance(event, Order)
    assert event.referring_physician == event.requesting_physician == "YAMADA^TARO=山田^太郎"


def test_the_japanese_samples(test_data: Path) -> None:
    expected = {
        "211.102.a04": "oomiya^shougo=大宮^省吾=オオミヤ^ショウゴ",
        "221.102.a04": "=功刀^幸一=クヌギ^コウイチ",
        "242.102.a04": "==コバヤシ^ミサコ",
    }
    for name, pn in expected.items():
        (body,) = split((test_data / "hl7" / "mesa" / f"rad_adt_2xx-j_{name}.hl7").read_bytes())
        (draft,) = interpret(body, Settings()).drafts
        assert draft.fields["patient"].name == pn
