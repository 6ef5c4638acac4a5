"""Which message said what of whom: so that it can be told when a value was first heard."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dosestream.simulate.hl7_messages import Person
from dosestream.simulate.records import Chart, Order, Scan

DEMOGRAPHICS = ("name", "birth_date", "sex")
# Under which attribute an appointment's word on the status is noted: it does not repeat an order message's.
BY_APPOINTMENT = "status by appointment"
# What an order's messages say that a study's row shows.
ATTRIBUTES = ("accession", "placer", "filler", "requested_procedure_id")
Word = tuple[int, str, Hashable]


@dataclass(slots=True)
class Said:
    """Names of messages (MSH-10, SOP Instance UID) by what they say."""

    names: dict[Word, list[str]] = field(default_factory=dict)
    # The person as an order's newest message names them.
    newest: dict[int, Hashable] = field(default_factory=dict)

    def note(self, name: str, subject: object, attribute: str, value: Hashable) -> None:
        """A message says a value of an attribute of something."""
        self.names.setdefault((id(subject), attribute, value), []).append(name)

    def of_patient(self, name: str, chart: Chart) -> None:
        """A message says who a patient is."""
        for attribute in DEMOGRAPHICS:
            self.note(name, chart, attribute, getattr(chart, attribute))

    def of_order(self, name: str, order: Order, named: Iterable[str], person: Person, form: str) -> None:
        """A message speaks of an order: its numbers where they are `named`, procedure, status, patient."""
        for attribute in ATTRIBUTES:
            if attribute in named:
                self.note(name, order, attribute, getattr(order, attribute))
        self.note(name, order, "procedure", order.procedure.code)
        self.note(name, order, "status", order.status)
        if form == "ORM":
            self.note(name, order, "referring physician", True)
        whom = replace(person, address="")
        self.note(name, order, "person", whom)
        self.newest[id(order)] = whom
        self.of_patient(name, order.chart)

    def of_dose(self, name: str, scan: Scan, uids: Sequence[str]) -> None:
        """A report tells the dose of these irradiation events, and states their totals."""
        for uid in uids:
            self.note(name, scan, "event", uid)
        self.note(name, scan, "totals", frozenset(uids))

    def first(self, sent: Mapping[str, int], subject: object, attribute: str, value: Hashable) -> int | None:
        """When a value was first sent (`sent`: message to its first sending), None where it never was."""
        names = self.names.get((id(subject), attribute, value), ())
        return min((sent[name] for name in names if name in sent), default=None)
