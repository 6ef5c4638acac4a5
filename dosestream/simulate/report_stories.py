"""Stories about what the scanner says: which evidence names the order, and how reports of one study add up."""

from dosestream.simulate import people
from dosestream.simulate.dose_reports import Request
from dosestream.simulate.episode import ordered, registered, scanned
from dosestream.simulate.hospital import Hospital
from dosestream.simulate.procedures import Room
from dosestream.simulate.timeline import HOUR, MINUTE


def study_uid_only(h: Hospital, room: Room, at: int) -> None:
    """The report has no accession and no procedure; only the Study Instance UID tells its order."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE, h.rng.choice(("ORM", "OMI")))
    scanned(h, h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid"))


def accession_of_own_uid(h: Hospital, room: Room, at: int) -> None:
    """The order announces no study UID, so the scanner makes its own; the accession tells."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE, uid=False)
    request = Request(accession=order.accession, description=order.procedure.meaning)
    scan = h.scan(
        room, at + 75 * MINUTE, chart, [order], method="accession", accession=order.accession, request=request
    )
    scanned(h, scan)
    h.progress(order, at + 100 * MINUTE, "SC", "CM")


def order_number(h: Hospital, room: Room, at: int) -> None:
    """Only the placer and filler numbers of the Referenced Request Sequence tell the order."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE, uid=False)
    request = Request(placer=order.placer, filler=order.filler)
    scanned(h, h.scan(room, at + 75 * MINUTE, chart, [order], method="order_number", request=request))


def report_without_patient(h: Hospital, room: Room, at: int) -> None:
    """The scanner was given an accession and no patient: the order says who it was."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE, uid=False)
    scan = h.scan(room, at + 75 * MINUTE, None, [order], method="accession_only", accession=order.accession)
    scanned(h, scan)


def order_never_came(h: Hospital, room: Room, at: int) -> None:
    """The report names an accession that no order message ever mentions."""
    chart = registered(h, at)
    lost = h.order(chart, room, at + 60 * MINUTE)
    scan = h.scan(room, at + 60 * MINUTE, chart, state="waiting", accession=lost.accession)
    scanned(h, scan)


def nothing_but_patient(h: Hospital, room: Room, at: int) -> None:
    """A report with a patient, and neither accession nor procedure; nobody ordered it."""
    chart = registered(h, at, "A01")
    scanned(h, h.scan(room, at + 60 * MINUTE, chart, state="waiting"))


def nobody(h: Hospital, room: Room, at: int) -> None:
    """A report without patient, accession or procedure."""
    scanned(h, h.scan(room, at, None, state="waiting"))


def wrong_worklist_entry(h: Hospital, room: Room, at: int) -> None:
    """The technologist picks another patient's worklist entry: that order's accession on this patient's study."""
    other = registered(h, at)
    order = ordered(h, other, room, at + 10 * MINUTE)
    chart = h.chart(people.unlike(h.rng, other.name, other.sex))
    h.tell(chart, at + 20 * MINUTE, "A04")
    scanned(h, h.scan(room, at + 60 * MINUTE, chart, state="conflict", accession=order.accession))


def wrong_entry_then_right(h: Hospital, room: Room, at: int) -> None:
    """As above, and the order's own patient is scanned an hour later: theirs is the order."""
    other = registered(h, at)
    order = ordered(h, other, room, at + 10 * MINUTE)
    chart = h.chart(people.unlike(h.rng, other.name, other.sex))
    h.tell(chart, at + 20 * MINUTE, "A04")
    scanned(h, h.scan(room, at + 60 * MINUTE, chart, state="conflict", accession=order.accession))
    scan = h.scan(room, at + 2 * HOUR, other, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)


def growing_reports(h: Hospital, room: Room, at: int) -> None:
    """Each report holds all the events before it: the last one counts."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    exposures = h.expose(scan, scan.study_at)
    for count in range(1, len(exposures) + 1):
        h.report(scan, exposures[:count], scan.study_at + (10 + count) * MINUTE, replaces=True)


def continued_report(h: Hospital, room: Room, at: int) -> None:
    """A second report holds only the events after the first one's: both count."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    for minutes in (0, 20):
        exposures = h.expose(scan, scan.study_at + minutes * MINUTE)
        h.report(scan, exposures, scan.study_at + (minutes + 15) * MINUTE)


def resent_report(h: Hospital, room: Room, at: int) -> None:
    """The same report again, hours later: counted once."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    h.again(3 * HOUR)


def image_without_report(h: Hospital, room: Room, at: int) -> None:
    """An image arrives and no dose report: a study all the same, its dose unknown."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    h.image(scan, at + 80 * MINUTE)
