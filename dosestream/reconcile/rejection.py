"""Rejection notes (IHE IOCM): the instances they name do not count, whichever came first.

A dose report named adds nothing to its study's dose. A study all of whose dose reports are named is excluded; so is
one without dose reports all of whose instances are named. A decision to include the study outranks its notes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dosestream.events.records import Decision, Study
from dosestream.reconcile.decisions import for_study
from dosestream.reconcile.facts import StudyFact

NOTE = "rejection_note"
REPORT = "dose_report"


@dataclass(frozen=True, slots=True)
class Rejected:
    """What notes take back of one study.

    Attributes:
        notes: SOP instance named to the note first received that names it.
        excluded: whether nothing of the study is left that counts.
    """

    notes: Mapping[str, Study] = field(default_factory=dict)
    excluded: bool = False

    @property
    def note(self) -> Study | None:
        """The note that made it so: the last heard of, each instance by the note first received that names it."""
        return max(self.notes.values(), key=_received, default=None)


NOTHING_REJECTED = Rejected()


def rejected(
    studies: Mapping[str, Sequence[StudyFact]], decisions: Iterable[Decision]
) -> dict[str, Rejected]:
    """By study, what is rejected of it.

    Args:
        studies: the group's instances by Study Instance UID, each SOP instance in its newest version.
        decisions: the group's decisions.
    """
    notes: dict[str, Study] = {}
    for facts in studies.values():
        for fact in facts:
            for sop in fact.event.rejected_instances:
                known = notes.get(sop)
                if known is None or _received(fact.event) < _received(known):
                    notes[sop] = fact.event
    if not notes:
        return {}
    decisions = list(decisions)
    found = {}
    for uid, facts in studies.items():
        instances = {f.event.sop_instance_uid: f.event.kind for f in facts if f.event.kind != NOTE}
        named = {sop: notes[sop] for sop in instances if sop in notes}
        if not named or for_study(decisions, uid).inclusion is not None:
            continue
        counting = {sop for sop, kind in instances.items() if kind == REPORT} or set(instances)
        found[uid] = Rejected(named, counting <= named.keys())
    return found


def _received(event: Study) -> tuple[int, str]:
    return event.received_at, event.event_id
