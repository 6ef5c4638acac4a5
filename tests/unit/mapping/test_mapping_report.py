"""Reports (ORU) and documents (MDM) to report events: text, status, and which order each is about."""

from typing import Any

import pytest
from hl7_cases import events, normalised, utc

from dosestream.events.records import Report
from dosestream.settings import MappingSettings, Settings

PID = "PID|||4711^^^HOSP^MR||DOE^JOHN||19800102|M"
OBR = "OBR|1|P1^EPIC|F1^RIS|CTH^CT head^L" + "|" * 14 + "ACC1^RIS||||20260301110000|||F"


def reports(*segments: str, kind: str = "ORU^R01", settings: Settings | None = None) -> list[Report]:
    return [event for event in events(kind, *segments, settings=settings) if isinstance(event, Report)]


def obx(value: str, kind: str = "TX", status: str = "F", code: str = "GDT^Report") -> str:
    return f"OBX|1|{kind}|{code}||{value}||||||{status}"


FIELDS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("the order it is about", (OBR,), {
        "trigger": "R01", "placer_order_number": "P1", "placer_issuer": "EPIC",
        "filler_order_number": "F1", "filler_issuer": "RIS",
        "accession_number": "ACC1", "accession_issuer": "RIS"}),
    ("the procedure", (OBR,), {
        "procedure_code": "CTH", "procedure_meaning": "CT head", "procedure_scheme": "L"}),
    ("OBR says which order is meant, before ORC", ("ORC|RE|P0|F0", OBR), {
        "placer_order_number": "P1", "filler_order_number": "F1"}),
    ("the ORC's numbers where the OBR has none", ("ORC|RE|P0^E|F0^R", "OBR|1"), {
        "placer_order_number": "P0", "filler_order_number": "F0", "filler_issuer": "R"}),
    ("status and time of OBR", (OBR,), {"status": "F", "reported_at": utc("2026-03-01T11:00")}),
    ("when it happened is when its status changed", (OBR,), {
        "event_time": utc("2026-03-01T11:00"), "event_time_path": "OBR-22"}),
    ("else when the message was made", ("OBR|1|P1",), {
        "event_time": utc("2026-03-01T12:00"), "event_time_path": "MSH-7", "reported_at": None}),
    ("the interpreter, as an NDL", ("OBR|1|P1" + "|" * 30 + "77&DOE&ANNA&&&DR",), {"author": "DOE^ANNA^^DR"}),
    ("the interpreter, as an XCN", ("OBR|1|P1" + "|" * 30 + "77^DOE^ANNA^^^DR",), {"author": "DOE^ANNA^^DR"}),
    ("one line a segment, empty ones between", (OBR, obx("FINDINGS"), obx(""), obx("  none")), {
        "text": "FINDINGS\n\n  none"}),
    ("one line a repetition", (OBR, obx("one~two~~four")), {"text": "one\ntwo\n\nfour"}),
    ("line breaks and escapes of formatted text", (OBR, obx(r"5 mm\.br\a \T\ b\X0D\c", "FT")), {
        "text": "5 mm\na & b\nc"}),
    ("a delimiter that should have been escaped stays", (OBR, obx("a^b & c", "ST")), {"text": "a^b & c"}),
    ("numbers and codes are no text", (OBR, obx("7", "NM"), obx("A^B", "CE"), obx("text")), {"text": "text"}),
    ("a document is counted, never copied", (
        OBR, obx("text"), obx("^application^pdf^Base64^QUJD", "ED"), obx("http://x/1^^image^PNG", "RP")), {
        "text": "text", "attachments": 2}),
    ("a note stays with its OBR, and with its OBX", (
        OBR, "NTE|1||history", obx("one"), "NTE|1||on one~more", obx("two")), {
        "text": "history\none\non one\nmore\ntwo"}),
    ("the note of what is no text is none either", (OBR, obx("7", "NM"), "NTE|1||low", obx("one")), {
        "text": "one"}),
    ("what was deleted or wrong is left out", (OBR, obx("old", status="D"), obx("bad", status="W"), obx("new")), {
        "text": "new"}),
    ("a cleared text", (OBR, obx('""')), {"text": '""'}),
    ("observations of a specimen are no report", (OBR, obx("one"), "SPM|1", obx("two")), {"text": "one"}),
    ("the study's UID", (
        "OBR|1|P1", obx("1.2.840.1", "ST", "", "110180^Study Instance UID^DCM"), obx("one", status="")), {
        "study_instance_uid": "1.2.840.1", "text": "one", "paths": {"study_instance_uid": "OBX-5"}}),
    ("the study's UID as an HD", (OBR, obx("^1.2.840.1^ISO", "HD", code="113014^DICOM Study^DCM")), {
        "study_instance_uid": "1.2.840.1"}),
    ("what is no UID is none", (OBR, obx("unknown", "ST", code="^Study Instance UID")), {
        "study_instance_uid": "", "text": ""}),
    ("ZDS gives the study before OBX", (
        OBR, obx("1.2.3", "HD", code="113014"), "ZDS|9.8.7^^Application^DICOM"), {"study_instance_uid": "9.8.7"}),
    ("no more final than the least final observation", (
        "OBR|1|P1", obx("one", status="F"), obx("two", status="P")), {
        "status": "P", "paths": {"status": "OBX-11"}}),
    ("corrected where one is and all are final", ("OBR|1|P1", obx("1"), obx("2", status="C")), {"status": "C"}),
    ("no status where nobody says one", ("OBR|1|P1", obx("1", status="")), {"status": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("segments", "expected"), [f[1:] for f in FIELDS], ids=[f[0] for f in FIELDS])
def test_of_a_result(segments: tuple[str, ...], expected: dict[str, Any]) -> None:
    (report,) = reports(PID, *segments)
    assert {name: getattr(report, name) for name in expected} == expected


TXA = "TXA|1|DI|TX|20260301101500|7^ACT^A|||20260301104500|9^DOE^ANNA|||DOC1^SYS|DOC0|P1^EPIC|F1^RIS||AU"
DOCUMENTS: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = [
    ("a notice", "MDM^T01", (TXA,), {
        "trigger": "T01", "document_number": "DOC1", "parent_document_number": "DOC0", "status": "AU",
        "placer_order_number": "P1", "filler_order_number": "F1", "filler_issuer": "RIS",
        "author": "DOE^ANNA", "reported_at": utc("2026-03-01T10:15"), "text": ""}),
    ("with content", "MDM^T02", (TXA, obx("one"), obx("two")), {"text": "one\ntwo"}),
    ("an edit", "MDM^T08", (TXA, obx("edited")), {"trigger": "T08", "text": "edited"}),
    ("a replacement names what it replaces", "MDM^T10", (TXA, obx("new")), {
        "trigger": "T10", "parent_document_number": "DOC0"}),
    ("a cancel needs the document's number only", "MDM^T11", ("TXA|1|DI" + "|" * 10 + "DOC1",), {
        "trigger": "T11", "document_number": "DOC1", "patient": None}),
    ("a document whose number is a UID alone", "MDM^T02", ("TXA|1" + "|" * 11 + "^^1.2.3^ISO",), {
        "document_number": "1.2.3"}),
    ("when it happened is when it was recorded", "MDM^T02", ("EVN||20260301111500", TXA), {
        "event_time": utc("2026-03-01T11:15"), "event_time_path": "EVN-2"}),
    ("the order's notes and status are not the document's", "MDM^T02", (
        "ORC|RE|P9", OBR, "NTE|1||of the order", TXA, obx("text")), {
        "text": "text", "status": "AU", "placer_order_number": "P1", "accession_number": "ACC1"}),
    ("the authenticator where the originator is but a name", "MDM^T02", (
        "TXA|1" + "|" * 8 + "AnnaDoe|||DOC1" + "|" * 10 + "9^DOE^ANNA",), {"author": "DOE^ANNA"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "segments", "expected"), [d[1:] for d in DOCUMENTS], ids=[d[0] for d in DOCUMENTS]
)
def test_of_a_document(kind: str, segments: tuple[str, ...], expected: dict[str, Any]) -> None:
    (report,) = reports(*segments, kind=kind)
    assert {name: getattr(report, name) for name in expected} == expected


@pytest.mark.parametrize("number", range(1, 12))
def test_every_document_event_is_taken(number: int) -> None:
    (report,) = reports(PID, TXA, kind=f"MDM^T{number:02d}")
    assert report.trigger == f"T{number:02d}"


def test_every_result_is_a_report_of_its_own() -> None:
    segments = (
        "ORC|RE|P1|F1",
        "OBR|1|P1|F1",
        obx("one"),
        "OBR|2|P1|F2",
        obx("two"),
        "ORC|RE|P3|F3",
        "OBR|3",
        obx("3"),
    )
    found = reports(PID, *segments)
    said = [(report.filler_order_number, report.text) for report in found]
    assert said == [("F1", "one"), ("F2", "two"), ("F3", "3")]
    assert len({report.event_id for report in found}) == 3


def test_every_patient_of_a_message_has_its_own_results() -> None:
    first, second = reports(PID, "ORC|RE|P1", "OBR|1", obx("one"), "PID|||2^^^HOSP", "OBR|1|P2", obx("two"))
    assert [r.patient and r.patient.identifiers[0].value for r in (first, second)] == ["4711", "2"]
    assert (first.placer_order_number, second.placer_order_number) == ("P1", "P2")


def test_a_document_about_two_orders_is_told_for_each() -> None:
    orders = ("ORC|RE|P1|F1", "OBR|1|P1|F1", "ORC|RE|P2|F2", "OBR|2|P2|F2")
    found = reports(PID, *orders, "TXA|1" + "|" * 11 + "DOC1", obx("text"), kind="MDM^T02")
    assert [(r.filler_order_number, r.document_number, r.text) for r in found] == [
        ("F1", "DOC1", "text"),
        ("F2", "DOC1", "text"),
    ]


def test_a_report_without_patient_is_a_report() -> None:
    (report,) = reports(OBR)
    assert report.patient is None


def test_the_sites_place_of_the_accession_number_holds_for_reports() -> None:
    site = Settings(mapping=MappingSettings(accession_fallback=("OBR-3.1",)))
    (report,) = reports(PID, "OBR|1|P1|F1", settings=site)
    assert (report.accession_number, report.paths) == ("F1", {"accession_number": "OBR-3.1"})


REJECTED = [
    ("a result without OBR", "ORU^R01", (PID, obx("one")), "no_report"),
    ("a document without TXA", "MDM^T02", (PID, obx("one")), "no_document"),
    ("a report of nothing and nobody", "ORU^R01", ("OBR|1", obx("one")), "no_report_number"),
]


@pytest.mark.parametrize(
    ("kind", "segments", "code"), [r[1:] for r in REJECTED], ids=[r[0] for r in REJECTED]
)
def test_rejected(kind: str, segments: tuple[str, ...], code: str) -> None:
    found = normalised(kind, *segments)
    assert found.events == ()
    assert found.rejection is not None
    assert found.rejection.code == code


def test_the_good_results_of_a_message_are_taken_beside_a_bad_one() -> None:
    found = normalised("ORU^R01", "OBR|1", obx("nobody's"), OBR, obx("one"))
    assert len(found.events) == 1
    assert found.rejection is not None
