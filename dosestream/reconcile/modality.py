"""Modalities: of a dose report by its template, and families that the window does not tell apart."""

from collections.abc import Iterable

from dosestream.events.records import DoseReport

# Order in which kinds are joined in the modality column.
KINDS = ("CT", "RF", "DX", "MG", "NM", "PT")
# For the window these are one modality: what was ordered as one is often done on another.
PROJECTION = frozenset({"XA", "RF", "DX", "CR"})
# Modalities of instances that say nothing of how the study was made.
MUTE = frozenset({"", "SR", "KO", "PR", "OT", "DOC"})


def family(modality: str | None) -> str | None:
    """The family of a modality (`XR` for projection radiography), None where it says nothing."""
    if modality is None or modality in MUTE:
        return None
    return "XR" if modality in PROJECTION else modality


def of_report(dose: DoseReport, header_modality: str) -> str | None:
    """CT, MG, RF, DX, NM or PT by the template of the report's root (PS3.16); None where it is no report."""
    if dose.source in ("mpps", "image"):
        return None
    match dose.template:
        case "10011":
            return "CT"
        case "10001" if dose.mammography:
            return "MG"
        case "10001":
            return "RF" if dose.fluoroscopy else "DX"
        case "10021":
            return "PT" if dose.positron or header_modality == "PT" else "NM"
    return None


def joined(kinds: Iterable[str]) -> str | None:
    """Several kinds in their order with a backslash, None where there is none."""
    found = set(kinds)
    return "\\".join(kind for kind in KINDS if kind in found) or None
