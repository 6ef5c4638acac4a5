"""Stated totals against what their events add up to. Neither is corrected: a difference is for a person to judge."""

from collections.abc import Callable, Iterable, Mapping
from math import fsum
from typing import Final

from dosestream.events.records import DoseReport, DoseTotal, IrradiationEvent

# Rounding in a report stays below this; a forgotten event or a wrong unit does not.
TOLERANCE: Final = 0.005

OfEvent = Callable[[IrradiationEvent], float | None]


def _measured(column: str) -> OfEvent:
    return lambda event: event.measured.get(column)


def _timed(fluoroscopy: bool) -> OfEvent:
    return lambda event: (
        event.measured.get("irradiation_duration_s") if is_fluoroscopy(event) == fluoroscopy else None
    )


# Quantity of a stated total to what one event adds to it.
OF_EVENT: Final[Mapping[str, OfEvent]] = {
    "ct_dlp": lambda event: event.dlp_mgycm,
    "dap": lambda event: event.dap_gym2,
    "dose_rp": lambda event: event.dose_rp_gy,
    "agd": lambda event: event.agd_mgy,
    "effective_dose": _measured("effective_dose_msv"),
    "fluoro_time": _timed(fluoroscopy=True),
    "acquisition_time": _timed(fluoroscopy=False),
}
# Those whose difference is worth a flag. Times are stated by other clocks than the events' durations.
COMPARED: Final = frozenset({"ct_dlp", "dap", "dose_rp", "agd", "effective_dose"})


def is_fluoroscopy(event: IrradiationEvent) -> bool:
    """By the code of its type; of events stored before the code was kept by the type's meaning."""
    if event.fluoroscopy is not None:
        return event.fluoroscopy
    return event.acquisition_type.lower().startswith("fluoro")


def belongs(event: IrradiationEvent, total: DoseTotal) -> bool:
    """Whether an event counts towards a total of a mode, plane, phantom or breast."""
    return (
        (total.mode == "total" or (total.mode == "fluoro") == is_fluoroscopy(event))
        and total.plane in ("", event.plane)
        and total.phantom in ("", event.ctdi_phantom)
        and total.laterality in ("", event.laterality)
    )


def from_events(total: DoseTotal, events: Iterable[IrradiationEvent]) -> float | None:
    """What the events add up to for a total, in the total's unit; None where none of them tells."""
    of_event = OF_EVENT.get(total.quantity)
    if of_event is None:
        return None
    found = [value for event in events if belongs(event, total) and (value := of_event(event)) is not None]
    return fsum(found) if found else None


def differs(stated: float, summed: float) -> bool:
    """Whether two accounts of one total lie further apart than the tolerance."""
    return abs(stated - summed) > TOLERANCE * max(abs(stated), abs(summed))


def differences(report: DoseReport) -> list[str]:
    """The totals of a report that its own events do not add up to, one phrase each."""
    found = []
    for total in report.totals:
        summed = from_events(total, report.events) if total.quantity in COMPARED else None
        if summed is not None and differs(total.value, summed):
            scope = " ".join(filter(None, (total.mode, total.plane, total.phantom, total.laterality)))
            found.append(
                f"{total.quantity} ({scope}) is stated as {total.value:g} {total.unit}, its events add up to {summed:g}"
            )
    return found
