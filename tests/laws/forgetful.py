"""The reconciler in memory that lets facts go for their snapshots, and reads them back where it derives a group."""

from collections.abc import Sequence
from dataclasses import replace

from histories import DAY
from law import records_of
from memory import Fact, MemoryReconciler, keys_of

from dosestream.events.codec import Codec
from dosestream.events.records import Appointment, EntitySnapshot, Order, Patient, Report, Study
from dosestream.reconcile.derive import Group
from dosestream.reconcile.rules import Rules
from dosestream.reconcile.snapshot import facts_of
from dosestream.reconcile.version import is_ahead

CODEC = Codec()
Message = Patient | Order | Study | Appointment | Report


class Forgetful(MemoryReconciler):
    """`forget` takes all facts that an identifier leads to out of memory, with the receipts of everything."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.let_go: dict[int, list[bytes]] = {}
        self.ahead: set[str] = set()
        self.forgotten = 0

    def first_heard(self, events: Sequence[object]) -> list[object]:  # type: ignore[override]
        found = super().first_heard(events)  # type: ignore[arg-type]
        self.ahead |= {
            e.event_id
            for e in found
            if isinstance(e, Message) and is_ahead(e, self.rules.future_tolerance_us)
        }
        return list(found)

    def forget(self) -> None:
        """As cleanup does with everything that is old enough."""
        groups: dict[int, list[Fact]] = {}
        for fact in self.facts.values():
            groups.setdefault(self.groups[f"e:{fact.event_id}"], []).append(fact)
        for number, facts in groups.items():
            if all(len(keys_of(fact, self.rules)) > 1 for fact in facts):
                self.let_go[number] = self.records(facts)
                self.forgotten += len(facts)
                for fact in facts:
                    del self.facts[fact.event_id]
                    del self.groups[f"e:{fact.event_id}"]
        stays = self.facts.keys() | self.ahead
        self.receipts = {event_id: at for event_id, at in self.receipts.items() if event_id in stays}

    def records(self, facts: Sequence[Fact]) -> list[bytes]:
        """What is written of a group's facts."""
        return records_of(facts)

    def recall(self, number: int) -> None:
        """Bring back what was let go of a group, and of those that became part of it."""
        for group in [g for g in self.let_go if self.now_known_as(g) == number]:
            written = (CODEC.decode(value, EntitySnapshot) for value in self.let_go.pop(group))
            for fact in facts_of(written, CODEC):
                self.groups[f"e:{fact.event_id}"] = number
                self.store(fact)
                first = self.facts[fact.event_id].received_at
                self.receipts[fact.event_id] = min(first, self.receipts.get(fact.event_id, first))

    def now_known_as(self, group: int) -> int:
        """The group that this one is part of by now."""
        while self.home.get(group, group) != group:
            group = self.home[group]
        return group

    def group(self, number: int) -> Group:
        self.recall(number)
        return super().group(number)

    def recall_all(self) -> None:
        """Everything, for who looks at the dose of all studies."""
        for group in list(self.let_go):
            self.recall(self.now_known_as(group))


class KeepsOrdersOnly(Forgetful):
    """Broken: of a group it writes the orders alone."""

    def records(self, facts: Sequence[Fact]) -> list[bytes]:
        return records_of([fact for fact in facts if isinstance(fact, Order)])


class HeardLater(Forgetful):
    """Broken: what comes back was first heard ten days later than it was."""

    def records(self, facts: Sequence[Fact]) -> list[bytes]:
        return records_of([replace(fact, received_at=fact.received_at + 10 * DAY) for fact in facts])
