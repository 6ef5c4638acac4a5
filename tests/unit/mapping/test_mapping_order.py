"""Order messages to order events: the IHE Radiology table, groups, and what finds an order again."""

from typing import Any

import pytest
from hl7_cases import events, normalised, utc

from dosestream.events.records import Order
from dosestream.mapping.defaults import ORDER, first_paths
from dosestream.settings import MappingSettings, Settings

PID = "PID|||4711^^^HOSP^MR||DOE^JOHN||19800102|M"
ORC = "ORC|NW|P1^EPIC|F1^RIS|G1|SC||1^once^^20260302090000^^S||20260301101500|||77^ORDER^ANNA^^^DR"
OBR = "OBR|1|P1^EPIC|F1^RIS|CTH^CT head^L^CTHP^Head protocol^RIS"


def orders(*segments: str, kind: str = "ORM^O01", settings: Settings | None = None) -> list[Order]:
    return [event for event in events(kind, *segments, settings=settings) if isinstance(event, Order)]


def obr(**fields: str) -> str:
    """An OBR with fields by number, such as f18="ACC1"."""
    values = {int(name[1:]): value for name, value in fields.items()}
    return "|".join(["OBR", *(values.get(number, "") for number in range(1, max(values, default=0) + 1))])


def ipc(accession: str, step: str = "S1") -> str:
    return f"IPC|{accession}^RIS&1.2&ISO|RP1|1.2.3.{step}|{step}|CT|CTHP^Head protocol^RIS|CT ROOM 1^x|BASEMENT|CT01AE~CT02AE"


FIELDS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("control code and status", (ORC, OBR), {"control_code": "NW", "order_status": "SC"}),
    ("order numbers with their issuers", (ORC, OBR), {
        "placer_order_number": "P1", "placer_issuer": "EPIC",
        "filler_order_number": "F1", "filler_issuer": "RIS", "placer_group_number": "G1"}),
    ("an issuer by its universal id", ("ORC|NW|P1^^1.2.3",), {"placer_issuer": "1.2.3"}),
    ("OBR's numbers where ORC has none", ("ORC|NW", "OBR|1|P2^E|F2^R"), {
        "placer_order_number": "P2", "filler_order_number": "F2",
        "paths": {"placer_order_number": "OBR-2.1", "placer_issuer": "OBR-2",
                  "filler_order_number": "OBR-3.1", "filler_issuer": "OBR-3"}}),
    ("the accession number of an ORM", (ORC, obr(f18="ACC1")), {"accession_number": "ACC1"}),
    ("an accession number is never cut", (ORC, obr(f18="A" * 20)), {"accession_number": "A" * 20}),
    ("the accession number of an ORM, where from", ("ORC|NW|P1", obr(f18="ACC1")), {
        "paths": {"accession_number": "OBR-18"}}),
    ("no accession number: OBR-3 is the filler's", (ORC, OBR), {"accession_number": ""}),
    ("requested procedure, step and modality of an ORM", (ORC, obr(f19="RP1", f20="SPS1", f24="MR")), {
        "requested_procedure_id": "RP1", "scheduled_step_id": "SPS1", "modality": "MR"}),
    ("the study UID of an ORM", (ORC, OBR, "ZDS|1.2.3^100^Application^DICOM"), {"study_instance_uid": "1.2.3"}),
    ("IPC gives accession, issuer, procedure, study, step and modality", (ORC, OBR, ipc("ACC9")), {
        "accession_number": "ACC9", "accession_issuer": "RIS", "requested_procedure_id": "RP1",
        "study_instance_uid": "1.2.3.S1", "scheduled_step_id": "S1", "modality": "CT",
        "step_code": "CTHP", "step_meaning": "Head protocol", "step_scheme": "RIS",
        "station_name": "CT ROOM 1", "station_location": "BASEMENT", "station_ae_title": "CT01AE"}),
    ("IPC comes before OBR", (ORC, obr(f18="OLD", f24="MR"), ipc("ACC9")), {
        "accession_number": "ACC9", "modality": "CT"}),
    ("the procedure", (ORC, OBR), {
        "procedure_code": "CTH", "procedure_meaning": "CT head", "procedure_scheme": "L",
        "step_code": "CTHP", "step_meaning": "Head protocol", "step_scheme": "RIS"}),
    ("OBR-44 gives the whole procedure or nothing of it", (ORC, obr(f4="CTH^CT head^L", f44="70450^^C4")), {
        "procedure_code": "70450", "procedure_meaning": "", "procedure_scheme": "C4"}),
    ("scheduled by ORC-7.4", (ORC, OBR), {"scheduled_at": utc("2026-03-02T09:00")}),
    ("scheduled by TQ1-7 first", (ORC, "TQ1|||||||20260303080000||R", OBR), {
        "scheduled_at": utc("2026-03-03T08:00"), "priority": "ROUTINE"}),
    ("scheduled by OBR-27.4", ("ORC|NW|P1", obr(f27="^^^20260304")), {
        "scheduled_at": utc("2026-03-04T00:00"), "paths": {"scheduled_at": "OBR-27.4"}}),
    ("scheduled by OBR-36", ("ORC|NW|P1", obr(f36="20260305")), {"scheduled_at": utc("2026-03-05T00:00")}),
    ("a schedule that is no time is passed over", ("ORC|NW|P1|||||^^^soon", obr(f36="20260305")), {
        "scheduled_at": utc("2026-03-05T00:00"), "scheduled_cleared": False}),
    ("a cleared schedule", ('ORC|NW|P1|||||^^^""', obr(f36="20260305")), {
        "scheduled_at": None, "scheduled_cleared": True}),
    ("ordered by ORC-9", (ORC, OBR), {
        "ordered_at": utc("2026-03-01T10:15"), "event_time": utc("2026-03-01T10:15"), "event_time_path": "ORC-9"}),
    ("ordered by ORC-15", ("ORC|NW|P1" + "|" * 13 + "20260227",), {
        "ordered_at": utc("2026-02-27T00:00"), "event_time_path": "MSH-7"}),
    ("priority stat", (ORC, OBR), {"priority": "STAT"}),
    ("priority as soon as possible is high", ("ORC|NW|P1|||||^^^^^A",), {"priority": "HIGH"}),
    ("priority timing critical is medium", ("ORC|NW|P1|||||^^^^^T",), {"priority": "MEDIUM"}),
    ("a priority nobody lists says nothing", ("ORC|NW|P1|||||^^^^^PRN",), {"priority": ""}),
    ("the reason's text", (ORC, obr(f31="R51^Headache^I10")), {"reason": "Headache"}),
    ("the reason as free text", (ORC, obr(f31="Headache \\T\\ vertigo")), {"reason": "Headache & vertigo"}),
    ("allergies and state", (ORC, obr(f12="PREGNANT", f13="IODINE")), {
        "allergies": "IODINE", "patient_state": "PREGNANT"}),
    ("who asks: OBR-16, else ORC-12", (ORC, OBR), {"requesting_physician": "ORDER^ANNA^^DR"}),
    ("who asks: OBR-16 first", (ORC, obr(f16="5^ASK^BOB")), {"requesting_physician": "ASK^BOB"}),
    ("who performs, in subcomponents", (ORC, obr(f34="9&TECH&TINA&Q&JR&MS^2026")), {
        "performing_physician": "TECH^TINA^Q^MS^JR"}),
    ("who performs, in components", (ORC, obr(f34="9^TECH^TINA")), {"performing_physician": "TECH^TINA"}),
    ("who refers", ("PV1||O||||||8^REF^RUTH", ORC, OBR), {"referring_physician": "REF^RUTH"}),
    ("the station by ORC-18", ("ORC|NW|P1" + "|" * 16 + "ROOM7",), {"station_name": "ROOM7"}),
    ("the visit", ("PV1||O|R1^B2||||||||||||||||V9^^^ADT", ORC), {
        "visit_number": "V9", "visit_authority": "ADT", "location": "R1^B2"}),
    ("a cleared reason", (ORC, obr(f31='""')), {"reason": '""'}),
]  # fmt: skip


@pytest.mark.parametrize(("segments", "expected"), [f[1:] for f in FIELDS], ids=[f[0] for f in FIELDS])
def test_field(segments: tuple[str, ...], expected: dict[str, Any]) -> None:
    (order,) = orders(PID, *segments)
    found = {name: getattr(order, name) for name in expected}
    if "paths" in expected:
        found["paths"] = {name: path for name, path in order.paths.items() if name in expected["paths"]}
    assert found == expected


BODY = [
    ("weight by LOINC", "OBX|1|NM|29463-7^Body weight^LN||72.5|kg", ("72.5", "")),
    ("weight by the other LOINC", "OBX|1|NM|3141-9||72|kg", ("72", "")),
    ("weight by its name", "OBX|1|NM|^BODY WEIGHT||72|kg", ("72", "")),
    ("grams", "OBX|1|NM|29463-7||3250|g", ("3.25", "")),
    ("pounds", "OBX|1|NM|29463-7||100|[lb_av]", ("45.359237", "")),
    ("weight without unit is in kg", "OBX|1|NM|29463-7||80", ("80", "")),
    ("height in cm", "OBX|1|NM|8302-2||175|cm", ("", "1.75")),
    ("height in m", "OBX|1|NM|3137-7||1.80|m", ("", "1.8")),
    ("inches", "OBX|1|NM|8302-2||70|in", ("", "1.778")),
    ("a height without unit says nothing", "OBX|1|NM|8302-2||175", ("", "")),
    ("a unit nobody lists says nothing", "OBX|1|NM|29463-7||12|stone", ("", "")),
    ("no number says nothing", "OBX|1|NM|29463-7||heavy|kg", ("", "")),
    ("not a number says nothing", "OBX|1|NM|29463-7||NaN|kg", ("", "")),
    ("nobody weighs nothing", "OBX|1|NM|29463-7||0|kg", ("", "")),
    ("a cleared weight", 'OBX|1|NM|29463-7||""|kg', ('""', "")),
    ("another observation", "OBX|1|NM|718-7||14|g", ("", "")),
]


@pytest.mark.parametrize(("obx", "expected"), [b[1:] for b in BODY], ids=[b[0] for b in BODY])
@pytest.mark.parametrize("place", ["in the order", "before the orders"])
def test_body(obx: str, expected: tuple[str, str], place: str) -> None:
    segments = (PID, ORC, OBR, obx) if place == "in the order" else (PID, obx, ORC, OBR)
    (order,) = orders(*segments)
    assert (order.weight_kg, order.height_m) == expected


def numbers(found: list[Order]) -> list[tuple[str, str, str]]:
    return [(o.filler_order_number, o.accession_number, o.study_instance_uid) for o in found]


GROUPS = [
    ("each ORC is an order", ("ORC|NW||F1", obr(f18="A1"), "ORC|NW||F2", obr(f18="A2")),
     [("F1", "A1", ""), ("F2", "A2", "")]),
    ("an OBR without ORC is an order", (obr(f3="F1"), obr(f3="F2")), [("F1", "", ""), ("F2", "", "")]),
    ("a second OBR shares the ORC", ("ORC|NW||F1", obr(f18="A1"), obr(f18="A2")), [("F1", "A1", ""), ("F1", "A2", "")]),
    ("each IPC is an order", ("ORC|NW||F1", OBR, ipc("A1", "1"), ipc("A1", "2")),
     [("F1", "A1", "1.2.3.1"), ("F1", "A1", "1.2.3.2")]),
    ("the IPC of one ORC are not the next one's", ("ORC|NW||F1", OBR, ipc("A1", "1"), "ORC|NW||F2", obr(f18="A2")),
     [("F1", "A1", "1.2.3.1"), ("F2", "A2", "")]),
    ("a ZDS behind the last order is everybody's", ("ORC|NW||F1", OBR, "ORC|NW||F2", OBR, "ZDS|1.2.9"),
     [("F1", "", "1.2.9"), ("F2", "", "1.2.9")]),
    ("a ZDS in the middle is its order's", ("ORC|NW||F1", OBR, "ZDS|1.2.9", "ORC|NW||F2", OBR),
     [("F1", "", "1.2.9"), ("F2", "", "")]),
    ("each its own ZDS", ("ORC|NW||F1", "ZDS|1.2.8", "ORC|NW||F2", "ZDS|1.2.9"), [("F1", "", "1.2.8"), ("F2", "", "1.2.9")]),
    ("prior results are no orders", ("ORC|NW||F1", OBR, "PID|||4711", "OBR|1||OLD", "ORC|PR||OLDER"), [("F1", "", "")]),
    ("an order behind prior results is one", ("ORC|NW||F1", OBR, "PID|||4711", "OBR|1||OLD", "ORC|NW||F2"),
     [("F1", "", ""), ("F2", "", "")]),
]  # fmt: skip


@pytest.mark.parametrize(("segments", "expected"), [g[1:] for g in GROUPS], ids=[g[0] for g in GROUPS])
@pytest.mark.parametrize("kind", ["ORM^O01", "OMG^O19", "OMI^O23^OMI_O23", "OML^O21"])
def test_groups(kind: str, segments: tuple[str, ...], expected: list[tuple[str, str, str]]) -> None:
    found = orders(PID, *segments, kind=kind)
    assert numbers(found) == expected
    assert len({order.event_id for order in found}) == len(found)


def test_an_order_without_pid_has_no_patient() -> None:
    (order,) = orders("ORC|SC|A1|B1||IP")
    assert order.patient is None


REFUSED = [
    ("no ORC and no OBR", "ORM^O01", (PID,), ("no_order", 0)),
    ("no number at all", "ORM^O01", (PID, "ORC|NW", "OBR|1|||CTH^CT head"), ("no_order_number", 0)),
    ("only cleared numbers", "ORM^O01", (PID, 'ORC|NW|""|""'), ("no_order_number", 0)),
    ("the other orders are taken", "OMG^O19", (PID, "ORC|NW", "ORC|NW|P1"), ("no_order_number", 1)),
]


@pytest.mark.parametrize(
    ("kind", "segments", "expected"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refused(kind: str, segments: tuple[str, ...], expected: tuple[str, int]) -> None:
    found = normalised(kind, *segments)
    assert found.rejection is not None
    assert (found.rejection.code, len(found.events)) == expected


def test_the_identity_of_an_order_does_not_depend_on_a_refused_one() -> None:
    found = normalised("ORM^O01", PID, "ORC|NW", "ORC|NW|P1")
    both = orders(PID, "ORC|NW|P0", "ORC|NW|P1")
    ((_, event),) = found.events
    assert isinstance(event, Order)
    assert event.placer_order_number == both[1].placer_order_number
    assert event.event_id not in {order.event_id for order in both}  # other bytes, other identity


LABORATORY = (
    *(
        "ORC|NW|P1|F1",
        "TQ1|1||||||20260303080000",
        "OBR|1|||A^one^L",
        "NTE|1||note",
        "SPM|1",
        "OBX|1|NM|X||1",
    ),
    *("ORC|NW|P2|F2", "OBR|2|||B^two^L", "PID|||4711", "ORC|PR||OLD", "OBR|1||OLD", "OBX|1|NM|X||2"),
)


def test_a_laboratory_order_is_an_order_for_each_group() -> None:
    found = orders(PID, *LABORATORY, kind="OML^O21")
    assert [(o.placer_order_number, o.filler_order_number, o.procedure_code) for o in found] == [
        ("P1", "F1", "A"),
        ("P2", "F2", "B"),
    ]
    assert [o.scheduled_at for o in found] == [utc("2026-03-03T08:00"), None]
    assert len({o.event_id for o in found}) == 2


RESPONSES = [
    ("its order numbers are taken", ("MSA|AA|7", "ORC|NA|P1|F1"), 1, ""),
    ("without ORC it is ignored", ("MSA|AA|7",), 0, "a response without order numbers"),
    ("without numbers it is ignored", ("MSA|AA|7", "ORC|OK"), 0, "a response without order numbers"),
]


@pytest.mark.parametrize(
    ("segments", "count", "ignored"), [r[1:] for r in RESPONSES], ids=[r[0] for r in RESPONSES]
)
@pytest.mark.parametrize("kind", ["ORR^O02", "ORG^O20", "ORI^O24", "ORL^O22"])
def test_response(kind: str, segments: tuple[str, ...], count: int, ignored: str) -> None:
    found = normalised(kind, *segments)
    assert (len(found.events), found.ignored, found.rejection) == (count, ignored, None)


FALLBACK = Settings(mapping=MappingSettings(accession_fallback=("OBR-3.1", "ORC-2.1")))
FALLBACKS = [
    ("the filler number", ("ORC|NW|P1|F1", "OBR|1||F1^RIS"), "F1", "OBR-3.1"),
    ("the placer number where that is empty", ("ORC|NW|P1", "OBR|1"), "P1", "ORC-2.1"),
    ("not where OBR-18 is valued", ("ORC|NW|P1|F1", obr(f3="F1", f18="A1")), "A1", "OBR-18"),
]


@pytest.mark.parametrize(
    ("segments", "expected", "path"), [f[1:] for f in FALLBACKS], ids=[f[0] for f in FALLBACKS]
)
def test_the_sites_place_for_accession_numbers(segments: tuple[str, ...], expected: str, path: str) -> None:
    (order,) = orders(*segments, settings=FALLBACK)
    assert (order.accession_number, order.paths["accession_number"]) == (expected, path)


def test_every_text_field_of_an_order_is_read_somewhere() -> None:
    read = {name for r in ORDER for place in r.places for name, _, _ in place.columns}
    text = {name for name, kind in Order.__annotations__.items() if kind is str}
    envelope = {"event_id", "source", "control_id", "message_type", "event_time_path"}
    assert text - envelope - read == {"weight_kg", "height_m"}
    assert read <= set(first_paths())
