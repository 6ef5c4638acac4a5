"""The radiologist's reports (ORU^R01, IHE RAD-28): preliminary, final, corrected."""

from collections.abc import Mapping

from dosestream.simulate import hl7_messages
from dosestream.simulate.hospital import RIS, Hospital
from dosestream.simulate.records import Finding, Order

PRELIMINARY, FINAL, CORRECTED = "P", "F", "C"

# What is written, by OBR-25: with an empty line, what must be escaped, and letters beyond ASCII.
TEXTS: Mapping[str, tuple[str, ...]] = {
    PRELIMINARY: ("Preliminary report of {meaning}", "", "No acute abnormality."),
    FINAL: (
        "{meaning}",
        "",
        "No acute abnormality. Comparison: none | see images & prior report of Dr. Weiß.",
        "  Largest lesion 5 mm ± 1 mm ^ unchanged",
    ),
    CORRECTED: ("{meaning}", "", "CORRECTED: the largest lesion is in the left lobe, not the right one."),
}


def dictated(h: Hospital, order: Order, at: int, status: str = FINAL, held: int = 0) -> None:
    """A report of the order is signed at `at`; the newest one is the true one."""
    lines = tuple(line.format(meaning=order.procedure.meaning) for line in TEXTS[status])
    order.findings.append(Finding(at, status, lines))
    name = h.control_id(RIS)
    named = {"placer", "filler", "accession", "procedure"} & order.told
    group = h.group(order, "RE", "CM", at, named)
    body = hl7_messages.oru(RIS, at, name, h.known_to_ris(order.chart), group, lines, status)
    h.say(RIS, at, "ORU^R01", name, body, held)
