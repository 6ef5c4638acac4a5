"""Stories about what was ordered: late, held, cancelled, corrected and double orders."""

from dosestream.simulate.booking import MOVED, NO_SHOW, appointed
from dosestream.simulate.dictation import CORRECTED, PRELIMINARY, dictated
from dosestream.simulate.episode import ordered, registered, scanned
from dosestream.simulate.hospital import Hospital
from dosestream.simulate.procedures import CATALOGUE, Procedure, Room
from dosestream.simulate.records import Order
from dosestream.simulate.timeline import HOUR, MINUTE


def order_then_study(h: Hospital, room: Room, at: int) -> None:
    """The plain case: registered, ordered, scheduled, scanned, completed, reported."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE, h.rng.choice(("ORM", "OMG", "OMI")))
    start = at + 70 * MINUTE
    h.progress(order, start, "SC", "IP")
    description = h.rng.choice(("", "", order.procedure.meaning))
    scan = h.scan(
        room,
        start + MINUTE,
        chart,
        [order],
        method="study_uid",
        accession=order.accession,
        description=description,
    )
    scanned(h, scan)
    h.progress(order, start + 25 * MINUTE, "SC", "CM")
    if h.rng.random() < 0.5:
        dictated(h, order, start + 40 * MINUTE, PRELIMINARY)
    dictated(h, order, start + 90 * MINUTE)


def study_then_order(h: Hospital, room: Room, at: int) -> None:
    """Scanned first, on an accession given by telephone; the order is entered two hours later."""
    chart = registered(h, at)
    order = h.order(chart, room, at + 30 * MINUTE, announces_uid=False)
    scan = h.scan(room, at + 30 * MINUTE, chart, [order], method="accession", accession=order.accession)
    scanned(h, scan)
    h.schedule([order], at + 150 * MINUTE, h.rng.choice(("ORM", "OMG")), placer=False)
    h.progress(order, at + 155 * MINUTE, "SC", "CM")


def held_order(h: Hospital, room: Room, at: int) -> None:
    """The HIS's order is held for hours: the RIS's messages and the study arrive before it."""
    chart = registered(h, at)
    order = h.order(chart, room, at + 60 * MINUTE)
    h.place(order, at + 5 * MINUTE, held=4 * HOUR)
    h.schedule([order], at + 10 * MINUTE)
    h.progress(order, at + 60 * MINUTE, "SC", "IP", brief=True)
    scan = h.scan(room, at + 61 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    h.progress(order, at + 85 * MINUTE, "SC", "CM", brief=True)


def late_schedule(h: Hospital, room: Room, at: int) -> None:
    """The RIS's schedule is held: completion, naming numbers only, arrives first and stays the newest word."""
    chart = registered(h, at)
    order = h.order(chart, room, at + 60 * MINUTE)
    h.place(order, at + 5 * MINUTE)
    h.schedule([order], at + 10 * MINUTE, held=5 * HOUR)
    scan = h.scan(room, at + 61 * MINUTE, chart, [order], method="study_uid")
    scanned(h, scan)
    h.progress(order, at + 85 * MINUTE, "SC", "CM", brief=True)


def cancel(h: Hospital, room: Room, at: int) -> None:
    """The RIS cancels the order; no study comes."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE, h.rng.choice(("ORM", "OMI")))
    h.progress(order, at + 40 * MINUTE, "CA", "CA")


def cancel_by_placer(h: Hospital, room: Room, at: int) -> None:
    """The HIS cancels, naming its placer number alone; its message overtakes the RIS's schedule."""
    chart = registered(h, at)
    order = h.order(chart, room, at + 60 * MINUTE)
    h.place(order, at + 10 * MINUTE)
    h.schedule([order], at + 15 * MINUTE, held=2 * HOUR)
    h.withdraw(order, at + 40 * MINUTE)


def cancel_after_study(h: Hospital, room: Room, at: int) -> None:
    """Cancelled on paper although it was scanned: performed, with the status the RIS says."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    h.progress(order, at + 2 * HOUR, "CA", "CA")


def discontinued(h: Hospital, room: Room, at: int) -> None:
    """Stopped half-way: there is dose, and the order is discontinued."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    h.progress(order, at + 74 * MINUTE, "SC", "IP")
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    h.progress(order, at + 80 * MINUTE, "DC", "CA")


def no_show(h: Hospital, room: Room, at: int) -> None:
    """The patient never comes: the order stays expected."""
    chart = registered(h, at)
    ordered(h, chart, room, at + 10 * MINUTE, h.rng.choice(("ORM", "OMG", "OMI")))


def no_show_told(h: Hospital, room: Room, at: int) -> None:
    """The patient never comes, and the appointment says so: the order is cancelled."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    appointed(h, order, at + 16 * MINUTE)
    appointed(h, order, at + 90 * MINUTE, NO_SHOW)


def moved_appointment(h: Hospital, room: Room, at: int) -> None:
    """Ordered for another day, the appointment is moved to this one; a preliminary report is sent after the final."""
    chart = registered(h, at)
    order = h.order(chart, room, at + 6 * 24 * HOUR)
    h.schedule([order], at + 10 * MINUTE, h.rng.choice(("ORM", "OMG", "OMI")))
    appointed(h, order, at + 12 * MINUTE)
    order.scheduled_at = at + 60 * MINUTE
    appointed(h, order, at + 20 * MINUTE, MOVED)
    scan = h.scan(room, at + 61 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    dictated(h, order, at + 70 * MINUTE, PRELIMINARY)
    dictated(h, order, at + 100 * MINUTE)
    # What is sent last is not what was signed last.
    dictated(h, order, at + 80 * MINUTE, PRELIMINARY, held=HOUR)
    h.progress(order, at + 90 * MINUTE, "SC", "CM")


def placed_only(h: Hospital, room: Room, at: int) -> None:
    """The HIS has ordered, the RIS has not yet scheduled: an order without filler number or accession."""
    chart = registered(h, at)
    h.place(h.order(chart, room, at + 4 * HOUR), at + 10 * MINUTE)


def corrected_procedure(h: Hospital, room: Room, at: int) -> None:
    """XO before the exam changes what is to be done; the study is of the new procedure."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    h.correct(order, _another(h, room, order), at + 30 * MINUTE, "SC")
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)


def corrected_afterwards(h: Hospital, room: Room, at: int) -> None:
    """XO after completion: the study's procedure follows, its status stays completed."""
    chart = registered(h, at)
    order = ordered(h, chart, room, at + 10 * MINUTE)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)
    h.progress(order, at + 100 * MINUTE, "SC", "CM")
    dictated(h, order, at + 150 * MINUTE)
    h.correct(order, _another(h, room, order), at + 3 * HOUR, "CM")
    dictated(h, order, at + 200 * MINUTE, CORRECTED)


def one_study_for_two_orders(h: Hospital, room: Room, at: int) -> None:
    """Two orders in one message, done in one go under one Study Instance UID; the earlier one is primary."""
    chart = registered(h, at)
    group = h.serial("G")
    first = h.order(chart, room, at + 60 * MINUTE, group=group)
    second = h.order(chart, room, at + 90 * MINUTE, group=group)
    second.study_uid = first.study_uid
    second.procedure = _another(h, room, first)
    h.schedule([first, second], at + 10 * MINUTE, h.rng.choice(("ORM", "OMG")))
    scan = h.scan(
        room, at + 75 * MINUTE, chart, [first, second], method="study_uid", accession=first.accession
    )
    scanned(h, scan)


def two_orders_in_one_message(h: Hospital, room: Room, at: int) -> None:
    """Two orders in one message, a study each."""
    chart = registered(h, at)
    group = h.serial("G")
    orders = [h.order(chart, room, at + (60 + 60 * n) * MINUTE, group=group) for n in range(2)]
    orders[1].procedure = _another(h, room, orders[0])
    h.schedule(orders, at + 10 * MINUTE, h.rng.choice(("ORM", "OMG", "OMI")))
    for order in orders:
        scan = h.scan(room, order.scheduled_at, chart, [order], method="study_uid", accession=order.accession)
        scanned(h, scan)


def doubled_messages(h: Hospital, room: Room, at: int) -> None:
    """Registration and schedule are heard twice, byte for byte."""
    chart = registered(h, at)
    h.again(30 * MINUTE)
    order = h.order(chart, room, at + 60 * MINUTE)
    h.schedule([order], at + 10 * MINUTE, "OMG")
    h.again(2 * HOUR)
    scan = h.scan(room, at + 75 * MINUTE, chart, [order], method="study_uid", accession=order.accession)
    scanned(h, scan)


def _another(h: Hospital, room: Room, order: Order) -> Procedure:
    return h.rng.choice([p for p in CATALOGUE[room.kind] if p is not order.procedure])
