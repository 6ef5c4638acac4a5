"""Reconcilers broken on purpose: each breaks one rule that is easily broken, and the laws must catch it."""

from collections.abc import Sequence
from dataclasses import replace

from memory import Fact, MemoryReconciler, keys_of

from dosestream.db.records import Decoded
from dosestream.events.records import Decision, Order, Patient, Report, Study
from dosestream.kafka.records import Partition
from dosestream.reconcile.bonds import Bond
from dosestream.reconcile.facts import StudyFact
from dosestream.reconcile.fold import Fold
from dosestream.reconcile.rows import GroupRows
from dosestream.reconcile.studies import ArrivedStudy


class LastMergeArrived(MemoryReconciler):
    """Of the merges of one identifier, the one that arrived last holds."""

    def note_bond(self, one: Bond) -> None:
        self.bonds = {key: bond for key, bond in self.bonds.items() if bond.prior != one.prior}
        super().note_bond(one)


class LastWordArrived(MemoryReconciler):
    """Of a patient's values, the one that arrived last holds."""

    def fold_in(self, known: Fold, said: Fold) -> Fold:
        return {**known, **said}


class LateFactDropped(MemoryReconciler):
    """What comes after the window has closed is dropped, as stream processors do."""

    def store(self, fact: Fact) -> None:
        begun = fact.study_at if isinstance(fact, Study) else None
        if begun is not None and self.now > begun + self.rules.window_us + self.rules.grace_us:
            return
        super().store(fact)


class CancelRemoves(MemoryReconciler):
    """A cancel removes what was known of the order, and is itself not kept."""

    def store(self, fact: Fact) -> None:
        if isinstance(fact, Order) and fact.control_code == "CA":
            keys = set(keys_of(fact, self.rules))
            for known in [f for f in self.facts.values() if isinstance(f, Order)]:
                if keys & set(keys_of(known, self.rules)):
                    del self.facts[known.event_id]
            return
        super().store(fact)


class LastWordOfAStep(MemoryReconciler):
    """Of a performed step only the message that arrived last is kept, as of a record that is updated in place."""

    def store(self, fact: Fact) -> None:
        if isinstance(fact, Study) and fact.kind == "performed_step":
            for known in [f for f in self.facts.values() if isinstance(f, Study)]:
                if known.kind == fact.kind and known.sop_instance_uid == fact.sop_instance_uid:
                    del self.facts[known.event_id]
        super().store(fact)


class AmendedByProcessing(MemoryReconciler):
    """A row is amended when it changed after it was final here, not when its values were first heard late."""

    def rows(self, number: int, found: GroupRows) -> GroupRows:
        before = self.derived.get(number)
        if before is None:
            return found
        closed = {row.study_instance_uid: row for row in before.studies if row.phase != "provisional"}
        studies = tuple(
            replace(row, phase="amended")
            if (old := closed.get(row.study_instance_uid)) is not None and old != row
            else row
            for row in found.studies
        )
        return replace(found, studies=studies)


class AlertSinceProcessing(MemoryReconciler):
    """A threshold is reached when the report that came to it was processed here, not when it was received."""

    def heard(self, study: ArrivedStudy) -> Sequence[StudyFact]:
        nth = {event_id: number for number, event_id in enumerate(self.facts)}
        return [replace(f, event=replace(f.event, received_at=nth[f.event.event_id])) for f in study.heard]


class FirstOfASet(MemoryReconciler):
    """Of several orders only the one that a set yields first is performed."""

    def rows(self, number: int, found: GroupRows) -> GroupRows:
        first = next(iter({row.row_key for row in found.orders}), None)
        orders = (
            row if row.row_key == first else replace(row, study_instance_uid=None) for row in found.orders
        )
        return replace(found, orders=tuple(orders))


class PairUnlocked(MemoryReconciler):
    """Two workers read before either wrote: each files its half of a pair in a group of its own."""

    def apply_at_once(self, one: Sequence[Decoded], other: Sequence[Decoded]) -> None:
        before = dict(self.groups)
        self.apply(one)
        hidden = {key: group for key, group in self.groups.items() if key not in before}
        for key in hidden:
            del self.groups[key]
        facts = {f.event_id: f for f in self.facts.values() if f"e:{f.event_id}" in hidden}
        for event_id in facts:
            del self.facts[event_id]
        self.apply(other)
        self.groups = hidden | self.groups
        self.facts |= facts


class StraddlingBatchSkipped(MemoryReconciler):
    """A batch that begins below the ledger is taken for one that was applied already."""

    def due(self, batch: Sequence[Decoded]) -> tuple[list[Decoded], dict[Partition, int]]:
        due, positions = super().due(batch)
        return (due if len(due) == len(batch) else []), positions


class ChangeReachesNoStudy(MemoryReconciler):
    """A patient's change is stored and its studies are not derived again."""

    def hear(self, events: Sequence[Patient | Order | Decision | Report]) -> set[str]:
        super().hear(events)
        return set()


class HashBeforeReceipt(MemoryReconciler):
    """Where times tie, the greater content hash wins instead of the later receipt."""

    def fold_in(self, known: Fold, said: Fold) -> Fold:
        hashed: Fold = {
            name: {
                value: {**entry, "said": {event_id: int(event_id[:8], 16) for event_id in entry["said"]}}
                for value, entry in values.items()
            }
            for name, values in said.items()
        }
        return super().fold_in(known, hashed)
