"""Several instances for one study, in any order, repeated, in any batches: the dose that was planned."""

from collections.abc import Sequence
from functools import cache

import law
import orjson
import pytest
from arrived import instance, study_of
from histories import IN_ORDER, PLANS, Plan
from hypothesis import HealthCheck, given, settings
from memory import Fact, MemoryReconciler

from dosestream.events.records import Study
from dosestream.simulate.sr_plan import Answer
from dosestream.simulate.sr_reports import draw
from dosestream.simulate.sr_sequences import COLUMNS, SEQUENCES, Sent

AT = 1_772_438_400_000_000
CASES = [(name, kind) for name, (_, kinds) in SEQUENCES.items() for kind in kinds]


@cache
def sent(name: str, kind: str) -> Sent:
    return SEQUENCES[name][0](kind, draw(f"{name}/{kind}", AT))


@cache
def heard(name: str, kind: str) -> tuple[Study, ...]:
    """What arrivals makes of the instances, a minute apart."""
    events = []
    for number, plan in enumerate(sent(name, kind).plans):
        head = plan.head
        raw = instance(
            plan.body(),
            control_id=head.sop_uid,
            message_type=head.sop_class,
            received_at=AT + number * 60_000_000,
        )
        events.append(study_of(raw, number))
    return tuple(events)


def near(value: float | None) -> object:
    """None, or a number that another way of adding up may round in another way."""
    return None if value is None else pytest.approx(value, rel=1e-9)


def the_dose_is_as_planned(make: law.Maker, name: str, kind: str, plan: Plan) -> None:
    found: list[tuple[str, Answer]] = [
        orjson.loads(row) for row in law.played(make, heard(name, kind), plan).elements()
    ]
    answers = [study.answer() for study in sent(name, kind).studies]
    columns = ("event_count", *COLUMNS)
    said = [{column: row[column] for column in columns} for table, row in found if table == "DoseSummary"]
    true = [{column: near(answer[column]) for column in columns} for answer in answers]
    assert len(said) == len(true)
    assert all(one in said for one in true), (said, true)
    events = {row["irradiation_event_uid"]: row for table, row in found if table == "IrradiationEvent"}
    planned = {uid: event for answer in answers for uid, event in answer["events"].items()}
    assert events.keys() == planned.keys()
    for uid, event in planned.items():
        for column in ("dlp_mgycm", "ctdivol_mgy", "dap_gym2", "dose_rp_gy", "agd_mgy"):
            assert events[uid][column] == near(event.get(column)), column


@pytest.mark.parametrize(("name", "kind"), CASES)
@given(plan=PLANS)
@settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_the_dose_of_a_study_is_as_planned_in_any_order_of_arrival(name: str, kind: str, plan: Plan) -> None:
    the_dose_is_as_planned(MemoryReconciler, name, kind, plan)


class FirstReportHolds(MemoryReconciler):
    """Broken: a study keeps the first report it heard."""

    def file(self, facts: Sequence[Fact]) -> set[int]:
        known = {fact.study_instance_uid for fact in self.facts.values() if isinstance(fact, Study)}
        kept = []
        for fact in facts:
            if not isinstance(fact, Study) or fact.study_instance_uid not in known:
                kept.append(fact)
            if isinstance(fact, Study):
                known.add(fact.study_instance_uid)
        return super().file(kept)


@pytest.mark.parametrize("name", ["growing", "continued", "corrected", "report after images"])
def test_a_reconciler_that_keeps_the_first_report_is_found_out(name: str) -> None:
    with pytest.raises(AssertionError):
        the_dose_is_as_planned(FirstReportHolds, name, "ct", IN_ORDER)
