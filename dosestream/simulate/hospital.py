"""The simulated hospital: people, orders and scans that change as the scenario is played.

Each action changes the world and puts what the hospital's systems would say about it on the timeline. The
truth (`truth.py`) is read from the world afterwards, so it says what happened, not what a receiver should
conclude from the messages.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from random import Random
from uuid import UUID

from dosestream.simulate import dose_reports, hl7_messages, people
from dosestream.simulate.dose_reports import KINDS, Exposures, Header, Request
from dosestream.simulate.hl7_messages import OrderGroup, Person, Sender
from dosestream.simulate.procedures import CATALOGUE, ROOMS, Procedure, Room
from dosestream.simulate.records import Chart, Order, Scan
from dosestream.simulate.said import Said
from dosestream.simulate.timeline import DICOM, HL7, SECOND, Step, in_order

# What the status of an order is called once these two codes (ORC-1, ORC-5) were the last said about it.
STATUS: Mapping[tuple[str, str], str] = {
    ("NW", ""): "SCHEDULED",
    ("NW", "SC"): "SCHEDULED",
    ("XO", "SC"): "SCHEDULED",
    ("SC", "IP"): "STARTED",
    ("SC", "CM"): "COMPLETED",
    ("XO", "CM"): "COMPLETED",
    ("CA", "CA"): "CANCELED",
    ("CA", ""): "CANCELED",
    ("DC", "CA"): "DISCONTINUED",
}
# The sending systems.
HIS = Sender("HIS", "HIS", "HOSP")
EMR = Sender("EMR", "EMR", "HOSP", "2.5.1", "UNICODE UTF-8", enhanced=True, offset_minutes=60)
RIS = Sender("RIS", "RIS", "RADIOLOGY", "2.3.1", "8859/1")
RIS2 = Sender("RIS2", "RIS2", "RADIOLOGY", "2.5.1", "UNICODE UTF-8")
ORDER_FORMS = {"ORM": hl7_messages.orm, "OMG": hl7_messages.omg, "OMI": hl7_messages.omi}


@dataclass(slots=True)
class Hospital:
    """One site on one day.

    Attributes:
        rng: the only source of chance.
        day: the day played.
        tag: digits unique to site, day and seed, part of every identifier.
        default_authority: this site's authority is the receiver's default, so a system may leave it out.
        write: how scanners write a dose report.
        said: which message said what.
        skewed: control ids of messages stamped by a clock that is wrong.
        neighbours: other hospitals give some of the numbers that this one gives.
        clocks_ahead: some clocks may run ahead; False stamps their messages right.
    """

    rng: Random
    day: date
    tag: str
    authority: str = "HOSP"
    default_authority: bool = True
    charts: list[Chart] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    scans: list[Scan] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    serials: dict[str, int] = field(default_factory=dict)
    write: Callable[[Header, Exposures], bytes] = dose_reports.report
    said: Said = field(default_factory=Said)
    skewed: set[str] = field(default_factory=set)
    neighbours: bool = False
    clocks_ahead: bool = True

    # Identifiers and time.

    def serial(self, prefix: str, width: int = 4) -> str:
        """The next identifier of its kind, at most 16 characters."""
        self.serials[prefix] = self.serials.get(prefix, 0) + 1
        return f"{prefix}{self.tag}{self.serials[prefix]:0{width}d}"

    def common(self, kind: str) -> str:
        """The next number of a kind as every hospital of these days and seed counts them: a neighbour gives the same."""
        self.serials[f"common {kind}"] = number = self.serials.get(f"common {kind}", 0) + 1
        return f"{self.tag[-9:]}{number:05d}"

    def uid(self) -> str:
        """A UID from a UUID (PS3.5, B.2), of those with 39 digits: so files of one shape are of one length."""
        while len(digits := str(UUID(int=self.rng.getrandbits(128), version=4).int)) < 39:
            pass
        return f"2.25.{digits}"

    def clock(self, hours: float) -> int:
        """A time of the day played, microseconds since 1970 UTC, in whole seconds."""
        midnight = int(datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC).timestamp())
        return (midnight + int(hours * 3600)) * SECOND

    def room(self, ae_title: str) -> Room:
        return next(room for room in ROOMS if room.ae_title == ae_title)

    # The timeline.

    def say(
        self, sender: Sender, at: int, kind: str, name: str, body: bytes, held: int = 0, answer: str = ""
    ) -> None:
        """One HL7 message leaves; `answer`: what a correct receiver says, where that is not acceptance."""
        expected = answer or ("CA" if sender.enhanced else "AA")
        sent = at + held + self.rng.randint(1, 9) * SECOND
        self.steps.append(Step(sent, at, HL7, sender.name, name, kind, body, expected))

    def again(self, after: int) -> None:
        """The last thing sent goes out once more, byte for byte, `after` microseconds later."""
        last = self.steps[-1]
        self.steps.append(replace(last, sent_at=last.sent_at + after))

    def timeline(self) -> tuple[Step, ...]:
        return in_order(self.steps)

    # Patients.

    def chart(self, somebody: people.Human | None = None, sex: str = "") -> Chart:
        """A record for somebody (new, unless given); nobody has told of it yet."""
        who = somebody or people.human(self.rng, sex)
        chart = Chart(self.serial("P"), self.authority, who.name, who.birth_date, who.sex, who.address)
        self.charts.append(chart)
        return chart

    def tell(
        self,
        chart: Chart,
        at: int,
        trigger: str,
        sender: Sender | None = None,
        held: int = 0,
        cleared: frozenset[str] = frozenset(),
        off: int = 0,
    ) -> None:
        """An ADT message about the record as it is now; `off`: its sender's clock is wrong by so much."""
        chart.told = True
        person = replace(chart.person(), cleared=cleared)
        sender = sender or (EMR if trigger in ("A28", "A31") else HIS)
        name = self.control_id(sender)
        off = self._skew(name, off)
        body = hl7_messages.adt(sender, trigger, at + off, name, person, location="RAD^^1")
        self.said.of_patient(name, chart)
        self.say(sender, at, f"ADT^{trigger}", name, body, held)

    def merge(self, retired: Chart, survivor: Chart, at: int, trigger: str = "A40", held: int = 0) -> None:
        """The retired record is merged into the survivor (A40), or its identifier changed to it (A47)."""
        retired.merged_into = survivor
        survivor.told = retired.told = True
        name = self.control_id(HIS)
        prior = hl7_messages.cx(retired.identifier, retired.authority)
        body = hl7_messages.adt(HIS, trigger, at, name, survivor.person(), prior=prior)
        self.said.of_patient(name, survivor)
        self.said.note(name, retired, "merged", survivor)
        self.say(HIS, at, f"ADT^{trigger}", name, body, held)

    def renumber(self, chart: Chart, at: int, held: int = 0) -> Chart:
        """The record's identifier is changed (A47); the new record is returned."""
        new = Chart(self.serial("P"), self.authority, chart.name, chart.birth_date, chart.sex, chart.address)
        self.charts.append(new)
        self.merge(chart, new, at, "A47", held)
        return new

    # Orders.

    def order(
        self, chart: Chart, room: Room, scheduled_at: int, announces_uid: bool = True, group: str = ""
    ) -> Order:
        """An order for an exam of this room; nobody has told of it yet."""
        order = Order(
            chart=chart,
            procedure=self.rng.choice(CATALOGUE[room.kind]),
            modality=room.modality,
            placer=self.serial("H"),
            filler=self.serial("F"),
            accession=self.serial("A"),
            requested_procedure_id=self.serial("R"),
            step_id=self.serial("S"),
            study_uid=self.uid() if announces_uid else "",
            scheduled_at=scheduled_at,
            group=group,
        )
        self.orders.append(order)
        return order

    def place(self, order: Order, at: int, held: int = 0) -> None:
        """The HIS places the order: placer number only (IHE RAD-2)."""
        named = {"placer", "procedure"}
        self._order_message(HIS, "ORM", (order,), "NW", "", at, held, named)

    def schedule(
        self,
        orders: Sequence[Order],
        at: int,
        form: str = "ORM",
        held: int = 0,
        placer: bool = True,
        off: int = 0,
    ) -> None:
        """The RIS schedules orders in one message, with every number it gave them (IHE RAD-4)."""
        named = {
            "filler",
            "accession",
            "requested_procedure_id",
            "step_id",
            "study_uid",
            "procedure",
            "modality",
        }
        named |= {"placer"} if placer else set()
        self._order_message(self._ris(form), form, orders, "NW", "SC", at, held, named, off)

    def progress(
        self,
        order: Order,
        at: int,
        control: str,
        status: str,
        held: int = 0,
        brief: bool = False,
        off: int = 0,
    ) -> None:
        """The RIS reports a change of status; `brief` names the order by its numbers only."""
        named = {"placer", "filler", "procedure"} & (order.told | {"filler", "procedure"})
        named |= set() if brief else {"accession", "requested_procedure_id", "step_id", "modality"}
        self._order_message(RIS, "ORM", (order,), control, status, at, held, named, off)

    def withdraw(self, order: Order, at: int, held: int = 0) -> None:
        """The HIS cancels its order, naming the placer number alone."""
        self._order_message(HIS, "ORM", (order,), "CA", "", at, held, {"placer", "procedure"})

    def correct(self, order: Order, procedure: Procedure, at: int, status: str, held: int = 0) -> None:
        """The RIS changes the procedure (XO)."""
        order.procedure = procedure
        self.progress(order, at, "XO", status, held)

    def _order_message(
        self,
        sender: Sender,
        form: str,
        orders: Sequence[Order],
        control: str,
        status: str,
        at: int,
        held: int,
        named: set[str],
        off: int = 0,
    ) -> None:
        groups = []
        name = self.control_id(sender)
        off = self._skew(name, off)
        for order in orders:
            order.status, order.by_appointment = STATUS[control, status], False
            groups.append(self.group(order, control, status, at + off, named))
            order.told |= named - ({"study_uid"} if not order.study_uid else set())
        person = orders[0].chart.person()
        if sender is not HIS:
            person = self.known_to_ris(orders[0].chart)
        for order in orders:
            self.said.of_order(name, order, named, person, form)
        kind = {"ORM": "ORM^O01", "OMG": "OMG^O19", "OMI": "OMI^O23"}[form]
        body = ORDER_FORMS[form](sender, at + off, name, person, groups)
        self.say(sender, at, kind, name, body, held)

    def group(self, order: Order, control: str, status: str, at: int, named: set[str]) -> OrderGroup:
        """The order as a message says it: of its numbers those that are `named`."""

        def tell(attribute: str) -> str:
            return getattr(order, attribute) if attribute in named else ""

        return OrderGroup(
            control=control,
            status=status,
            placer=tell("placer"),
            filler=tell("filler"),
            group=order.group,
            accession=tell("accession"),
            requested_procedure_id=tell("requested_procedure_id"),
            step_id=tell("step_id"),
            study_uid=tell("study_uid"),
            procedure=order.procedure,
            modality=tell("modality"),
            scheduled_at=order.scheduled_at,
            transaction_at=at,
        )

    def known_to_ris(self, chart: Chart) -> Person:
        """The RIS leaves the assigning authority out where there is only one hospital."""
        person = chart.person()
        return replace(person, authority="") if self.default_authority else person

    def _ris(self, form: str) -> Sender:
        return RIS if form == "ORM" else RIS2

    def _skew(self, name: str, off: int) -> int:
        """How far the clock that stamps this message is off."""
        off = off if self.clocks_ahead else min(off, 0)
        if off:
            self.skewed.add(name)
        return off

    def control_id(self, sender: Sender) -> str:
        """The next MSH-10 of a system, at most 20 characters."""
        return self.serial(sender.name, 5)

    # Scans.

    def scan(
        self,
        room: Room,
        at: int,
        chart: Chart | None,
        orders: Sequence[Order] = (),
        state: str = "linked",
        method: str = "",
        accession: str = "",
        request: Request | None = None,
        description: str = "",
    ) -> Scan:
        """A study begins. With method `study_uid` it takes the UID its order announced."""
        procedure = orders[0].procedure if orders else self.rng.choice(CATALOGUE[room.kind])
        uid = orders[0].study_uid if method == "study_uid" else self.uid()
        scan = Scan(
            chart, room, procedure, uid, at, tuple(orders), state, method, accession, request, description
        )
        self.scans.append(scan)
        return scan

    def expose(self, scan: Scan, at: int) -> Exposures:
        """What the scanner irradiates in one go."""
        return KINDS[scan.room.kind].expose(self.rng, scan.room, scan.procedure, at, self.uid)

    def report(
        self, scan: Scan, exposures: Exposures, at: int, replaces: bool = False, held: int = 0
    ) -> None:
        """The scanner sends a dose report of these exposures; `replaces`: it holds all that earlier ones held."""
        if replaces:
            scan.counted.clear()
        scan.counted.append(exposures)
        header = self._header(scan, at)
        self.said.of_dose(header.instance_uid, scan, [exposure.uid for exposure in exposures])
        self._store(scan, header.instance_uid, "dose report", self.write(header, exposures), at, held)

    def image(self, scan: Scan, at: int, held: int = 0) -> None:
        """The scanner sends an image and no dose report."""
        scan.dose = False
        header = self._header(scan, at)
        self._store(scan, header.instance_uid, "image", dose_reports.image(header), at, held)

    def _header(self, scan: Scan, at: int) -> Header:
        person = scan.chart.person() if scan.chart else None
        if person and scan.typed:
            person = replace(person, name=people.typed(person.name))
        return Header(
            study_uid=scan.study_uid,
            series_uid=self.uid(),
            instance_uid=self.uid(),
            room=scan.room,
            study_at=scan.study_at,
            content_at=at,
            person=person,
            accession=scan.accession,
            description=scan.description,
            request=scan.request,
            procedure_code=scan.procedure_code,
            procedure_meaning=scan.procedure.meaning,
        )

    def _store(self, scan: Scan, name: str, kind: str, body: bytes, at: int, held: int) -> None:
        sent = at + held + self.rng.randint(5, 40) * SECOND
        self.said.note(name, scan, "arrived", True)
        self.steps.append(Step(sent, at, DICOM, scan.room.ae_title, name, kind, body, "0000"))
