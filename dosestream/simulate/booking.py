"""Appointments (SIU, HL7 chapter 10): the RIS books, moves and gives up the time of an order."""

from collections.abc import Mapping

from dosestream.simulate import hl7_messages
from dosestream.simulate.hospital import RIS2, Hospital
from dosestream.simulate.records import Order
from dosestream.simulate.said import BY_APPOINTMENT

BOOKED, MOVED, CANCELLED, NO_SHOW = "S12", "S13", "S15", "S26"

# What the order's status is called after it.
STATUS: Mapping[str, str] = {
    BOOKED: "SCHEDULED",
    MOVED: "SCHEDULED",
    CANCELLED: "CANCELED",
    NO_SHOW: "CANCELED",
}


def appointed(h: Hospital, order: Order, at: int, trigger: str = BOOKED, held: int = 0) -> None:
    """The RIS says what becomes of the appointment, at the order's scheduled time, of an order nobody has begun."""
    order.appointment = order.appointment or h.serial("T")
    order.status, order.by_appointment = STATUS[trigger], True
    name = h.control_id(RIS2)
    group = h.group(order, "", "", at, {"placer", "filler"} & order.told)
    person = h.known_to_ris(order.chart)
    body = hl7_messages.siu(RIS2, trigger, at, name, person, group, order.appointment, order.modality)
    h.said.note(name, order, BY_APPOINTMENT, order.status)
    h.say(RIS2, at, f"SIU^{trigger}", name, body, held)
