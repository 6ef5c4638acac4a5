"""What most stories have in common: somebody is registered, an exam is ordered, a scan is done and reported."""

from dosestream.simulate.hospital import Hospital
from dosestream.simulate.procedures import Room
from dosestream.simulate.records import Chart, Order, Scan
from dosestream.simulate.timeline import MINUTE


def registered(h: Hospital, at: int, trigger: str = "A04", held: int = 0) -> Chart:
    """Somebody new, registered at `at`."""
    chart = h.chart()
    h.tell(chart, at, trigger, held=held)
    return chart


def ordered(h: Hospital, chart: Chart, room: Room, at: int, form: str = "ORM", uid: bool = True) -> Order:
    """An order placed by the HIS at `at`, scheduled by the RIS five minutes later."""
    order = h.order(chart, room, at + 60 * MINUTE, announces_uid=uid)
    h.place(order, at)
    h.schedule([order], at + 5 * MINUTE, form)
    return order


def scanned(h: Hospital, scan: Scan, held: int = 0) -> None:
    """The exposures of a scan and one report of them, ten minutes after its begin."""
    h.report(scan, h.expose(scan, scan.study_at), scan.study_at + 10 * MINUTE, held=held)
