"""Dose of a study: no event counted twice, none lost."""

from itertools import permutations

import pytest
from said import arrival, ct_report

from dosestream.events.records import DoseReport, DoseTotal, IrradiationEvent, Study
from dosestream.reconcile.facts import study_fact
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.totals import Report, study_dose

RULES = Rules()


def reports(*events: Study) -> list[Report]:
    return [Report(e, e.dose, study_fact(e, RULES).version) for e in events if e.dose is not None]


def report(second: int, sop: str, dose: DoseReport) -> Study:
    return arrival(second, sop=sop, dose=dose)


CASES = {
    "growing reports: the largest counts": (
        [
            report(1, "s1", ct_report("e1", stated=10)),
            report(2, "s2", ct_report("e1", "e2", stated=20)),
            report(3, "s3", ct_report("e1", "e2", "e3", stated=30)),
        ],
        (3, 30.0, "stated"),
    ),
    "continued reports add up": (
        [
            report(1, "s1", ct_report("e1", "e2", stated=20)),
            report(2, "s2", ct_report("e3", "e4", stated=21)),
        ],
        (4, 41.0, "stated"),
    ),
    "re-sent under another instance UID counts once, the newest": (
        [report(1, "s1", ct_report("e1", stated=10)), report(2, "s2", ct_report("e1", stated=11))],
        (1, 11.0, "stated"),
    ),
    "a report without events always counts": (
        [report(1, "s1", ct_report("e1", stated=10)), report(2, "s2", ct_report(stated=5))],
        (1, 15.0, "stated"),
    ),
    "without stated totals the events add up, each once": (
        [report(1, "s1", ct_report("e1", "e2")), report(2, "s2", ct_report("e2", "e3"))],
        (3, 30.0, "events"),
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
def test_totals_whatever_the_order(events: list[Study], expected: tuple[int, float, str]) -> None:
    for arranged in permutations(events):
        summary = study_dose(reports(*arranged), "CT").summary
        assert (summary.event_count, summary.ct_dlp_total_mgycm, summary.total_source) == expected


def test_totals_add_over_planes_and_breasts_stay_apart() -> None:
    dap = [
        DoseTotal(quantity="dap", plane="A", value=1.0, unit="Gy.m2"),
        DoseTotal(quantity="dap", plane="B", value=2.0, unit="Gy.m2"),
        DoseTotal(quantity="dap", plane="A", mode="fluoro", value=0.4, unit="Gy.m2"),
    ]
    agd = [
        DoseTotal(quantity="agd", laterality="L", value=1.5, unit="mGy"),
        DoseTotal(quantity="agd", laterality="R", value=1.7, unit="mGy"),
    ]
    summary = study_dose(
        reports(report(1, "s1", DoseReport(template="10001", totals=(*dap, *agd), fluoroscopy=True))), "SR"
    ).summary
    assert (summary.dap_total_gym2, summary.agd_left_mgy, summary.agd_right_mgy) == (3.0, 1.5, 1.7)


MODALITIES = {
    "CT": [ct_report("e1")],
    "RF": [DoseReport(template="10001", fluoroscopy=True)],
    "DX": [DoseReport(template="10001")],
    "MG": [DoseReport(template="10001", mammography=True)],
    "CT\\NM": [DoseReport(template="10021"), ct_report("e1")],
}


@pytest.mark.parametrize(("expected", "doses"), MODALITIES.items(), ids=MODALITIES.keys())
def test_modality_is_told_by_the_template(expected: str, doses: list[DoseReport]) -> None:
    found = [report(i, f"s{i}", dose) for i, dose in enumerate(doses)]
    assert study_dose(reports(*found), "SR").summary.modality == expected


def test_a_study_without_report_has_no_dose_and_its_headers_modality() -> None:
    summary = study_dose([], "DX").summary
    assert (summary.modality, summary.event_count, summary.ct_dlp_total_mgycm) == ("DX", None, None)


def test_stated_and_summed_stand_side_by_side() -> None:
    dose = DoseReport(
        template="10011",
        totals=(DoseTotal(quantity="ct_dlp", value=100.0, unit="mGy.cm"),),
        events=(IrradiationEvent(irradiation_event_uid="e1", dlp_mgycm=98.0),),
    )
    (row,) = study_dose(reports(report(1, "s1", dose)), "CT").totals
    assert (row.stated, row.from_events, row.unit) == (100.0, 98.0, "mGy.cm")
