"""ADT messages to patient events."""

from typing import Any

import pytest
from hl7_cases import at, events, normalised, utc

from dosestream.events.records import Identifier, Patient
from dosestream.settings import MllpSettings, Settings, SiteSettings, SourceSettings

EVN = "EVN||20260301110000||||20260301105900"
PID = "PID|||4711^^^HOSP^MR~999^^^&1.2.3&ISO^NI||DOE^JOHN^Q^III^DR||19800102|M"


def patient(*segments: str, kind: str = "ADT^A08", settings: Settings | None = None) -> Patient:
    (event,) = events(kind, *segments, settings=settings)
    assert isinstance(event, Patient)
    return event


FIELDS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("the trigger and what it does", (EVN, PID), {"trigger": "A08", "action": "update"}),
    ("EVN-2 is when it happened", (EVN, PID), {"event_time": utc("2026-03-01T11:00"), "event_time_path": "EVN-2"}),
    ("MSH-7 where EVN-2 is empty", ("EVN|", PID), {"event_time": utc("2026-03-01T12:00"), "event_time_path": "MSH-7"}),
    ("an EVN-2 that is no time is passed over", ("EVN||soon", PID), {"event_time_path": "MSH-7"}),
    ("MSH-7", (EVN, PID), {"message_time": utc("2026-03-01T12:00")}),
    ("the visit number", (PID, "PV1||I|W1^R2^B3||||^X|77^REF^ANNA|||||||||||V1^^^ADT"), {
        "visit_number": "V1", "visit_authority": "ADT", "patient_class": "I", "location": "W1^R2^B3",
        "referring_physician": "REF^ANNA", "paths": {},
    }),
    ("PID-18 where PV1-19 is empty", (PID + "||||||||||A1^^^FIN", "PV1||I"), {
        "visit_number": "A1", "visit_authority": "FIN",
        "paths": {"visit_number": "PID-18.1", "visit_authority": "PID-18"},
    }),
    ("the admission time", (PID, "PV1||I" + "|" * 42 + "20260228"), {"admitted_at": utc("2026-02-28T00:00")}),
    ("the visit number is not cleared by what is empty", (PID, "PV1||I"), {"visit_number": ""}),
    ("a cleared referring physician", (PID, 'PV1||I||||||""'), {"referring_physician": '""'}),
]  # fmt: skip


@pytest.mark.parametrize(("segments", "expected"), [f[1:] for f in FIELDS], ids=[f[0] for f in FIELDS])
def test_field(segments: tuple[str, ...], expected: dict[str, Any]) -> None:
    event = patient(*segments)
    assert {name: getattr(event, name) for name in expected} == expected


DEMOGRAPHICS = [
    ("every repetition of PID-3", PID, {
        "identifiers": (
            Identifier(authority="HOSP", value="4711", type_code="MR"),
            Identifier(authority="1.2.3", value="999", type_code="NI"),
        ),
    }),
    ("the namespace comes before the universal id", "PID|||1^^^NS&1.2&ISO", {
        "identifiers": (Identifier(authority="NS", value="1"),)}),
    ("an authority that is not named stays empty", "PID|||1", {"identifiers": (Identifier(authority="", value="1"),)}),
    ("a cleared repetition is no identifier", 'PID|||""~1', {"identifiers": (Identifier(authority="", value="1"),)}),
    ("PID-2 where PID-3 is empty", "PID||2^^^X", {"identifiers": (Identifier(authority="X", value="2"),)}),
    ("PID-4 where both are empty", "PID||||4^^^Y", {"identifiers": (Identifier(authority="Y", value="4"),)}),
    ("DICOM's order of name parts", PID, {"name": "DOE^JOHN^Q^DR^III"}),
    ("no trailing carets", "PID|||1||DOE^JOHN^^^", {"name": "DOE^JOHN"}),
    ("a prefix without a suffix", "PID|||1||DOE^JOHN^^^DR", {"name": "DOE^JOHN^^DR"}),
    ("the surname of a family name in parts", "PID|||1||VAN DER BERG&VAN DER&BERG^JAN", {"name": "VAN DER BERG^JAN"}),
    ("the first name of several", "PID|||1||DOE^J^^^^^L~ROE^J^^^^^A", {"name": "DOE^J"}),
    ("what a name cannot hold in DICOM is a blank", r"PID|||1||DO\S\E=X^J\E\K", {"name": "DO E X^J K"}),
    ("an empty name says nothing", "PID|||1||", {"name": ""}),
    ("a cleared name", 'PID|||1||""', {"name": '""'}),
    ("a birth date", PID, {"birth_date": "1980-01-02"}),
    ("a birth time", "PID|||1||||198001021130", {"birth_date": "1980-01-02"}),
    ("a birth date that is none", "PID|||1||||UNKNOWN", {"birth_date": ""}),
    ("a cleared birth date", 'PID|||1||||""', {"birth_date": '""'}),
    ("male", "PID|||1|||||M", {"sex": "M"}),
    ("female, in lower case", "PID|||1|||||f", {"sex": "F"}),
    ("ambiguous is other", "PID|||1|||||A", {"sex": "O"}),
    ("not applicable is other", "PID|||1|||||N", {"sex": "O"}),
    ("unknown says nothing", "PID|||1|||||U", {"sex": ""}),
    ("a code nobody knows says nothing", "PID|||1|||||7", {"sex": ""}),
    ("a cleared sex", 'PID|||1|||||""', {"sex": '""'}),
]  # fmt: skip


@pytest.mark.parametrize(("pid", "expected"), [d[1:] for d in DEMOGRAPHICS], ids=[d[0] for d in DEMOGRAPHICS])
def test_demographics(pid: str, expected: dict[str, Any]) -> None:
    found = patient(pid).patient
    assert {name: getattr(found, name) for name in expected} == expected


ACTIONS = {
    **dict.fromkeys(("A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A10", "A28", "A31"), "update"),
    **dict.fromkeys(("A11", "A12", "A13"), "cancel"),
}


@pytest.mark.parametrize(("trigger", "action"), ACTIONS.items())
def test_action(trigger: str, action: str) -> None:
    assert patient(PID, kind=f"ADT^{trigger}").action == action


def test_a_merge_names_what_it_merges() -> None:
    event = patient(EVN, PID, "MRG|1^^^OLD~2^^^OLD", kind="ADT^A40^ADT_A39")
    assert event.action == "merge"
    assert [identifier.value for identifier in event.prior_identifiers] == ["1", "2"]
    assert event.patient.identifiers[0].value == "4711"


def test_a_change_of_id_names_the_old_one() -> None:
    event = patient(PID, "MRG||||8^^^OLD", kind="ADT^A47")
    assert event.action == "change_id"
    assert event.prior_identifiers == (Identifier(authority="OLD", value="8"),)
    assert event.paths == {"prior_identifiers": "MRG-4"}


def test_each_pair_of_a_merge_is_an_event_of_its_own() -> None:
    found = events(
        "ADT^A40", EVN, "PID|||1^^^H", "MRG|2^^^H", "PID|||3^^^H", "PV1||O", "MRG|4^^^H", "MRG|5^^^H"
    )
    pairs = [
        (e.patient.identifiers[0].value, e.prior_identifiers[0].value)
        for e in found
        if isinstance(e, Patient)
    ]
    assert pairs == [("1", "2"), ("3", "4"), ("3", "5")]
    assert len({e.event_id for e in found if isinstance(e, Patient)}) == 3
    assert {e.event_time_path for e in found if isinstance(e, Patient)} == {"EVN-2"}


REFUSED = [
    ("no PID", "ADT^A08", (EVN,), ("no_patient_id", "PID-3", 0)),
    ("no patient id", "ADT^A08", ("PID|||||DOE^JOHN",), ("no_patient_id", "PID-3", 0)),
    ("a cleared patient id", "ADT^A08", ('PID|||""',), ("no_patient_id", "PID-3", 0)),
    ("a merge without MRG", "ADT^A40", (PID,), ("no_prior_patient_id", "MRG-1", 0)),
    ("a merge with an empty MRG-1", "ADT^A40", (PID, "MRG|"), ("no_prior_patient_id", "MRG-1", 0)),
    ("the good pairs of a merge are taken", "ADT^A40", (PID, "MRG|1", PID, "MRG|"), ("no_prior_patient_id", "MRG-1", 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "segments", "expected"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refused(kind: str, segments: tuple[str, ...], expected: tuple[str, str, int]) -> None:
    found = normalised(kind, *segments)
    assert found.rejection is not None
    assert (found.rejection.code, found.rejection.location, len(found.events)) == expected


def test_a_time_without_offset_is_in_the_sources_zone() -> None:
    source = SourceSettings(name="his", sending_application="HIS", timezone="America/New_York")
    settings = Settings(site=SiteSettings(timezone="Europe/Amsterdam"), source=(source,))
    assert patient(EVN, PID, settings=settings).event_time == utc("2026-03-01T16:00")
    elsewhere = Settings(site=SiteSettings(timezone="Europe/Amsterdam"))
    assert patient(EVN, PID, settings=elsewhere).event_time == utc("2026-03-01T10:00")


def test_without_msh_7_there_is_no_message_time() -> None:
    (event,) = events("ADT^A08", PID, msh_7="")
    assert isinstance(event, Patient)
    assert (event.message_time, event.event_time, event.event_time_path) == (None, None, "")


def test_the_envelope_comes_from_the_raw_record() -> None:
    event = patient(PID)
    assert (event.source, event.received_at) == ("his", 1_772_366_400_000_001)
    assert (event.raw_partition, event.raw_offset) == at
    assert event.control_id == "42"
    assert event.message_type == "ADT^A08"


def test_on_reject_does_not_change_what_is_rejected() -> None:
    settings = Settings(mllp=MllpSettings(on_reject="AA"))
    assert normalised("ADT^A08", EVN, settings=settings).rejection is not None
