"""Visits: a known or new patient comes to a room, with an order or without, and the scanner says what it says.

A visit is a story in time (`agenda.Acts`). No patient comes twice within four days, so what could be meant by
patient, modality and time alone is what the visit itself brought.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from dosestream.simulate.agenda import Acts
from dosestream.simulate.booking import MOVED, appointed
from dosestream.simulate.dictation import CORRECTED, PRELIMINARY, dictated
from dosestream.simulate.dose_reports import Request
from dosestream.simulate.habits import EVIDENCE, Place
from dosestream.simulate.hospital import Hospital
from dosestream.simulate.moulds import Moulds
from dosestream.simulate.procedures import CATALOGUE, Procedure
from dosestream.simulate.records import Chart, Order, Scan
from dosestream.simulate.timeline import HOUR, MINUTE

DAY = 24 * HOUR
YEAR = 365 * DAY
REPORTS = ("one", "growing", "continued", "again", "image")
# Of 1,000 schedules and of 1,000 completions so many come from a system whose clock is wrong.
WRONG_SCHEDULE, WRONG_COMPLETION = 8, 12
METHODS: Mapping[str, str] = {
    "uid and accession": "study_uid",
    "uid": "study_uid",
    "accession": "accession",
    "order number": "order_number",
    "no patient": "accession_only",
    "nothing": "window",
}


@dataclass(slots=True)
class Visit:
    """One visit of a patient to a room at `at` (microseconds since 1970 UTC).

    Attributes:
        chart: the record the visit was planned under; `now` is the one it has become.
        evidence: what the room's report says of its order, one of `EVIDENCE`.
    """

    h: Hospital
    moulds: Moulds
    place: Place
    chart: Chart
    at: int
    evidence: str

    @property
    def now(self) -> Chart:
        """The patient's record as it is at this moment."""
        return self.chart.survivor()

    def chance(self, of_hundred: float) -> bool:
        return self.h.rng.random() * 100 < of_hundred


def evidence(h: Hospital, place: Place) -> str:
    """What this room's next report says of its order."""
    return h.rng.choices(EVIDENCE, place.habits.evidence)[0]


def new_order(v: Visit, minutes: int = 0, group: str = "") -> Order:
    """An order for this visit; a room that takes the Study Instance UID of the worklist has it announced."""
    announced = v.evidence.startswith("uid") or (v.evidence == "accession" and v.chance(50))
    order = v.h.order(v.now, v.place.room, v.at + minutes * MINUTE, announces_uid=announced, group=group)
    # Without a patient nobody could tell whose accession it is.
    if v.h.neighbours and v.evidence != "no patient" and v.chance(8):
        order.accession = v.h.common("accession")
    return order


def ordered(v: Visit, minutes: int = 0) -> Generator[int, None, Order]:
    """Placed days or hours before, scheduled by the RIS, now and then moved or changed before the visit."""
    h = v.h
    lead = h.rng.choice((3 * HOUR, 5 * HOUR, h.rng.randint(1, 9) * DAY))
    yield v.at - lead
    order = new_order(v, minutes)
    if known := v.chance(90):
        # One placement in twenty is lost on its way; the RIS repeats the placer number.
        if v.chance(95):
            h.place(order, v.at - lead)
        yield v.at - lead + 5 * MINUTE
    moved = lead > DAY and v.chance(15)
    if moved:
        order.scheduled_at = v.at + h.rng.randint(-20, 20) * HOUR
    off = -YEAR if v.chance(WRONG_SCHEDULE / 10) else 0
    form = h.rng.choice(("ORM", "ORM", "OMG", "OMI"))
    h.schedule([order], v.at - lead + 5 * MINUTE, form, placer=known, off=off)
    if v.chance(15):
        appointed(h, order, v.at - lead + 6 * MINUTE)
    if moved and v.chance(40):
        yield v.at - 2 * HOUR
        order.scheduled_at = v.at + minutes * MINUTE
        appointed(h, order, v.at - 2 * HOUR, MOVED)
    elif moved or v.chance(4):
        yield v.at - 2 * HOUR
        order.scheduled_at = v.at + minutes * MINUTE
        if v.chance(40):
            order.procedure = another(v, order)
        if v.chance(30):
            order.accession = h.serial("A")
        h.progress(order, v.at - 2 * HOUR, "XO", "SC")
    return order


def scan_of(v: Visit, orders: Sequence[Order], at: int, state: str = "linked", said: str = "") -> Scan:
    """The study of these orders, with the evidence this room gives (`said`: another)."""
    h, room = v.h, v.place.room
    said = said or v.evidence
    order = orders[0]
    scan = h.scan(
        room,
        at + v.place.habits.clock_minutes * MINUTE,
        None if said == "no patient" else v.now,
        orders,
        state=state,
        method=METHODS[said],
        accession=order.accession if said in ("uid and accession", "accession", "no patient") else "",
        request=Request(placer=order.placer, filler=order.filler) if said == "order number" else None,
    )
    return described(v, scan)


def described(v: Visit, scan: Scan, coded: bool | None = None) -> Scan:
    """The scanner's own habits: names typed in, procedure codes."""
    scan.typed = v.place.habits.typed
    if v.place.habits.procedure_codes if coded is None else coded:
        scan.procedure_code = scan.procedure.code
    return scan


def loose_scan(v: Visit, at: int, state: str, accession: str = "", coded: bool | None = None) -> Scan:
    """A study that no evidence ties to an order."""
    at += v.place.habits.clock_minutes * MINUTE
    return described(v, v.h.scan(v.place.room, at, v.now, state=state, accession=accession), coded)


def reported(v: Visit, scan: Scan) -> Acts:
    """The reports of a study, as this room makes them."""
    h, habits = v.h, v.place.habits
    off = habits.clock_minutes * MINUTE
    begun = scan.study_at - off
    kind = h.rng.choices(REPORTS, habits.reports)[0]
    exposures = v.moulds.expose(h.rng, scan.room, scan.procedure, scan.study_at, h.uid)
    yield begun + 10 * MINUTE
    if kind == "image" and scan.room.kind == "ct" and scan.request is None:
        h.image(scan, begun + 10 * MINUTE)
    elif kind == "growing":
        for count in range(1, len(exposures) + 1):
            h.report(scan, exposures[:count], begun + (10 + count) * MINUTE, replaces=True)
            yield begun + (11 + count) * MINUTE
    else:
        h.report(scan, exposures, begun + 10 * MINUTE)
        if kind == "again":
            h.again(h.rng.randint(1, 30) * HOUR)
        elif kind == "continued":
            more = v.moulds.expose(h.rng, scan.room, scan.procedure, scan.study_at + 20 * MINUTE, h.uid)
            yield begun + 35 * MINUTE
            h.report(scan, more, begun + 35 * MINUTE)


def performed(v: Visit, order: Order, scan: Scan) -> Acts:
    """Reports, completion, the radiologist's report; now and then a correction days later."""
    h = v.h
    yield from reported(v, scan)
    yield v.at + HOUR
    off = YEAR * 9 if v.chance(WRONG_COMPLETION / 10) else 0
    h.progress(order, v.at + HOUR, "SC", "CM", brief=v.chance(50), off=off)
    if v.chance(30):
        yield v.at + 90 * MINUTE
        dictated(h, order, v.at + 90 * MINUTE, PRELIMINARY)
    yield v.at + 3 * HOUR
    dictated(h, order, v.at + 3 * HOUR)
    if v.chance(5):
        again = v.at + h.rng.choice((5 * HOUR, 2 * DAY))
        yield again
        dictated(h, order, again, CORRECTED)
    if v.chance(4):
        later = v.at + h.rng.choice((30 * HOUR, 3 * DAY))
        yield later
        h.correct(order, another(v, order), later, "CM")


def another(v: Visit, order: Order) -> Procedure:
    """Another exam of the same room."""
    return v.h.rng.choice([p for p in CATALOGUE[v.place.room.kind] if p is not order.procedure])
