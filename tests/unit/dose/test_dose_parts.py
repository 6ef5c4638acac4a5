"""Parts of dose reports beyond totals and events: dose checks, administrations, organ doses, stored units, sums."""

import pytest
import sr_builder as sr
from arrived import instance, study_of
from pydicom import Dataset
from sr_builder import coded, container, moment, num, text, uid

from dosestream.dose.sums import differences, from_events
from dosestream.events.records import DoseReport, DoseTotal, IrradiationEvent, Study
from dosestream.reconcile.modality import of_report

YES, NO = sr.code("373066001", "SCT", "Yes"), sr.code("R-00339", "SRT", "No")
ORGAN = sr.code("363698007", "SCT", "Finding site")


def read(data_set: Dataset) -> Study:
    return study_of(instance(sr.part10(data_set)))


def dose(data_set: Dataset) -> DoseReport:
    report = read(data_set).dose
    assert report is not None
    return report


def person(name: str) -> Dataset:
    item = text("113870", "")
    item.ValueType = "PNAME"
    del item.TextValue
    item.PersonName = name
    return item


def ct(*children: Dataset) -> Dataset:
    return sr.report(container("113819", uid("113769", "1.2.3"), *children), template="10011")


def test_dose_checks_tell_what_was_configured_estimated_and_decided() -> None:
    alert = container(
        "113900",
        coded("113901", YES),
        coded("113902", NO),
        num("113903", "1", "Gy.cm"),
        num("113905", "1234", "mGycm"),
        text("113907", "Emergency"),
        person("Roe^Ann"),
    )
    notification = container(
        "113908",
        coded("113910", YES),
        num("113912", "50", "mGy"),
        num("113914", "6.1", "cGy"),
        text("113871", "OP7"),
    )
    (event,) = dose(ct(container("113829", alert, notification))).events
    first, second = event.dose_checks
    assert first.to_datum() == {
        "kind": "alert",
        "dlp_configured": True,
        "ctdivol_configured": False,
        "dlp_value_mgycm": 1000.0,
        "ctdivol_value_mgy": None,
        "dlp_estimate_mgycm": 1234.0,
        "ctdivol_estimate_mgy": None,
        "reason": "Emergency",
        "person": "Roe^Ann",
    }
    assert (second.kind, second.dlp_configured, second.ctdivol_configured) == ("notification", None, True)
    assert (second.ctdivol_value_mgy, second.ctdivol_estimate_mgy, second.person) == (50.0, 61.0, "OP7")
    # A value of a dose check is no dose of the event.
    assert (event.ctdivol_mgy, event.dlp_mgycm) == (None, None)


def test_an_administration_tells_route_times_activities_and_organ_doses() -> None:
    organ = container(
        "113517",
        coded(
            ORGAN,
            sr.code("64033007", "SCT", "Kidney"),
            coded(sr.LATERALITY, sr.code("7771000", "SCT", "Left")),
        ),
        num("113518", "2.5", "mGy"),
        text("121406", "ICRP 128"),
    )
    given = container(
        "113502",
        coded(
            sr.code("349358000", "SCT", "Agent"),
            sr.code("35321007", "SCT", "FDG"),
            coded(sr.code("89457008", "SCT", "Radionuclide"), sr.code("77004003", "SCT", "^18^F")),
            num(sr.code("304283002", "SCT", "Half-life"), "109.8", "min"),
        ),
        uid("113503", "1.2.9"),
        moment("123003", "20260301090000"),
        moment("123004", "20260301090100"),
        num("113507", "250", "MBq"),
        num("113508", "0.26", "GBq"),
        num("123005", "2", "cm3"),
        coded(sr.code("G-C340", "SRT", "Route"), sr.code("47625008", "SCT", "Intravenous route")),
        organ,
        num("113839", "4.8", "mSv"),
    )
    report = dose(sr.report(given, title="113500", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.68"))
    (one,) = report.administrations
    (organ_dose,) = one.organ_doses
    assert (one.administration_uid, one.agent, one.radionuclide) == ("1.2.9", "FDG", "^18^F")
    assert (one.route, one.activity_mbq, one.effective_dose_msv) == ("Intravenous route", 250.0, 4.8)
    assert one.measured == {"pre_administration_mbq": 260.0, "volume_ml": 2.0, "half_life_s": 6588.0}
    assert one.ended_at is not None and one.started_at is not None
    assert one.ended_at - one.started_at == 60_000_000
    assert (organ_dose.organ, organ_dose.laterality, organ_dose.dose_mgy) == ("Kidney", "L", 2.5)
    assert organ_dose.method == "ICRP 128"
    assert report.unread == ()


def test_a_patient_dose_report_gives_organ_doses_of_each_estimate() -> None:
    estimate = container(
        "128402",
        text("128403", "Monte Carlo"),
        container(
            "128412",
            num("128533", "0.012", "Gy", coded(ORGAN, sr.code("39607008", "SCT", "Lung"))),
            num("128537", "12", "mSv", coded(ORGAN, sr.code("39607008", "SCT", "Lung"))),
        ),
    )
    event = read(sr.report(estimate, title="128401", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.73"))
    assert event.dose is not None
    assert (event.kind, event.dose.template, event.dose.source) == ("dose_report", "10030", "rdsr")
    absorbed, equivalent = event.dose.organ_doses
    assert (absorbed.estimate, absorbed.organ, absorbed.quantity) == ("Monte Carlo", "Lung", "mean_absorbed")
    assert (absorbed.dose_mgy, absorbed.equivalent_msv) == (12.0, None)
    assert (equivalent.quantity, equivalent.dose_mgy, equivalent.equivalent_msv) == (
        "mean_equivalent",
        None,
        12.0,
    )


def test_values_in_other_units_are_kept_as_stored_too_and_unreadable_ones_only_so() -> None:
    (event,) = dose(
        sr.projection(
            sr.event(
                num("122130", "12.5", "dGy.cm2"), num("113738", "3", "furlong"), num("113733", "70", "kV")
            )
        )
    ).events
    assert (event.dap_gym2, event.dose_rp_gy, event.kvp) == (12.5e-5, None, 70.0)
    assert event.stored == {"dap_gym2": "12.5 dGy.cm2", "dose_rp_gy": "3 furlong"}


def test_a_total_stated_twice_for_the_same_is_taken_once() -> None:
    report = dose(sr.report(container("113811", num("113814", "5", "mSv"), num("113814", "6", "mSv"))))
    assert [(total.quantity, total.value) for total in report.totals] == [("effective_dose", 5.0)]
    assert any("113814,DCM" in line for line in report.unread)


def test_a_dose_container_in_another_report_is_a_secondary_source() -> None:
    wrapped = sr.report(
        container("113819", uid("113769", "1.2.3"), num("113838", "9", "mGy.cm")),
        title="121111",
        SOPClassUID=sr.ENHANCED_SR,
    )
    assert dose(wrapped).source == "sr"
    assert dose(ct()).source == "rdsr"


DIFFER = [
    ("less than half a percent", "100.4", False),
    ("more than half a percent", "101", True),
    ("a forgotten event", "50", True),
]


@pytest.mark.parametrize(("name", "stated", "flagged"), DIFFER, ids=[name for name, _, _ in DIFFER])
def test_a_total_that_its_events_do_not_add_up_to_is_flagged_and_kept(
    name: str, stated: str, flagged: bool
) -> None:
    event = read(
        sr.report(
            container("113811", num("113813", stated, "mGy.cm")),
            container("113819", uid("113769", "1.2.3"), num("113838", "100", "mGy.cm")),
        )
    )
    assert event.dose is not None
    assert event.dose.totals[0].value == float(stated)
    assert event.dose.events[0].dlp_mgycm == 100.0
    assert any(issue.startswith("total_differs: ct_dlp") for issue in event.issues) is flagged


EVENTS = (
    IrradiationEvent(irradiation_event_uid="1", dap_gym2=1.0, plane="A", fluoroscopy=True),
    IrradiationEvent(irradiation_event_uid="2", dap_gym2=2.0, plane="A", fluoroscopy=False),
    IrradiationEvent(irradiation_event_uid="3", dap_gym2=4.0, plane="B", fluoroscopy=False),
    # Stored before the code was kept.
    IrradiationEvent(irradiation_event_uid="4", dap_gym2=8.0, plane="B", acquisition_type="Fluoroscopy"),
)
SPLITS = [
    ("total", "", 15.0),
    ("fluoro", "", 9.0),
    ("acquisition", "", 6.0),
    ("total", "A", 3.0),
    ("fluoro", "B", 8.0),
]


@pytest.mark.parametrize(("mode", "plane", "summed"), SPLITS)
def test_events_add_up_by_mode_and_plane(mode: str, plane: str, summed: float) -> None:
    total = DoseTotal(quantity="dap", mode=mode, plane=plane, value=summed, unit="Gy.m2")
    assert from_events(total, EVENTS) == summed
    assert differences(DoseReport(template="10001", totals=(total,), events=EVENTS)) == []


def test_another_number_of_events_than_stated_is_flagged() -> None:
    event = read(sr.report(container("113811", num("113812", "3", "{events}")), ct().ContentSequence[0]))
    assert event.dose is not None
    assert (event.dose.events_stated, len(event.dose.events)) == (3, 1)
    assert any(issue.startswith("event_count_differs") for issue in event.issues)


# Associated Procedure (TID 10021) and the Modality of the header to the study's modality.
STUDIES = {
    "a heart study": (sr.code("241439007", "SCT", "PET heart study"), "SR", "PT"),
    "by its retired code": (sr.code("P5-0A00A", "SRT", "PET study"), "SR", "PT"),
    "a bone scan": (sr.code("68796002", "SCT", "Radioisotope study of musculoskeletal system"), "SR", "NM"),
    "a bone scan that its header calls PET": (sr.code("68796002", "SCT", "Bone"), "PT", "PT"),
    "a meaning without its code": (sr.code("1", "99X", "PET heart study"), "SR", "NM"),
}


@pytest.mark.parametrize(("procedure", "header", "expected"), STUDIES.values(), ids=STUDIES.keys())
def test_a_radiopharmaceutical_report_is_pet_where_it_says_so(
    procedure: Dataset, header: str, expected: str
) -> None:
    associated = coded(sr.code("363589002", "SCT", "Associated Procedure"), procedure)
    administered = container("113502", num("113507", "300", "MBq"))
    event = read(sr.report(associated, administered, template="10021", Modality=header))
    assert event.dose is not None
    assert event.dose.procedure == procedure.CodeMeaning
    assert of_report(event.dose, event.modality) == expected


def test_a_repeated_exposure_says_so_and_why_and_an_isocenter_has_its_angles() -> None:
    repeated = coded("128551", YES)
    repeated.ContentSequence = [coded("128552", sr.code("128553", "DCM", "Patient motion"))]
    event = sr.event(repeated, num("128757", "-30", "deg"), num("128762", "1.5", "deg"))
    (exposure,) = dose(sr.projection(event)).events
    assert (exposure.described["repeated"], exposure.described["repeat_reason"]) == ("Yes", "Patient motion")
    assert exposure.measured == {"isocenter_primary_angle_deg": -30.0, "isocenter_rotation_end_deg": 1.5}
