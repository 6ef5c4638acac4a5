"""Dose reports built item by item, and what is read from them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pydicom
import pytest
import sr_builder as sr
from pydicom import Dataset
from sr_builder import coded, container, moment, num, text, uid

from dosestream.dose.arrival import study_event
from dosestream.dose.charset import charset
from dosestream.events.codec import Codec
from dosestream.events.records import DoseReport, RawMessage, Rejection, Study
from dosestream.settings import Settings, SiteSettings, SourceSettings

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"


def raw(body: bytes, source: str = "ROOM1") -> RawMessage:
    return RawMessage(
        source=source,
        control_id="1.2.826.0.1.1",
        message_type=sr.DOSE_SR,
        received_at=1,
        transport="dicom",
        content_hash="",
        body=body,
    )


def read(data_set: Dataset, settings: Settings | None = None, transfer_syntax: str = EXPLICIT) -> Study:
    event = study_event(raw(sr.part10(data_set, transfer_syntax)), 2, 7, settings or Settings())
    assert isinstance(event, Study), event
    assert Codec().decode(Codec().encode(event), Study) == event
    return event


def dose(data_set: Dataset) -> DoseReport:
    report = read(data_set).dose
    assert report is not None
    return report


def ct_event(*children: Dataset, event_uid: str = "1.2.826.0.1.9.1") -> Dataset:
    return container(
        "113819",
        text("125203", "Thorax"),
        coded("123014", sr.code("51185008", "SCT", "Chest")),
        coded("113820", sr.code("P5-08001", "SRT", "Spiral Acquisition")),
        uid("113769", event_uid),
        *children,
    )


CT_REPORT = sr.report(
    moment("113809", "20260301101501"),
    moment("113810", "20260301101530"),
    container("113811", num("113812", "1", "{events}"), num("113813", "251.4", "mGycm")),
    ct_event(
        container(
            "113822",
            num("113824", "2.5", "s"),
            num("113825", "310", "mm"),
            num("113828", "0.8", "{ratio}"),
            container("113831", text("113832", "A"), num("113733", "120", "kV"), num("113734", "210", "mA")),
        ),
        container(
            "113829",
            num("113830", "8.1", "mGy"),
            coded("113835", sr.BODY_PHANTOM),
            num("113838", "251.4", "mGy.cm"),
            num("113930", "9.7", "mGy"),
        ),
    ),
    template="10011",
)

MAMMOGRAPHY_REPORT = sr.report(
    coded("121058", sr.code("P5-40010", "SRT", "Mammography")),
    container(
        "113702",
        coded("113764", sr.SINGLE_PLANE),
        num("111637", "0.31", "dGy", coded(sr.LATERALITY, sr.LEFT)),
        num("111637", "2.9", "mGy", coded(sr.LATERALITY, sr.RIGHT)),
    ),
    sr.event(
        coded("113721", sr.code("113611", "DCM", "Stationary Acquisition")),
        coded(
            "123014",
            sr.code("T-04000", "SRT", "Breast"),
            coded(sr.code("G-C171", "SRT", "Laterality"), sr.code("G-A101", "SRT", "Left")),
        ),
        coded("111031", sr.code("R-10224", "SRT", "medio-lateral oblique")),
        num("111631", "1.6", "mGy"),
        num("111633", "54", "mm"),
        num("111634", "0.55", "mm"),
        coded("111632", sr.code("C-167F9", "SRT", "Tungsten or Tungsten compound")),
        num("113733", "28", "kV"),
        num("113736", "90", "mA.s"),
        container(
            "113771",
            coded("113757", sr.code("C-132F9", "SRT", "Rhodium or Rhodium compound")),
            num("113758", "0.05", "mm"),
            num("113773", "0.05", "mm"),
        ),
    ),
    template="10001",
)


def fields(value: object, expected: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in expected}


def test_a_ct_report_gives_its_total_its_event_and_its_times() -> None:
    report = dose(CT_REPORT)
    (total,) = report.totals
    expected_total = {
        "quantity": "ct_dlp",
        "value": 251.4,
        "unit": "mGy.cm",
        "stored_unit": "mGycm",
        "plane": "",
    }
    assert fields(total, expected_total) == expected_total
    (event,) = report.events
    expected = {
        "acquisition_type": "Spiral Acquisition",
        "protocol": "Thorax",
        "target_region": "Chest",
        "ctdivol_mgy": 8.1,
        "ctdi_phantom": "BODY",
        "dlp_mgycm": 251.4,
        "ssde_mgy": 9.7,
        "pitch": 0.8,
        "scan_length_mm": 310.0,
        "kvp": 120.0,
        "tube_current_ma": 210.0,
        "exposure_time_ms": 2500.0,
        "sources": (),
        "no_event_uid": False,
    }
    assert fields(event, expected) == expected
    assert (report.template, report.fluoroscopy, report.mammography) == ("10011", False, False)
    assert (report.started_at, report.ended_at) == (1772360101_000_000, 1772360130_000_000)


def test_a_mammography_report_gives_glandular_dose_by_breast() -> None:
    report = dose(MAMMOGRAPHY_REPORT)
    assert report.mammography
    assert not report.fluoroscopy
    assert [(total.quantity, total.laterality, total.value) for total in report.totals] == [
        ("agd", "L", 31.0),
        ("agd", "R", 2.9),
    ]
    (event,) = report.events
    expected = {
        "agd_mgy": 1.6,
        "laterality": "L",
        "view": "medio-lateral oblique",
        "compressed_thickness_mm": 54.0,
        "hvl_mm": 0.55,
        "target": "Tungsten or Tungsten compound",
        "filters": "Rhodium or Rhodium compound 0.05-0.05 mm",
        "kvp": 28.0,
        "exposure_uas": 90000.0,
        "target_region": "Breast",
    }
    assert fields(event, expected) == expected


def test_biplane_totals_keep_their_plane() -> None:
    report = dose(
        sr.report(
            container("113702", coded("113764", sr.PLANE_A), num("113722", "2", "dGy.cm2")),
            container("113702", coded("113764", sr.PLANE_B), num("113722", "3", "dGy.cm2")),
        )
    )
    assert [(total.plane, total.value) for total in report.totals] == [("A", 2e-05), ("B", 3e-05)]


def test_a_total_of_all_planes_stays_only_where_no_plane_states_it() -> None:
    report = dose(
        sr.report(
            container("113702", coded("113764", sr.PLANE_A), num("113722", "2", "Gy.m2")),
            container(
                "113702",
                coded("113764", sr.code("113890")),
                num("113722", "5", "Gy.m2"),
                num("113730", "9", "s"),
            ),
        )
    )
    assert [(total.quantity, total.plane, total.value) for total in report.totals] == [
        ("dap", "A", 2.0),
        ("fluoro_time", "", 9.0),
    ]
    assert any("113890,DCM" in line for line in report.unread)


def test_sub_totals_of_phantoms_stand_in_for_a_missing_total_only() -> None:
    parts = [
        num("130745", value, "mGy.cm", coded("113835", sr.code(phantom)))
        for value, phantom in (("10", "113690"), ("20", "113691"))
    ]
    alone = dose(sr.report(container("113811", *parts)))
    assert [(total.phantom, total.value) for total in alone.totals] == [("HEAD", 10.0), ("BODY", 20.0)]
    with_total = dose(sr.report(container("113811", num("113813", "30", "mGy.cm"), *parts)))
    assert [(total.phantom, total.value) for total in with_total.totals] == [("", 30.0)]


def test_pulse_groups_become_sources_and_the_scalar_is_null_where_they_differ() -> None:
    groups = [num("113733", value, "kV") for value in ("70", "80")] + [
        num("113793", v, "ms") for v in ("3", "5")
    ]
    (event,) = dose(sr.projection(sr.event(*groups, num("113734", "10", "mA")))).events
    assert event.kvp is None
    assert event.tube_current_ma == 10.0
    assert [(one.number, one.kvp, one.pulse_width_ms, one.tube_current_ma) for one in event.sources] == [
        (1, 70.0, 3.0, None),
        (2, 80.0, 5.0, None),
    ]


def test_two_tubes_of_a_ct_become_sources() -> None:
    tubes = [
        container("113831", text("113832", name), num("113733", kvp, "kV"), num("113734", "100", "mA"))
        for name, kvp in (("A", "90"), ("B", "150"))
    ]
    (event,) = dose(sr.report(ct_event(container("113822", *tubes)))).events
    assert (event.kvp, event.tube_current_ma) == (None, 100.0)
    assert [(one.identification, one.kvp) for one in event.sources] == [("A", 90.0), ("B", 150.0)]


@dataclass(frozen=True)
class Fluoroscopy:
    name: str
    report: Dataset
    expected: bool


@pytest.mark.parametrize(
    "case",
    [
        Fluoroscopy(
            "an event of type fluoroscopy", sr.projection(sr.event(coded("113721", sr.FLUOROSCOPY))), True
        ),
        Fluoroscopy("a fluoro total above zero", sr.projection(totals=(num("113726", "1", "Gy.m2"),)), True),
        Fluoroscopy("a fluoro time above zero", sr.projection(totals=(num("113730", "1", "s"),)), True),
        Fluoroscopy("a fluoro total of zero", sr.projection(totals=(num("113726", "0", "Gy.m2"),)), False),
        Fluoroscopy(
            "stationary acquisitions only", sr.projection(sr.event(coded("113721", sr.code("113611")))), False
        ),
    ],
    ids=lambda case: case.name,
)
def test_fluoroscopy_is_told_by(case: Fluoroscopy) -> None:
    assert dose(case.report).fluoroscopy is case.expected


@pytest.mark.parametrize(
    ("stored", "unit", "value"),
    [
        ("12.5", "dGy.cm2", 12.5e-5),
        ("12.5", "dGycm2", 12.5e-5),
        ("3", "mGy.cm2", 3e-7),
        ("3", "mGycm2", 3e-7),
        ("3", "cGy.cm2", 3e-6),
        ("3", "uGy.m2", 3e-6),
        ("3", "uGym2", 3e-6),
        ("9.37e-06", "Gym2", 9.37e-06),
        ("8.664e-005", "Gy.m2", 8.664e-05),
    ],
)
def test_a_dose_area_product_is_stored_in_gray_square_metres(stored: str, unit: str, value: float) -> None:
    (total,) = dose(sr.projection(totals=(num("113722", stored, unit),))).totals
    assert (total.value, total.stored_value, total.stored_unit) == (value, stored, unit)


@dataclass(frozen=True)
class Fault:
    """A report with one thing wrong, and what must be true of the event all the same."""

    name: str
    report: Dataset
    holds: Callable[[Study], bool]


def _without_templates() -> Dataset:
    report = sr.projection(sr.event(), totals=(num("113722", "1", "Gy.m2"),))
    del report.ContentTemplateSequence
    return report


def _dose(event: Study) -> DoseReport:
    assert event.dose is not None
    return event.dose


FAULTS = [
    Fault(
        "an empty measured value sequence is no value",
        sr.projection(sr.event(num("122130", None)), totals=(num("113722", None), num("113730", "3", "s"))),
        lambda e: (
            _dose(e).events[0].dap_gym2 is None and [t.quantity for t in _dose(e).totals] == ["fluoro_time"]
        ),
    ),
    Fault(
        "an illegal second value leaves the first",
        sr.projection(sr.event(num("122130", "0.1\\0.2", "Gy.m2"))),
        lambda e: _dose(e).events[0].dap_gym2 == 0.1 and "122130,DCM" in _dose(e).unread[0],
    ),
    Fault(
        "two tube voltages in one element are two pulse groups",
        sr.projection(sr.event(num("113733", "66\\77", "kV"))),
        lambda e: [s.kvp for s in _dose(e).events[0].sources] == [66.0, 77.0],
    ),
    Fault(
        "no template sequence",
        _without_templates(),
        lambda e: (_dose(e).template, len(_dose(e).events), len(_dose(e).totals)) == ("10001", 1, 1),
    ),
    Fault(
        "a code off by a digit is listed, not guessed",
        sr.projection(sr.event(num("122131", "0.1", "Gy.m2"))),
        lambda e: _dose(e).events[0].dap_gym2 is None and _dose(e).unread[0].startswith("122131,DCM"),
    ),
    Fault(
        "a root title off by a digit does not hide the containers",
        sr.report(container("113706", uid("113769", "1.2.3")), title="113711"),
        lambda e: e.kind == "dose_report" and len(_dose(e).events) == 1,
    ),
    Fault(
        "a right meaning under a wrong scheme is not read",
        sr.projection(totals=(num(sr.code("113722", "99MAKER", "Dose Area Product Total"), "1", "Gy.m2"),)),
        lambda e: _dose(e).totals == (),
    ),
    Fault(
        "an unknown unit is listed",
        sr.projection(totals=(num("113722", "1", "furlong"),)),
        lambda e: _dose(e).totals == () and "furlong" in _dose(e).unread[0],
    ),
    Fault(
        "a number that is none is listed",
        sr.projection(sr.event(num("122130", "n/a", "Gy.m2"))),
        lambda e: _dose(e).events[0].dap_gym2 is None and "is no number" in _dose(e).unread[0],
    ),
    Fault(
        "infinity is no dose",
        sr.projection(totals=(num("113722", "1e999", "Gy.m2"),)),
        lambda e: _dose(e).totals == (),
    ),
    Fault(
        "illegal UIDs are kept as they are",
        sr.projection(sr.event(event_uid="1.02.-3"), StudyInstanceUID="1.2.00.-5"),
        lambda e: (
            (e.study_instance_uid, _dose(e).events[0].irradiation_event_uid) == ("1.2.00.-5", "1.02.-3")
        ),
    ),
    Fault(
        "two events with one UID are flagged",
        sr.projection(sr.event(), sr.event()),
        lambda e: any(issue.startswith("repeated_event_uid") for issue in e.issues),
    ),
    Fault(
        "no birth date",
        sr.projection(PatientBirthDate=None),
        lambda e: e.patient.birth_date == "" and e.patient.name == "Doe^Jane",
    ),
    Fault(
        "an impossible birth date",
        sr.projection(PatientBirthDate="19801302"),
        lambda e: e.patient.birth_date == "",
    ),
    Fault(
        "a weight of zero is unknown",
        sr.projection(PatientWeight="0.0"),
        lambda e: e.patient_weight_kg is None,
    ),
    Fault("an age in months", sr.projection(PatientAge="006M"), lambda e: e.patient_age_years == 0.5),
    Fault(
        "an unknown character set is flagged",
        sr.projection(SpecificCharacterSet="ISO_IR 999"),
        lambda e: (
            e.patient.name == "Doe^Jane" and any(issue.startswith("unknown_charset") for issue in e.issues)
        ),
    ),
    Fault(
        "a report with neither total nor event is one all the same",
        sr.report(),
        lambda e: (
            e.kind == "dose_report" and any(issue.startswith("dose_report_empty") for issue in e.issues)
        ),
    ),
    Fault(
        "no accession, no patient, no date",
        sr.projection(
            totals=(num("113730", "3", "s"),),
            AccessionNumber=None,
            PatientID=None,
            PatientName=None,
            StudyDate=None,
            StudyTime=None,
            ContentDate=None,
        ),
        lambda e: (
            [issue.split(":")[0] for issue in e.issues] == ["no_accession", "no_patient_id", "no_study_date"]
            and e.patient.identifiers == ()
            and e.study_at is None
        ),
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_faulty_report_costs_no_more_than_the_fault(fault: Fault) -> None:
    assert fault.holds(read(fault.report))


def test_events_without_uid_are_known_by_start_and_values() -> None:
    one, other = num("122130", "1", "Gy.m2"), num("122130", "2", "Gy.m2")
    first = dose(sr.projection(sr.event(one, event_uid=None)))
    grown = dose(
        sr.projection(
            sr.event(one, event_uid=None), sr.event(other, event_uid=None), sr.event(one, event_uid=None)
        )
    )
    uids = [event.irradiation_event_uid for event in grown.events]
    assert len(set(uids)) == 3
    assert uids[0] == first.events[0].irradiation_event_uid
    assert all(event.no_event_uid for event in grown.events)


def test_an_enhanced_sr_that_is_no_dose_report_is_a_study_arrival_with_a_flag() -> None:
    event = read(sr.report(text("121071", "No finding"), title="126000", SOPClassUID=sr.ENHANCED_SR))
    assert (event.kind, event.dose) == ("structured_report", None)
    assert event.issues[0].startswith("sr_without_dose:")


def test_an_enhanced_sr_titled_dose_report_is_one() -> None:
    assert read(sr.projection(sr.event(), SOPClassUID=sr.ENHANCED_SR)).kind == "dose_report"


def test_a_radiopharmaceutical_report_gives_activity_and_effective_dose() -> None:
    report = dose(
        sr.report(
            container(
                "113502",
                coded(
                    sr.code("349358000", "SCT", "Radiopharmaceutical agent"),
                    sr.code("35321007", "SCT", "Fluorodeoxyglucose F^18^"),
                    coded(
                        sr.code("89457008", "SCT", "Radionuclide"), sr.code("77004003", "SCT", "^18^Fluorine")
                    ),
                ),
                moment("123003", "20260301090000"),
                num("113507", "0.25", "GBq"),
                num("113839", "4.8", "mSv"),
            ),
            title="113500",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.88.68",
        )
    )
    assert report.template == "10021"
    assert [(total.quantity, total.value) for total in report.totals] == [
        ("administered_activity", 250.0),
        ("effective_dose", 4.8),
    ]
    assert (report.radionuclide, report.radiopharmaceutical) == ("^18^Fluorine", "Fluorodeoxyglucose F^18^")


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_every_encoding_reads_the_same(transfer_syntax: str) -> None:
    expected, event = read(CT_REPORT), read(CT_REPORT, transfer_syntax=transfer_syntax)
    assert event == replace(expected, event_id=event.event_id)


@pytest.mark.parametrize(
    ("terms", "name", "expected"),
    [
        (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=", "Yamada^Tarou"),
        (b"\\ISO 2022 IR 87", b"=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田^太郎"),
        (b"ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (b"\\ISO 2022 IR 149", b"=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "洪^吉洞"),
        (b"ISO_IR 100", b"Bj\xf6rk^\xc5sa^^^", "Björk^Åsa"),
        (b"ISO IR 100", b"Bj\xf6rk", "Björk"),
        (b"ISO_IR 144", "Люксембург".encode("iso8859_5"), "Люксембург"),
        (b"ISO_IR 192", "Zoë^Ørsted".encode(), "Zoë^Ørsted"),
        (b"GB18030", "王^小东".encode("gb18030"), "王^小东"),
        (b"", b"Doe^John\\Roe^Jane", "Doe^John"),
        (b"", b"^^^^", ""),
    ],
)
def test_a_person_name_is_decoded_as_its_character_set_says(terms: bytes, name: bytes, expected: str) -> None:
    letters = charset(terms)
    assert letters.person_name(name, "(0010,0010)") == expected
    assert letters.problems == []


def test_a_japanese_name_as_pydicom_writes_it_gives_its_alphabetic_group() -> None:
    event = read(
        sr.projection(
            SpecificCharacterSet=["", "ISO 2022 IR 87"],
            PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
            StudyDescription="胸部CT",
        )
    )
    assert (event.patient.name, event.study_description) == ("Yamada^Tarou", "胸部CT")


def test_text_outside_its_character_set_is_flagged_and_kept() -> None:
    body = sr.part10(sr.projection(PatientName="#" * 16)).replace(b"#" * 16, b"Bj\xf6rk".ljust(16))
    event = study_event(raw(body), 0, 0, Settings())
    assert isinstance(event, Study)
    assert event.patient.name == "Björk"
    assert any(issue.startswith("undecodable_text: (0010,0010)") for issue in event.issues)


SETTINGS = Settings(
    site=SiteSettings(timezone="Europe/Amsterdam"),
    source=(SourceSettings(name="ROOM1", ae_title="CT1", timezone="America/New_York"),),
)


@dataclass(frozen=True)
class When:
    name: str
    report: Dataset
    study: tuple[int | None, str, str]
    event: tuple[int | None, str]


def _corrected() -> Dataset:
    report = sr.projection()
    items = []
    for at in ("20260303080000", "20260304080000+0100"):
        item = Dataset()
        item.AttributeModificationDateTime = at
        items.append(item)
    report.OriginalAttributesSequence = pydicom.Sequence(items)
    return report


WHENS = [
    When(
        "the source's zone where the instance names none",
        sr.projection(),
        (1772378100_000_000, "2026-03-01T10:15:00", "America/New_York"),
        (1772379000_500_000, "(0008,0023)"),
    ),
    When(
        "Timezone Offset From UTC wins",
        sr.projection(TimezoneOffsetFromUTC="+0900"),
        (1772327700_000_000, "2026-03-01T10:15:00", "+0900"),
        (1772328600_500_000, "(0008,0023)"),
    ),
    When(
        "start of irradiation where there is no study time",
        sr.projection(moment("113809", "20260301100000-0500"), StudyTime=None),
        (1772377200_000_000, "2026-03-01T10:00:00", "-0500"),
        (1772379000_500_000, "(0008,0023)"),
    ),
    When(
        "the first event where no start of irradiation is stated",
        sr.projection(sr.event(start="20260301120000"), sr.event(start="20260301110000"), StudyDate=None),
        (1772380800_000_000, "2026-03-01T11:00:00", "America/New_York"),
        (1772379000_500_000, "(0008,0023)"),
    ),
    When(
        "content date and time where there is no irradiation",
        sr.projection(StudyDate=None),
        (1772379000_500_000, "2026-03-01T10:30:00.500000", "America/New_York"),
        (1772379000_500_000, "(0008,0023)"),
    ),
    When(
        "the day alone where nothing else is there",
        sr.projection(StudyTime=None, ContentDate=None),
        (1772341200_000_000, "2026-03-01T00:00:00", "America/New_York"),
        (None, ""),
    ),
    When(
        "the newest modification is the event's time",
        _corrected(),
        (1772378100_000_000, "2026-03-01T10:15:00", "America/New_York"),
        (1772607600_000_000, "(0400,0561)(0400,0562)"),
    ),
]


@pytest.mark.parametrize("when", WHENS, ids=lambda when: when.name)
def test_times_are_taken_from(when: When) -> None:
    event = read(when.report, SETTINGS)
    assert (event.study_at, event.study_local, event.study_zone) == when.study
    assert (event.event_time, event.event_time_path) == when.event


def test_requests_are_read_from_both_sequences_once() -> None:
    report = sr.projection(AccessionNumber="A1")
    request = Dataset()
    request.AccessionNumber, request.RequestedProcedureID = "A2", "RP1"
    request.PlacerOrderNumberImagingServiceRequest = "PL1"
    request.FillerOrderNumberImagingServiceRequest = "FI1"
    request.StudyInstanceUID = "1.2.3"
    request.RequestedProcedureCodeSequence = pydicom.Sequence([sr.code("CTTHX", "LOCAL", "CT thorax")])
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "RIS"
    request.IssuerOfAccessionNumberSequence = pydicom.Sequence([issuer])
    attributes = Dataset()
    attributes.RequestedProcedureID, attributes.ScheduledProcedureStepID = "RP1", "SPS1"
    report.ReferencedRequestSequence = pydicom.Sequence([request, request, Dataset()])
    report.RequestAttributesSequence = pydicom.Sequence([attributes])
    event = read(report)
    first, second = event.requests
    expected = {
        "study_instance_uid": "1.2.3",
        "accession_number": "A2",
        "accession_issuer": "RIS",
        "placer_order_number": "PL1",
        "filler_order_number": "FI1",
        "requested_procedure_id": "RP1",
        "procedure_code": "CTTHX",
        "procedure_scheme": "LOCAL",
        "procedure_meaning": "CT thorax",
    }
    assert fields(first, expected) == expected
    assert (second.requested_procedure_id, second.scheduled_step_id) == ("RP1", "SPS1")
    assert any(issue.startswith("accession_differs") for issue in event.issues)


def test_the_issuer_of_the_patient_id_is_its_authority_else_its_qualifiers_universal_id() -> None:
    assert read(sr.projection(IssuerOfPatientID="HOSP")).patient.identifiers[0].authority == "HOSP"
    report = sr.projection()
    qualifiers = Dataset()
    qualifiers.UniversalEntityID = "1.2.528.1"
    report.IssuerOfPatientIDQualifiersSequence = pydicom.Sequence([qualifiers])
    event = read(report)
    assert event.patient.identifiers[0].authority == "1.2.528.1"
    assert event.paths == {"patient.authority": "(0010,0024)(0040,0032)"}


@dataclass(frozen=True)
class Refused:
    name: str
    body: bytes
    code: str
    location: str


WHOLE = sr.part10(CT_REPORT)


REFUSED = [
    Refused("no DICOM at all", b"MSH|^~\\&|", "unreadable", ""),
    Refused("cut in the file meta information", WHOLE[:150], "truncated", "(0002,0001)"),
    Refused("cut in the content", WHOLE[:-40], "truncated", "(0040,A730)"),
    Refused("a deflated data set cut short", sr.part10(CT_REPORT, DEFLATED)[:-40], "truncated", ""),
    Refused(
        "no Study Instance UID",
        sr.part10(sr.projection(StudyInstanceUID=None)),
        "no_study_instance_uid",
        "(0020,000D)",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_an_unreadable_instance_is_a_rejection_with_its_bytes(case: Refused) -> None:
    event = study_event(raw(case.body), 2, 7, Settings())
    assert isinstance(event, Rejection)
    assert (event.code, event.location, event.body) == (case.code, case.location, case.body)
    assert (event.raw_partition, event.raw_offset) == (2, 7)
    assert Codec().decode(Codec().encode(event), Rejection) == event


def test_the_same_bytes_from_the_same_source_are_the_same_event() -> None:
    first = study_event(raw(WHOLE), 0, 1, Settings())
    again = study_event(raw(WHOLE), 3, 9, Settings())
    elsewhere = study_event(raw(WHOLE, "ROOM2"), 0, 1, Settings())
    assert first.event_id == again.event_id != elsewhere.event_id
