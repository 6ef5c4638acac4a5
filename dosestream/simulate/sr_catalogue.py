"""Everything a room may send of its dose, by name: dose reports, images, performed steps."""

from typing import Final

from dosestream.simulate import image_headers, performed_steps, sr_reports
from dosestream.simulate.sr_document import Plan
from dosestream.simulate.sr_draw import Draw

NAMES: Final = (*sr_reports.TEMPLATES, *image_headers.KINDS, *performed_steps.KINDS)


def planned(name: str, draw: Draw) -> Plan:
    """An instance of this kind, without faults."""
    for kinds, plan in (
        (sr_reports.TEMPLATES, sr_reports.plan),
        (image_headers.KINDS, image_headers.plan),
        (performed_steps.KINDS, performed_steps.plan),
    ):
        if name in kinds:
            return plan(name, draw)
    raise KeyError(name)
