"""Performed procedure steps as one instance each: what N-CREATE and every N-SET of a step said, together.

A later message (by version) says more of the step or changes it. An N-SET names neither study nor patient; it
has them from the others of its step, whichever came first. One whose step was never created says nothing yet.
"""

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, Final

from dosestream.events.records import Study
from dosestream.reconcile.facts import StudyFact

KIND: Final = "performed_step"
# When the study began is said once, by the first.
OF_THE_FIRST: Final = frozenset({"study_instance_uid", "study_at", "study_local", "study_zone"})
# What belongs to a message and not to the step.
OF_ITS_OWN: Final = frozenset(
    {
        *("event_id", "source", "control_id", "received_at", "raw_partition", "raw_offset", "message_type"),
        *("event_time", "event_time_path", "message_time", "sequence_number", "kind", "issues"),
    }
)
INHERITED: Final = tuple(
    field.name for field in fields(Study) if field.name not in OF_ITS_OWN and field.name != "patient"
)


def placed(facts: Iterable[StudyFact]) -> list[StudyFact]:
    """The facts with each message about a step completed by the earlier ones of its step; any order."""
    found: list[StudyFact] = []
    steps: dict[str, list[StudyFact]] = {}
    for fact in facts:
        if fact.event.kind == KIND:
            steps.setdefault(fact.event.sop_instance_uid, []).append(fact)
        else:
            found.append(fact)
    for step in steps.values():
        study = next((f.event.study_instance_uid for f in _sorted(step) if f.event.study_instance_uid), "")
        if not study:
            continue
        before: Study | None = None
        for fact in _sorted(step):
            event = replace(fact.event, study_instance_uid=study)
            if before is not None:
                event = _completed(event, before)
            found.append(replace(fact, event=event))
            before = event
    return found


def _sorted(facts: Iterable[StudyFact]) -> list[StudyFact]:
    return sorted(facts, key=lambda fact: (fact.version, fact.event.event_id))


def _completed(event: Study, before: Study) -> Study:
    changes: dict[str, Any] = {
        name: old
        for name in INHERITED
        if (old := getattr(before, name)) and (name in OF_THE_FIRST or not getattr(event, name))
    }
    if not event.patient.identifiers:
        changes["patient"] = before.patient
    return replace(event, **changes)
