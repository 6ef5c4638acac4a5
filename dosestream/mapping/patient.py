"""ADT messages to patient events (IHE RAD-1, RAD-12; HL7 v2.5.1 chapter 3)."""

from datetime import tzinfo
from typing import Any

from dosestream.events.records import Identifier
from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.hl7.reader import Group, Message, Segment
from dosestream.kafka.topics import Topic
from dosestream.mapping.defaults import ADMITTED, PATIENT, PATIENT_EVENT_TIME, PRIOR_IDENTIFIERS
from dosestream.mapping.draft import Draft, put_event_time, put_time, read_demographics, read_rows
from dosestream.mapping.values import cx_repetitions

# Trigger event to what it does.
ACTIONS: dict[str, str] = {
    **dict.fromkeys(("A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A10", "A28", "A31"), "update"),
    # A visit's event is taken back; what PID says about the patient holds all the same.
    **dict.fromkeys(("A11", "A12", "A13"), "cancel"),
    "A40": "merge",
    "A47": "change_id",
}
WITH_PRIOR = frozenset({"merge", "change_id"})

NO_PATIENT_ID = Refusal(
    "no_patient_id", 101, "The message names no patient: PID-3 is empty.", "PID-3", Severity.ERROR
)
NO_PRIOR_ID = Refusal(
    "no_prior_patient_id",
    101,
    "The message does not say which patient is merged or renamed: MRG-1 is empty.",
    "MRG-1",
    Severity.ERROR,
)


def draft_patients(message: Message, trigger: str, local: tzinfo) -> tuple[list[Draft], Refusal | None]:
    """One draft, or one for each PID and MRG pair of a merge; and the first thing that could not be mapped."""
    action = ACTIONS[trigger]
    drafts: list[Draft] = []
    refusal: Refusal | None = None
    for index, (group, prior_segment) in enumerate(_groups(message, action)):
        paths: dict[str, str] = {}
        patient = read_demographics(group, paths)
        prior = _prior(prior_segment, paths)
        if not patient.identifiers:
            refusal = refusal or NO_PATIENT_ID
            continue
        if action in WITH_PRIOR and not prior:
            refusal = refusal or NO_PRIOR_ID
            continue
        fields: dict[str, Any] = {
            "action": action,
            "trigger": trigger,
            "patient": patient,
            "prior_identifiers": prior,
            "paths": paths,
        }
        read_rows(PATIENT, group, fields, paths)
        put_event_time(PATIENT_EVENT_TIME, group, local, fields)
        put_time("admitted_at", ADMITTED, group, local, fields, paths)
        drafts.append(Draft(Topic.PATIENT, index, fields, patient.identifiers))
    return drafts, refusal


def _groups(message: Message, action: str) -> list[tuple[Group, Segment | None]]:
    """PID with what follows it, once per MRG behind it; the message itself where nothing repeats."""
    if action not in WITH_PRIOR:
        return [(message, None)]
    starts = [i for i, segment in enumerate(message.segments) if segment.name == "PID"]
    if not starts:
        return [(message, None)]
    head = Group(message.segments[: starts[0]])
    pairs: list[tuple[Group, Segment | None]] = []
    for start, end in zip(starts, [*starts[1:], len(message.segments)], strict=True):
        group = Group(message.segments[start:end], head)
        pairs += [(group, merge) for merge in group.all("MRG")] or [(group, None)]
    return pairs


def _prior(segment: Segment | None, paths: dict[str, str]) -> tuple[Identifier, ...]:
    if segment is None:
        return ()
    for path in PRIOR_IDENTIFIERS:
        if found := cx_repetitions(segment, path.field):
            if path is not PRIOR_IDENTIFIERS[0]:
                paths["prior_identifiers"] = path.text
            return found
    return ()
