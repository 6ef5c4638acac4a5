"""What the simulated hospital keeps: patient records, orders and studies, as they are and as they were told."""

from dataclasses import dataclass, field
from datetime import date

from dosestream.simulate.dose_reports import Exposures, Request
from dosestream.simulate.hl7_messages import Person
from dosestream.simulate.procedures import Procedure, Room


@dataclass(eq=False, slots=True)
class Chart:
    """A patient record under one identifier. `told` once an ADT has named it; `national` is a further identifier
    that the HIS knows its patient by, empty where it knows none."""

    identifier: str
    authority: str
    name: str
    birth_date: date | None
    sex: str
    address: str
    merged_into: "Chart | None" = None
    told: bool = False
    national: str = ""

    def survivor(self) -> "Chart":
        """The record this one ended up in, itself where nobody merged it."""
        return self if self.merged_into is None else self.merged_into.survivor()

    def person(self) -> Person:
        return Person(
            self.identifier,
            self.authority,
            self.name,
            self.birth_date,
            self.sex,
            address=self.address,
            national=self.national,
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What the radiologist signed at a time (microseconds since 1970 UTC): OBR-25, and the lines of the text."""

    at: int
    status: str
    lines: tuple[str, ...]


@dataclass(eq=False, slots=True)
class Order:
    """An imaging order. `told` holds the attributes that some message has named; the rest nobody outside knows.

    `appointment` is the number it is booked under, empty where nobody booked; `by_appointment` says that the last
    word on its status was the appointment's. `findings` are its reports, the newest last.
    """

    chart: Chart
    procedure: Procedure
    modality: str
    placer: str
    filler: str
    accession: str
    requested_procedure_id: str
    step_id: str
    study_uid: str
    scheduled_at: int
    group: str = ""
    status: str = ""
    told: set[str] = field(default_factory=set)
    appointment: str = ""
    by_appointment: bool = False
    findings: list[Finding] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Scan:
    """A study done.

    Attributes:
        chart: who was scanned; None where the scanner was told nobody.
        orders: what it was done for, the primary first.
        link_state, link_method: as the scenario means it; `conflict` where the wrong worklist entry was chosen.
        accession: what the reports say.
        counted: the exposures of each report whose totals count.
        procedure_code: what the report names as its procedure, empty where it names none.
        typed: the name was typed at the scanner, in capitals and without title.
    """

    chart: Chart | None
    room: Room
    procedure: Procedure
    study_uid: str
    study_at: int
    orders: tuple[Order, ...]
    link_state: str
    link_method: str
    accession: str
    request: Request | None = None
    description: str = ""
    counted: list[Exposures] = field(default_factory=list)
    dose: bool = True
    procedure_code: str = ""
    typed: bool = False
