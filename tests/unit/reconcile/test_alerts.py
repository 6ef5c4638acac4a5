"""Which totals of a study are alerts, and since when that is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import pytest
from said import arrival, at, ct_report

from dosestream.events.records import DoseReport, DoseTotal, Study
from dosestream.reconcile.alerts import alert_rows
from dosestream.reconcile.facts import study_fact
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.studies import arrived_studies
from dosestream.reconcile.totals import Report, study_dose

RULES = Rules(alert_thresholds={"ct_dlp": 100.0, "dose_rp": 5.0})


def told(
    second: float, *events: str, each: float = 40.0, sop: str = "1.2.3.1", heard: float | None = None
) -> Study:
    """A CT report whose content is of this second."""
    return arrival(second, sop=sop, dose=ct_report(*events, each=each), received=heard, study_at=at(0))


SMALL, GROWN = told(10, "e1", "e2"), told(20, "e1", "e2", "e3", sop="1.2.3.2")
HIGH = told(10, "e1", each=150.0)
LOWER = told(20, "e1", each=90.0)
ANGIOGRAPHY = arrival(
    30,
    sop="1.2.3.9",
    dose=DoseReport(template="10001", totals=(DoseTotal(quantity="dose_rp", value=5.0, unit="Gy"),)),
)


@dataclass(frozen=True)
class Case:
    said: Sequence[Study]
    # Kind, value, and the second since which it is known.
    alerts: Sequence[tuple[str, float, float]] = ()
    rejected: frozenset[str] = frozenset()


CASES = {
    "below the threshold nothing": Case([SMALL]),
    "a report that grows, since the one that came to it": Case([SMALL, GROWN], [("ct_dlp", 120.0, 20)]),
    "a report continued in another one": Case(
        [SMALL, told(25, "e3", "e4", sop="1.2.3.3")], [("ct_dlp", 160.0, 25)]
    ),
    "what is heard late is known late": Case(
        [SMALL, replace(GROWN, received_at=at(500))], [("ct_dlp", 120.0, 500)]
    ),
    "what was heard again counts from its first receipt": Case(
        [SMALL, GROWN, replace(GROWN, event_id="again", received_at=at(15))], [("ct_dlp", 120.0, 15)]
    ),
    "a total of exactly the threshold": Case([ANGIOGRAPHY], [("dose_rp", 5.0, 30)]),
    "two totals of one study": Case(
        [SMALL, GROWN, ANGIOGRAPHY], [("ct_dlp", 120.0, 20), ("dose_rp", 5.0, 30)]
    ),
    "corrected downwards": Case([HIGH, LOWER]),
    "corrected upwards, since the correction": Case(
        [LOWER, replace(HIGH, event_id="later", event_time=at(40), message_time=at(40), received_at=at(40))],
        [("ct_dlp", 150.0, 40)],
    ),
    "an old version heard after the newer one changes nothing": Case(
        [replace(LOWER, received_at=at(5)), replace(HIGH, received_at=at(60))]
    ),
    "rejected reports do not count": Case([SMALL, GROWN], rejected=frozenset({"1.2.3.2"})),
    "a study without dose": Case([arrival(10, kind="image")]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_alerts(case: Case) -> None:
    for said in permutations(case.said):
        (study,) = arrived_studies((study_fact(event, RULES) for event in said), RULES)
        counting = [
            Report(f.event, f.event.dose, f.version)
            for f in study.facts
            if f.event.dose is not None and f.event.sop_instance_uid not in case.rejected
        ]
        summary = study_dose(counting, None).summary
        found = alert_rows("1.2.3", summary, study.heard, case.rejected, RULES.alert_thresholds)
        assert [(row.kind, row.value, row.first_triggered_at) for row in found] == [
            (kind, value, at(second)) for kind, value, second in case.alerts
        ]
        assert [row.threshold for row in found] == [RULES.alert_thresholds[row.kind] for row in found]
