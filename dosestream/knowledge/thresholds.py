"""Thresholds of high dose: what a study's total must reach for an alert."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dosestream.dose.units import UnitError, convert
from dosestream.knowledge.quantities import QUANTITIES

Mistakes = list[tuple[tuple[str, ...], str]]


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """What a study's totals must reach for an alert, as a number and its unit; empty for none.

    The defaults are the substantial radiation dose levels of NCRP report 168 (2010), from which on a patient is
    followed up for injuries of the skin: reference point air kerma, kerma-area product, fluoroscopy time.
    """

    dose_rp: str = "5 Gy"
    dap: str = "500 Gy.cm2"
    fluoro_time: str = "60 min"
    ct_dlp: str = ""


class ThresholdError(Exception):
    """A threshold that cannot be read; the message says why."""


def threshold(kind: str, text: str) -> float | None:
    """A threshold in the unit of its quantity, None where the text is empty.

    Raises:
        ThresholdError: no number above zero with a unit of this quantity.
    """
    if not text.strip():
        return None
    unit = QUANTITIES[kind].unit
    number, _, stored_unit = text.strip().partition(" ")
    try:
        value = convert(number, stored_unit.strip(), unit)
    except UnitError as error:
        raise ThresholdError(f"{error}: write a number, a blank and a unit, such as '2 {unit}'") from error
    if value <= 0:
        raise ThresholdError("must be above 0; leave it empty for no alert")
    return value


def thresholds(settings: AlertSettings) -> dict[str, float]:
    """Kind of alert to its threshold, in the unit of its quantity.

    Raises:
        ThresholdError: one cannot be read; `mistakes` finds them all.
    """
    found = {kind: threshold(kind, getattr(settings, kind)) for kind in AlertSettings.__dataclass_fields__}
    return {kind: value for kind, value in found.items() if value is not None}


def mistakes(settings: AlertSettings) -> Mistakes:
    """What is wrong with the section: its key and a sentence for each mistake."""
    found: Mistakes = []
    for kind in AlertSettings.__dataclass_fields__:
        try:
            threshold(kind, getattr(settings, kind))
        except ThresholdError as error:
            found.append(((kind,), f"{getattr(settings, kind)!r}: {error}"))
    return found


DEFAULTS: Final[Mapping[str, float]] = thresholds(AlertSettings())
