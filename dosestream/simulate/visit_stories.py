"""What can become of a visit: each function is a story, `STORIES` says how often it is told."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from dosestream.simulate import people
from dosestream.simulate.agenda import Acts
from dosestream.simulate.booking import CANCELLED, NO_SHOW, appointed
from dosestream.simulate.dose_reports import Request
from dosestream.simulate.hospital import Hospital
from dosestream.simulate.records import Chart
from dosestream.simulate.timeline import HOUR, MINUTE
from dosestream.simulate.visits import (
    DAY,
    YEAR,
    Visit,
    another,
    described,
    loose_scan,
    new_order,
    ordered,
    performed,
    reported,
    scan_of,
)

Story = Callable[[Visit], Acts]


def plain(v: Visit) -> Acts:
    """Ordered, scanned, completed, reported."""
    order = yield from ordered(v)
    yield v.at
    if v.chance(70):
        v.h.progress(order, v.at, "SC", "IP")
    scan = scan_of(v, [order], v.at + 5 * MINUTE)
    yield from performed(v, order, scan)


def by_telephone(v: Visit) -> Acts:
    """Scanned first; the order is entered hours or days later."""
    if v.evidence.startswith("uid"):
        v.evidence = "accession"
    yield v.at
    order = new_order(v)
    scan = scan_of(v, [order], v.at)
    yield from reported(v, scan)
    entered = v.at + v.h.rng.choice((2 * HOUR, 20 * HOUR, 3 * DAY))
    yield entered
    v.h.schedule([order], entered, v.h.rng.choice(("ORM", "OMG")), placer=False)
    yield entered + HOUR
    v.h.progress(order, entered + HOUR, "SC", "CM")


def two_procedures(v: Visit) -> Acts:
    """One order of two procedures, a study each."""
    if v.evidence in ("order number", "nothing"):
        v.evidence = "accession"
    yield v.at - 6 * HOUR
    first, second = new_order(v), new_order(v, 40)
    second.placer, second.filler = first.placer, first.filler
    second.procedure = another(v, first)
    v.h.schedule([first, second], v.at - 6 * HOUR, "OMI")
    for order in (first, second):
        yield order.scheduled_at
        yield from reported(v, scan_of(v, [order], order.scheduled_at))
        yield order.scheduled_at + 39 * MINUTE
        v.h.progress(order, order.scheduled_at + 39 * MINUTE, "SC", "CM")


def two_orders_in_one(v: Visit) -> Acts:
    """Two orders done in one go, under one Study Instance UID."""
    v.evidence = "uid and accession"
    yield v.at - 6 * HOUR
    group = v.h.serial("G")
    first, second = new_order(v, group=group), new_order(v, 30, group)
    second.study_uid, second.procedure = first.study_uid, another(v, first)
    v.h.schedule([first, second], v.at - 6 * HOUR, v.h.rng.choice(("ORM", "OMG")))
    yield v.at
    yield from reported(v, scan_of(v, [first, second], v.at))


def cancelled(v: Visit) -> Acts:
    """No study: the RIS cancels (the order, or its appointment), or the HIS by its placer number alone."""
    order = yield from ordered(v)
    yield v.at - HOUR
    if order.appointment and v.chance(60):
        appointed(v.h, order, v.at - HOUR, CANCELLED)
    elif "placer" in order.told and v.chance(40):
        v.h.withdraw(order, v.at - HOUR)
    else:
        v.h.progress(order, v.at - HOUR, "CA", "CA")


def no_show(v: Visit) -> Acts:
    """Nobody comes, nobody cancels; now and then the appointment says that nobody came."""
    order = yield from ordered(v)
    if v.chance(30):
        yield v.at + HOUR
        appointed(v.h, order, v.at + HOUR, NO_SHOW)


def placed_only(v: Visit) -> Acts:
    """The HIS orders, the RIS never answers."""
    yield v.at - DAY
    v.h.place(new_order(v), v.at - DAY)


def discontinued(v: Visit) -> Acts:
    """Stopped half-way: there is dose."""
    order = yield from ordered(v)
    yield v.at
    v.h.progress(order, v.at, "SC", "IP")
    scan = scan_of(v, [order], v.at + 5 * MINUTE)
    yield from reported(v, scan)
    yield v.at + HOUR
    v.h.progress(order, v.at + HOUR, "DC", "CA")


def ordered_anew(v: Visit) -> Acts:
    """The order is cancelled and another one made for the same exam: the study is the second one's."""
    first = yield from ordered(v)
    yield v.at - 100 * MINUTE
    v.h.progress(first, v.at - 100 * MINUTE, "CA", "CA")
    second = new_order(v)
    v.h.schedule([second], v.at - 95 * MINUTE, "OMG")
    yield v.at
    yield from performed(v, second, scan_of(v, [second], v.at))


def ordered_twice(v: Visit) -> Acts:
    """Two equal orders minutes apart; one is performed, the other nobody takes back. By time alone, either fits."""
    first = yield from ordered(v)
    second = new_order(v)
    second.procedure = first.procedure
    yield v.at - 90 * MINUTE
    v.h.schedule([second], v.at - 90 * MINUTE, "ORM")
    yield v.at
    if v.evidence == "nothing":
        yield from reported(v, loose_scan(v, v.at, "ambiguous", coded=False))
    else:
        yield from performed(v, first, scan_of(v, [first], v.at))


def not_ordered(v: Visit) -> Acts:
    """A study without any order; its report names an accession that no message ever mentions, or nothing."""
    yield v.at
    accession = v.h.serial("A") if v.chance(40) else ""
    yield from reported(v, loose_scan(v, v.at, "waiting", accession))


def ordered_for_another_day(v: Visit) -> Acts:
    """A study without order or number, and the same patient's order for two days later: outside the window."""
    v.evidence = "nothing"
    order = new_order(v)
    order.scheduled_at = v.at + 2 * DAY
    yield v.at - DAY
    v.h.schedule([order], v.at - DAY, "OMI")
    yield v.at
    yield from reported(v, loose_scan(v, v.at, "waiting"))


def nobody(v: Visit) -> Acts:
    """A report without patient, accession or procedure."""
    yield v.at
    yield from reported(v, v.h.scan(v.place.room, v.at, None, state="waiting"))


def second_by_exclusion(v: Visit) -> Acts:
    """Two orders, two studies: one names its accession, so that only one order is left for the other."""
    v.evidence = "nothing"
    first = yield from ordered(v)
    second = yield from ordered(v, 30)
    yield v.at
    scan = scan_of(v, [first], v.at, said="accession")
    yield from reported(v, scan)
    yield v.at + 30 * MINUTE
    yield from reported(v, scan_of(v, [second], v.at + 30 * MINUTE))


def told_apart_by_code(v: Visit) -> Acts:
    """Two orders of different procedures, two studies without number that name their procedure codes."""
    v.evidence = "nothing"
    yield v.at - 5 * HOUR
    first, second = new_order(v), new_order(v, 30)
    second.procedure = another(v, first)
    v.h.schedule([first], v.at - 5 * HOUR, "OMI")
    v.h.schedule([second], v.at - 5 * HOUR + MINUTE, "ORM")
    for order in (first, second):
        yield order.scheduled_at
        scan = scan_of(v, [order], order.scheduled_at)
        yield from reported(v, described(v, scan, coded=True))


def either_order(v: Visit) -> Acts:
    """Two orders, and studies that say nothing of which is which."""
    v.evidence = "nothing"
    yield from ordered(v)
    yield from ordered(v, 30)
    for minutes in (0, 30) if v.chance(50) else (0,):
        yield v.at + minutes * MINUTE
        yield from reported(v, loose_scan(v, v.at + minutes * MINUTE, "ambiguous", coded=False))


def either_study(v: Visit) -> Acts:
    """One order, and two studies that say nothing: which of them it was for, nobody can tell."""
    v.evidence = "nothing"
    yield from ordered(v)
    for minutes in (0, 25):
        yield v.at + minutes * MINUTE
        yield from reported(v, loose_scan(v, v.at + minutes * MINUTE, "ambiguous", coded=False))


def wrong_entry(v: Visit) -> Acts:
    """The technologist picks another patient's worklist entry; half the time that patient comes, too."""
    h = v.h
    mine = v.now
    other = h.chart(people.unlike(h.rng, mine.name, mine.sex))
    theirs = replace(v, chart=other, evidence="uid and accession")
    h.tell(other, v.at - 10 * DAY, "A28")
    order = yield from ordered(theirs)
    yield v.at
    yield from reported(v, loose_scan(v, v.at, "conflict", order.accession))
    if v.chance(50):
        yield v.at + 45 * MINUTE
        scan = scan_of(theirs, [order], v.at + 45 * MINUTE)
        yield from performed(theirs, order, scan)


def two_accessions(v: Visit) -> Acts:
    """The header has one order's accession, the Referenced Request another's."""
    v.evidence = "accession"
    first = yield from ordered(v)
    second = yield from ordered(v, 30)
    yield v.at
    scan = loose_scan(v, v.at, "conflict", first.accession)
    scan.request = Request(accession=second.accession)
    yield from reported(v, scan)


def emergency(v: Visit) -> Acts:
    """Somebody unidentified; merged into the patient's own record hours or days later."""
    h, known = v.h, v.now
    yield v.at - 20 * MINUTE
    unknown = h.chart(sex=known.sex)
    unknown.name, unknown.birth_date = f"Unidentified^Patient {unknown.identifier[-4:]}", None
    h.tell(unknown, v.at - 20 * MINUTE, "A01")
    here = replace(v, chart=unknown)
    order = new_order(here)
    h.schedule([order], v.at - 10 * MINUTE, "ORM")
    yield v.at
    yield from performed(here, order, scan_of(here, [order], v.at))
    merged = v.at + h.rng.choice((5 * HOUR, 60 * HOUR, 80 * HOUR))
    yield merged
    h.merge(unknown, known.survivor(), merged)


def clock_of_the_future(v: Visit) -> Acts:
    """A system nine years ahead says the old name; the new name, two days later, holds all the same."""
    h = v.h
    yield v.at - 3 * DAY
    h.tell(v.now, v.at - 3 * DAY, "A08", off=9 * YEAR)
    yield v.at - 22 * HOUR
    v.now.name = people.other_family(h.rng, v.now.name)
    h.tell(v.now, v.at - 22 * HOUR, "A08")
    yield v.at - 4 * HOUR
    order = new_order(v)
    h.schedule([order], v.at - 4 * HOUR)
    yield v.at
    yield from performed(v, order, scan_of(v, [order], v.at))


STORIES: Mapping[Story, int] = {
    plain: 600,
    by_telephone: 40,
    two_procedures: 35,
    two_orders_in_one: 30,
    cancelled: 45,
    no_show: 30,
    placed_only: 8,
    discontinued: 12,
    ordered_anew: 20,
    ordered_twice: 15,
    not_ordered: 25,
    ordered_for_another_day: 8,
    nobody: 5,
    second_by_exclusion: 15,
    told_apart_by_code: 12,
    either_order: 10,
    either_study: 8,
    wrong_entry: 12,
    two_accessions: 8,
    emergency: 25,
    clock_of_the_future: 8,
}


def companion(v: Visit, other: Visit) -> Acts:
    """While they are here: an exam of another kind in another room."""
    return plain(replace(other, chart=v.chart, at=v.at + 50 * MINUTE))


def registration(v: Visit) -> Acts:
    """The visit itself: registered (now and then hours after the exam), updated, sent home."""
    h = v.h
    at = v.at + (3 * HOUR if v.chance(6) else -h.rng.randint(20, 90) * MINUTE)
    yield at
    inpatient = v.chance(25)
    h.tell(v.now, at, "A01" if inpatient else "A04")
    for trigger in h.rng.choice((("A08",), ("A08", "A31"), ("A08", "A02", "A08"), ())):
        at += h.rng.randint(10, 200) * MINUTE
        yield at
        h.tell(v.now, at, trigger)
    if inpatient:
        yield at + DAY
        h.tell(v.now, at + DAY, "A03")


# A change in somebody's life or record happens so long after a visit begins.
MOMENTS = (-26 * HOUR, 5 * HOUR, 30 * HOUR, 60 * HOUR, 75 * HOUR)


def renamed(h: Hospital, chart: Chart, at: int) -> None:
    """A new family name."""
    chart.name = people.other_family(h.rng, chart.name)
    h.tell(chart, at, "A08")


def born_another_day(h: Hospital, chart: Chart, at: int) -> None:
    """The birth date is corrected."""
    chart.birth_date = people.human(h.rng).birth_date
    h.tell(chart, at, "A31")


def renumbered(h: Hospital, chart: Chart, at: int) -> None:
    """The identifier is changed (A47)."""
    h.renumber(chart, at)


def merged(h: Hospital, chart: Chart, at: int) -> None:
    """A second record of the same person, under a misspelt name, is merged into this one."""
    double = h.chart(people.Human(chart.name, people.human(h.rng).birth_date, chart.sex, chart.address))
    double.name = people.other_family(h.rng, chart.name)
    h.tell(double, at - 50 * HOUR, "A28")
    h.merge(double, chart, at)


CHANGES: Mapping[Callable[[Hospital, Chart, int], None], int] = {
    renamed: 4,
    born_another_day: 2,
    renumbered: 2,
    merged: 3,
}


def change(v: Visit) -> Acts:
    """Something about the patient changes around a visit."""
    at = v.at + v.h.rng.choice(MOMENTS)
    yield at
    (happens,) = v.h.rng.choices(list(CHANGES), list(CHANGES.values()))
    happens(v.h, v.now, at)
