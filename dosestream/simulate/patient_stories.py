"""Stories about who the patient is: late registrations, updates, merges, changed identifiers, blanks."""

from dosestream.simulate import people
from dosestream.simulate.episode import ordered, registered, scanned
from dosestream.simulate.hospital import Hospital
from dosestream.simulate.procedures import Room
from dosestream.simulate.timeline import HOUR, MINUTE


def study_before_registration(h: Hospital, room: Room, at: int) -> None:
    """The ADT of the registration is held for three hours, and so arrives after the study and its order."""
    chart = registered(h, at, held=3 * HOUR)
    order = ordered(h, chart, room, at + 10 * MINUTE, "OMI")
    scan = h.scan(room, at + 50 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)


def update_after_both(h: Hospital, room: Room, at: int) -> None:
    """A new family name (A08) and a new address (A31), long after order and study, whose report has the old name."""
    chart = registered(h, at)
    uid = h.rng.random() < 0.5
    order = ordered(h, chart, room, at + 10 * MINUTE, uid=uid)
    method = "study_uid" if uid else "accession"
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method=method, accession=order.accession)
    scanned(h, scan)
    chart.name = people.other_family(h.rng, chart.name)
    h.tell(chart, at + 4 * HOUR, "A08")
    chart.address = people.address(h.rng)
    h.tell(chart, at + 5 * HOUR, "A31")


def update_held(h: Hospital, room: Room, at: int) -> None:
    """An older A08 arrives after the newer one: the newer one stays."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    right = chart.name
    chart.name = people.other_family(h.rng, right)
    h.tell(chart, at + 2 * HOUR, "A08", held=3 * HOUR)
    chart.name = right
    h.tell(chart, at + 3 * HOUR, "A08")


def merge_before_both(h: Hospital, room: Room, at: int) -> None:
    """A40 first; the HIS still orders under the retired identifier, the scanner has the new one."""
    who = people.human(h.rng)
    retired, survivor = h.chart(who), h.chart(who)
    h.tell(retired, at, "A28")
    h.tell(survivor, at + 5 * MINUTE, "A04")
    h.merge(retired, survivor, at + 10 * MINUTE)
    order = ordered(h, retired, room, at + 20 * MINUTE)
    scan = h.scan(room, at + 85 * MINUTE, survivor, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)


def merge_after_both(h: Hospital, room: Room, at: int) -> None:
    """An emergency under a provisional record, merged into the patient's own one in the afternoon."""
    known = registered(h, at - 30 * MINUTE, "A28")
    emergency = h.chart(sex=known.sex)
    emergency.name, emergency.birth_date = f"Unidentified^Patient {emergency.identifier[-4:]}", None
    h.tell(emergency, at, "A01")
    order = ordered(h, emergency, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 25 * MINUTE, emergency, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    h.merge(emergency, known, at + 4 * HOUR)
    h.tell(known, at + 4 * HOUR + MINUTE, "A08")


def merge_chain(h: Hospital, room: Room, at: int) -> None:
    """A into B, B into C: whoever was filed under A belongs to C."""
    who = people.human(h.rng)
    first, second, third = h.chart(who), h.chart(who), h.chart(who)
    for minute, chart in enumerate((first, second, third)):
        h.tell(chart, at + minute * MINUTE, "A28")
    order = ordered(h, first, room, at + 10 * MINUTE, "OMI")
    scan = h.scan(room, at + 75 * MINUTE, first, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    h.merge(first, second, at + 3 * HOUR, held=2 * HOUR)
    h.merge(second, third, at + 4 * HOUR)


def changed_identifier(h: Hospital, room: Room, at: int) -> None:
    """A47: the record gets another identifier after the study."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    h.renumber(chart, at + 3 * HOUR)


def report_fills_blank(h: Hospital, room: Room, at: int) -> None:
    """HL7 never says birth date and sex: the report's count."""
    who = people.human(h.rng)
    chart = h.chart(who)
    chart.birth_date, chart.sex = None, ""
    h.tell(chart, at, "A04")
    chart.told = False  # what the patient's own row shows of a report is no part of this story
    order = ordered(h, chart, room, at + 10 * MINUTE)
    chart.birth_date, chart.sex = who.birth_date, who.sex
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)


def cleared_birth_date(h: Hospital, room: Room, at: int) -> None:
    """An A08 clears the birth date (two double quotes): neither older messages nor the report bring it back."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    chart.birth_date = None
    h.tell(chart, at + 3 * HOUR, "A08", cleared=frozenset({"birth_date"}))


def order_only_patient(h: Hospital, room: Room, at: int) -> None:
    """No ADT ever names the patient: the order's PID does."""
    chart = h.chart()
    order = ordered(h, chart, room, at + 10 * MINUTE, "OMI")
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
