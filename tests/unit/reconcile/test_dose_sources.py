"""What is told of one study by several reports and sources: the same rows in whatever order they came."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from said import arrival

from dosestream.events.records import Administration, DoseReport, DoseTotal, IrradiationEvent, Study
from dosestream.reconcile.dose_sources import one_acquisition
from dosestream.reconcile.facts import study_fact
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.totals import Report, StudyDose, study_dose

RULES = Rules()


def ct(*uids: str, source: str = "rdsr", stated: float | None = None, each: float = 10.0) -> DoseReport:
    totals = () if stated is None else (DoseTotal(quantity="ct_dlp", value=stated, unit="mGy.cm"),)
    events = tuple(
        IrradiationEvent(irradiation_event_uid=uid, dlp_mgycm=None if source == "image" else each, kvp=120.0)
        for uid in uids
    )
    return DoseReport(template="10011", source=source, totals=totals, events=events)


def derived(*said: Study) -> StudyDose:
    facts = [Report(e, e.dose, study_fact(e, RULES).version) for e in said if e.dose is not None]
    return study_dose(facts, "CT")


def said(second: int, sop: str, dose: DoseReport) -> Study:
    return arrival(second, sop=sop, dose=dose)


IMAGES = [said(i, f"i{i}", ct("x1" if i < 3 else "x2", source="image")) for i in range(1, 5)]
STEP = said(9, "m1", ct("m1", "m2", source="mpps", stated=31))
SECONDARY = said(8, "s1", ct("e1", "e2", source="sr", stated=20))
REPORT = said(5, "r1", ct("e1", "e2", stated=21))
CONTINUED = said(6, "r2", ct("e3", stated=9))
NUCLEAR = DoseReport(
    template="10021",
    source="image",
    administrations=(Administration(agent="FDG", started_at=1, activity_mbq=250.0),),
)
CASES: dict[str, tuple[list[Study], tuple[str | None, int | None, float | None]]] = {
    "images alone: one event per acquisition, no total": (IMAGES, ("image", 2, None)),
    "a step replaces images": ([*IMAGES, STEP], ("mpps", 2, 31.0)),
    "another structured report replaces a step": ([STEP, SECONDARY], ("sr", 2, 20.0)),
    "a dose report replaces all of them": ([*IMAGES, STEP, SECONDARY, REPORT], ("rdsr", 2, 21.0)),
    "continued dose reports add up beside them": ([*IMAGES, REPORT, CONTINUED], ("rdsr", 3, 30.0)),
    "an empty dose report replaces nothing": ([*IMAGES, said(7, "r3", ct())], ("image", 2, None)),
    "what is told of another kind stays": (
        [REPORT, said(7, "n1", NUCLEAR), said(8, "n2", NUCLEAR)],
        ("rdsr\\image", 2, 21.0),
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES.keys())
@given(order=st.randoms(use_true_random=False))
def test_the_best_source_tells_the_dose_in_any_order(
    events: list[Study], expected: tuple[str | None, int | None, float | None], order: random.Random
) -> None:
    arranged = list(events)
    order.shuffle(arranged)
    found = derived(*arranged)
    summary = found.summary
    assert (summary.dose_source, summary.event_count, summary.ct_dlp_total_mgycm) == expected
    assert found == derived(*events)


def test_one_administration_told_by_many_images_counts_once() -> None:
    summary = derived(*(said(i, f"n{i}", NUCLEAR) for i in range(5))).summary
    assert (summary.administered_activity_mbq, summary.total_source) == (250.0, "events")
    assert (summary.dose_confidence, summary.event_count) == ("low", 0)


UIDS = ["e1", "e2", "e3", "e4", "e5"]
# A scanner's reports: each lists a run of the events done so far; a correction states another dose for the same.
REPORTS = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(1, 5), st.floats(1, 50), st.sampled_from(["rdsr", "sr", "image"])
    ),
    min_size=1,
    max_size=6,
)


@given(told=REPORTS, order=st.randoms(use_true_random=False))
def test_no_event_is_counted_twice_and_none_lost(
    told: list[tuple[int, int, float, str]], order: random.Random
) -> None:
    events = [
        said(number, f"s{number}", ct(*UIDS[first : first + count], source=source, each=each, stated=None))
        for number, (first, count, each, source) in enumerate(told)
    ]
    arranged = [*events, *order.sample(events, len(events) // 2)]
    order.shuffle(arranged)
    once = list({event.sop_instance_uid: event for event in arranged}.values())
    found = derived(*once)
    best = next(s for s in ("rdsr", "sr", "image") if any(source == s for *_, source in told))
    # The newest report of the best source decides on each event.
    truth: dict[str, float] = {}
    for first, count, each, source in told:
        if source == best:
            truth |= dict.fromkeys(UIDS[first : first + count], each)
    assert {event.irradiation_event_uid for _, event in found.events} == truth.keys()
    if best != "image":
        assert {e.irradiation_event_uid: e.dlp_mgycm for _, e in found.events} == truth
        assert found.summary.ct_dlp_total_mgycm == pytest.approx(sum(truth.values()))
    assert found == derived(*events)


def test_a_corrected_report_wins_by_content_time_in_any_order() -> None:
    first, corrected = said(1, "s1", ct("e1", stated=10)), said(2, "s2", ct("e1", stated=12, each=12))
    for arranged in ((first, corrected), (corrected, first)):
        found = derived(*arranged)
        assert (found.summary.ct_dlp_total_mgycm, found.events[0][1].dlp_mgycm) == (12.0, 12.0)


def test_images_of_one_acquisition_are_brought_together() -> None:
    one = IrradiationEvent(
        irradiation_event_uid="x",
        ctdivol_mgy=8.0,
        kvp=120.0,
        started_at=20,
        protocol="Thorax",
        view="A",
        measured={"focal_spot_mm": 0.6},
    )
    other = replace(one, ctdivol_mgy=9.0, started_at=10, view="B", measured={})
    for told in ([one, other], [other, one]):
        found = one_acquisition(told)
        assert (found.ctdivol_mgy, found.kvp, found.started_at) == (8.5, 120.0, 10)
        assert (found.protocol, found.view, found.measured) == ("Thorax", "", {"focal_spot_mm": 0.6})


def test_a_total_that_no_report_states_is_a_row_of_its_events() -> None:
    (row,) = derived(said(1, "s1", ct("e1", "e2"))).totals
    assert (row.stated, row.from_events, row.dose_source, row.confidence) == (None, 20.0, "rdsr", "high")
    assert row.differs is None


def test_a_total_beside_its_events_tells_whether_they_differ() -> None:
    for stated, differs in ((20.0, False), (20.05, False), (21.0, True)):
        (row,) = derived(said(1, "s1", ct("e1", "e2", stated=stated))).totals
        assert (row.stated, row.from_events, row.differs) == (stated, 20.0, differs)
