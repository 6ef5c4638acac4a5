"""The phase of a study as it was lived: provisional, final, or amended by a word first heard after it was closed.

It holds where every message is received when it was sent.
"""

from collections.abc import Iterator, Mapping

from dosestream.simulate.records import Chart, Order, Scan
from dosestream.simulate.said import ATTRIBUTES, BY_APPOINTMENT, DEMOGRAPHICS, Said
from dosestream.simulate.truth import OPEN_FOR


def phase(scan: Scan, said: Said, sent: Mapping[str, int], now: int) -> str:
    """The phase at `now`. `sent`: MSH-10 or SOP Instance UID to its first sending; times as everywhere."""
    closes = scan.study_at + OPEN_FOR
    if now <= closes:
        return "provisional"
    heard = [at for at in _heard(scan, said, sent) if at is not None]
    return "amended" if max(heard) > closes else "final"


def _heard(scan: Scan, said: Said, sent: Mapping[str, int]) -> Iterator[int | None]:
    """When each value that the study's row shows was first heard."""
    yield said.first(sent, scan, "arrived", True)
    for report in scan.counted:
        uids = [exposure.uid for exposure in report]
        yield said.first(sent, scan, "totals", frozenset(uids))
        for uid in uids:
            yield said.first(sent, scan, "event", uid)
    chart = scan.chart
    if scan.link_state == "linked":
        yield from _of_order(scan.orders[0], said, sent)
        chart = scan.orders[0].chart
    if chart is not None:
        yield from _of_patient(chart, said, sent)


def _of_order(order: Order, said: Said, sent: Mapping[str, int]) -> Iterator[int | None]:
    for attribute in ATTRIBUTES:
        yield said.first(sent, order, attribute, getattr(order, attribute))
    yield said.first(sent, order, "procedure", order.procedure.code)
    yield said.first(sent, order, BY_APPOINTMENT if order.by_appointment else "status", order.status)
    yield said.first(sent, order, "referring physician", True)
    yield said.first(sent, order, "person", said.newest[id(order)])


def _of_patient(chart: Chart, said: Said, sent: Mapping[str, int]) -> Iterator[int | None]:
    while chart.merged_into is not None:
        yield said.first(sent, chart, "merged", chart.merged_into)
        chart = chart.merged_into
    for attribute in DEMOGRAPHICS:
        yield said.first(sent, chart, attribute, getattr(chart, attribute))
