"""ADT messages to patient events (IHE RAD-1, RAD-12; HL7 v2.5.1 chapter 3)."""

from dataclasses import replace
from datetime import tzinfo
from typing import Any, NamedTuple

from dosestream.events.records import Demographics, Identifier
from dosestream.hl7.acceptance import Refusal, Severity
from dosestream.hl7.path import Path
from dosestream.hl7.reader import Group, Message, Segment
from dosestream.kafka.topics import Topic
from dosestream.mapping.defaults import ADMITTED, PATIENT, PATIENT_EVENT_TIME, PRIOR_IDENTIFIERS
from dosestream.mapping.draft import Draft, put_event_time, put_time, read_demographics, read_rows
from dosestream.mapping.site import Overlay
from dosestream.mapping.values import cx_repetitions, first

# Trigger event to what it does.
ACTIONS: dict[str, str] = {
    **dict.fromkeys(("A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A10", "A28", "A31"), "update"),
    # A visit's event is taken back; what PID says about the patient holds all the same.
    **dict.fromkeys(("A11", "A12", "A13", "A32"), "cancel"),
    **dict.fromkeys(("A18", "A34", "A36", "A39", "A40"), "merge"),
    **dict.fromkeys(("A46", "A47"), "change_id"),
    "A24": "link",
    "A37": "unlink",
    **dict.fromkeys(("A35", "A41", "A42", "A43", "A44", "A45", "A49", "A50", "A51"), "move"),
    **dict.fromkeys(("A23", "A29"), "delete"),
}
WITH_PRIOR = frozenset({"merge", "change_id", "move"})
# Two patients stand side by side in two PIDs.
PAIRED = frozenset({"link", "unlink"})
# Of the moves those that must say from whom; the others change numbers of one patient.
FROM_SOMEBODY = frozenset({"A43", "A44", "A45"})
# Whose persons are told apart by PID-2 and MRG-4 as well (the enterprise's identifier).
ENTERPRISE = frozenset({"A39", "A43"})
ENTERPRISE_ID = (Path.parse("PID-2"), Path.parse("MRG-4"))

# What a visit (or account) is called now, and what it was called before.
VISIT = (Path.parse("PV1-19"), Path.parse("MRG-5"))
ACCOUNT = (Path.parse("PID-18"), Path.parse("MRG-3"))
ALTERNATE = (Path.parse("PV1-50"), Path.parse("MRG-6"))
VISIT_NUMBERS: dict[str, tuple[Path, Path]] = {
    **dict.fromkeys(("A35", "A36", "A41", "A44", "A49"), ACCOUNT),
    **dict.fromkeys(("A42", "A45", "A50"), VISIT),
    "A51": ALTERNATE,
}

NO_PATIENT_ID = Refusal(
    "no_patient_id", 101, "The message names no patient: PID-3 is empty.", "PID-3", Severity.ERROR
)
NO_PRIOR_ID = Refusal(
    "no_prior_patient_id",
    101,
    "The message does not say which patient is merged, renamed or moved from: MRG-1 is empty.",
    "MRG-1",
    Severity.ERROR,
)

NO_SECOND_PATIENT = Refusal(
    "no_second_patient",
    101,
    "The message links or unlinks two patients, but names one: the second PID is missing.",
    "PID",
    Severity.ERROR,
)


class Said(NamedTuple):
    """One patient of a message, with the MRG or the other PID that belongs to it."""

    group: Group
    prior: Segment | None = None
    other: Group | None = None


def draft_patients(
    message: Message, trigger: str, site: Overlay | None, local: tzinfo
) -> tuple[list[Draft], Refusal | None]:
    """One draft, or one for each PID and MRG pair of a merge or move and each PID of a link; and the first
    thing that could not be mapped."""
    action = ACTIONS[trigger]
    drafts: list[Draft] = []
    refusal: Refusal | None = None
    for index, said in enumerate(_said(message, action)):
        paths: dict[str, str] = {}
        patient = read_demographics(said.group, paths)
        if said.other is not None:
            prior = read_demographics(said.other, {}).identifiers
        else:
            prior = _prior(said.prior, paths)
        if trigger in ENTERPRISE and patient.identifiers:
            patient, prior = _with_enterprise(patient, prior, said)
        fields: dict[str, Any] = {
            "action": action,
            "trigger": trigger,
            "patient": patient,
            "prior_identifiers": prior,
            "paths": paths,
        }
        read_rows(PATIENT, said.group, fields, paths)
        fields |= _visit_numbers(trigger, said)
        put_event_time(PATIENT_EVENT_TIME, said.group, local, fields)
        put_time("admitted_at", ADMITTED, said.group, local, fields, paths)
        draft = Draft(Topic.PATIENT, index, fields, patient.identifiers, said.group)
        changed = draft if site is None else site.apply(draft, local)
        if isinstance(changed, Draft):
            draft = changed
            wrong = _missing(draft, action, trigger, said)
        else:
            wrong = changed
        if wrong is None:
            drafts.append(draft)
        refusal = refusal or wrong
    return drafts, refusal


def _missing(draft: Draft, action: str, trigger: str, said: Said) -> Refusal | None:
    """What a patient event cannot do without and does not say."""
    if not draft.identifiers:
        return NO_PATIENT_ID
    prior = draft.fields.get("prior_identifiers")
    if not prior and (action in ("merge", "change_id") or trigger in FROM_SOMEBODY):
        return NO_PRIOR_ID
    if action in PAIRED and said.other is None:
        return NO_SECOND_PATIENT
    return None


def _said(message: Message, action: str) -> list[Said]:
    """PID with what follows it, once per MRG behind it; both PIDs of a link; else the message itself."""
    starts = [i for i, segment in enumerate(message.segments) if segment.name == "PID"]
    if action not in WITH_PRIOR | PAIRED or not starts:
        return [Said(message)]
    head = Group(message.segments[: starts[0]])
    ends = [*starts[1:], len(message.segments)]
    groups = [Group(message.segments[i:j], head) for i, j in zip(starts, ends, strict=True)]
    if action in PAIRED:
        return [
            Said(group, other=groups[(index + 1) % 2] if len(groups) > 1 else None)
            for index, group in enumerate(groups[:2])
        ]
    return [said for group in groups for said in _per_merge(group)]


def _per_merge(group: Group) -> list[Said]:
    """A PID's group, once per MRG with what follows that one."""
    segments = list(group.segments)
    starts = [i for i, segment in enumerate(segments) if segment.name == "MRG"]
    if len(starts) < 2:
        return [Said(group, group.first("MRG"))]
    ends = [*starts[1:], len(segments)]
    return [Said(Group(segments[i:j], group), segments[i]) for i, j in zip(starts, ends, strict=True)]


def _visit_numbers(trigger: str, said: Said) -> dict[str, str]:
    """The number of the visit or account that a message is about, and what it was before: the same where
    nothing else is said, since it is the patient that changes then."""
    if trigger not in VISIT_NUMBERS:
        return {}
    now, before = VISIT_NUMBERS[trigger]
    number = _number(now, said.group.first(now.segment))
    prior = _number(before, said.prior)
    return {"visit_number": number or prior, "prior_visit_number": prior or number}


def _number(path: Path, segment: Segment | None) -> str:
    return "" if segment is None else first(path.read(segment), segment.delimiters)


def _with_enterprise(
    patient: Demographics, prior: tuple[Identifier, ...], said: Said
) -> tuple[Demographics, tuple[Identifier, ...]]:
    now, before = ENTERPRISE_ID
    segment = said.group.first(now.segment)
    more = cx_repetitions(segment, now.field) if segment is not None else ()
    past = cx_repetitions(said.prior, before.field) if said.prior is not None else ()
    return (
        replace(patient, identifiers=tuple(dict.fromkeys((*patient.identifiers, *more)))),
        tuple(dict.fromkeys((*prior, *past))),
    )


def _prior(segment: Segment | None, paths: dict[str, str]) -> tuple[Identifier, ...]:
    if segment is None:
        return ()
    for path in PRIOR_IDENTIFIERS:
        if found := cx_repetitions(segment, path.field):
            if path is not PRIOR_IDENTIFIERS[0]:
                paths["prior_identifiers"] = path.text
            return found
    return ()
