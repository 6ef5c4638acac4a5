"""Which events decide about one study: those its identifiers and patients lead to, however far. Pure."""

from dataclasses import dataclass, field

from dosestream.events.records import Appointment, Decision, Order, Patient, Report, Study
from dosestream.reconcile.connecting import KEYS
from dosestream.reconcile.identity import bare_forms, dicom_identity, hl7_identities, normal, resolved
from dosestream.reconcile.rules import Rules

Event = Patient | Order | Study | Appointment | Report | Decision


def keys_of(event: Event, rules: Rules) -> set[str]:
    """What connects an event with others: the identifiers of its group, and `b:` those of its patients."""
    found = set(KEYS[type(event)](event, rules)) if type(event) in KEYS else set()
    return found | {f"b:{value}" for value in _patients(event, rules)}


def _patients(event: Event, rules: Rules) -> set[str]:
    if isinstance(event, Study):
        identity = dicom_identity(rules, event.source, event.patient, event.institution)
        return set() if identity is None else {identity.value} | bare_forms(rules, identity.value)
    if isinstance(event, Decision):
        named = [one for one in (event.patient, event.prior) if one is not None]
        return {normal(rules, one.authority, one.value) for one in named}
    if isinstance(event, Appointment):
        return set()
    found = {p.value for p in hl7_identities(rules, event.source, event.patient)}
    if isinstance(event, Patient):
        found |= {p.value for p in resolved(rules, event.source, event.prior_identifiers)}
    return found


@dataclass(slots=True)
class Related:
    """Grows with every event that belongs to it.

    Attributes:
        keys: what an event may be found by.
        events: those found, by event id, each with its first receipt.
    """

    rules: Rules
    keys: set[str] = field(default_factory=set)
    events: dict[str, Event] = field(default_factory=dict)

    @classmethod
    def of(cls, study_instance_uid: str, rules: Rules) -> "Related":
        """What leads away from a study."""
        return cls(rules, {f"u:{study_instance_uid}"})

    def hear(self, event: Event) -> bool:
        """Take an event where it belongs here; whether it did."""
        named = keys_of(event, self.rules)
        if self.keys.isdisjoint(named):
            return False
        self.keys |= named
        known = self.events.get(event.event_id)
        if known is None or event.received_at < known.received_at:
            self.events[event.event_id] = event
        return True

    def needles(self) -> set[bytes]:
        """Bytes of which every record holds one that names any of the keys; small letters where the site's
        identifiers are the same in capitals."""
        found = {key.partition(":")[2] for key in self.keys}
        if self.rules.ids_without_zeros:
            found |= {short for value in found if (short := value.lstrip("0"))}
        if self.rules.ids_without_case:
            found = {value.lower() for value in found}
        return {value.encode() for value in found if value}
