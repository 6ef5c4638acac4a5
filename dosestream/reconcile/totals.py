"""Dose of one study from its reports: no event counted twice, none lost, stated totals before sums."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, Protocol, TypeVar

from dosestream.events.records import DoseReport, IrradiationEvent, Study
from dosestream.reconcile.modality import joined, of_report
from dosestream.reconcile.rows import DoseSummary, DoseTotalRow

FLUOROSCOPY = "fluoro"


@dataclass(frozen=True, slots=True)
class Report:
    """One dose report of a study; `version` orders reports by content time."""

    event: Study
    dose: DoseReport
    version: tuple[object, ...]

    @property
    def event_uids(self) -> frozenset[str]:
        """Irradiation event UIDs it lists."""
        return frozenset(e.irradiation_event_uid for e in self.dose.events)


@dataclass(frozen=True, slots=True)
class StudyDose:
    """Dose of a study: columns, totals by report, and each irradiation event once with its SOP instance."""

    summary: DoseSummary
    totals: tuple[DoseTotalRow, ...]
    events: tuple[tuple[str, IrradiationEvent], ...]


class Listing(Protocol):
    """A report as far as it decides which others count."""

    @property
    def event_uids(self) -> frozenset[Any]: ...
    @property
    def version(self) -> Any: ...


L = TypeVar("L", bound=Listing)


def counting(reports: Sequence[L]) -> tuple[L, ...]:
    """The reports whose stated totals add up: those whose event set no other contains (of equal sets the
    newest); a report that lists no events always counts."""
    listed = [r for r in reports if r.event_uids]
    kept = []
    for report in listed:
        others = (o for o in listed if o is not report)
        covered = any(
            report.event_uids < other.event_uids
            or (report.event_uids == other.event_uids and report.version < other.version)
            for other in others
        )
        if not covered:
            kept.append(report)
    return tuple(kept + [r for r in reports if not r.event_uids])


def distinct_events(reports: Iterable[Report]) -> tuple[tuple[str, IrradiationEvent], ...]:
    """Each irradiation event once, as the newest report tells it, in the order of their start."""
    newest: dict[str, tuple[str, IrradiationEvent]] = {}
    for report in sorted(reports, key=lambda r: r.version):
        for event in report.dose.events:
            newest[event.irradiation_event_uid] = (report.event.sop_instance_uid, event)
    return tuple(
        sorted(newest.values(), key=lambda item: (item[1].started_at or 0, item[1].irradiation_event_uid))
    )


@dataclass(frozen=True, slots=True)
class Column:
    """How a total column of dose.study comes about.

    Attributes:
        quantity: of the stated totals; those of mode `total` count where there are any, else all modes.
        laterality: only this side, None for all.
        of_event: what one irradiation event adds, None where events tell nothing.
    """

    quantity: str
    laterality: str | None = None
    of_event: Callable[[IrradiationEvent], float | None] | None = None


def _agd(side: str) -> Callable[[IrradiationEvent], float | None]:
    return lambda event: event.agd_mgy if event.laterality == side else None


COLUMNS: Mapping[str, Column] = {
    "ct_dlp_total_mgycm": Column("ct_dlp", of_event=lambda e: e.dlp_mgycm),
    "dap_total_gym2": Column("dap", of_event=lambda e: e.dap_gym2),
    "dose_rp_total_gy": Column("dose_rp", of_event=lambda e: e.dose_rp_gy),
    "fluoro_time_s": Column("fluoro_time"),
    "agd_left_mgy": Column("agd", "L", _agd("L")),
    "agd_right_mgy": Column("agd", "R", _agd("R")),
    "administered_activity_mbq": Column("administered_activity"),
    "effective_dose_msv": Column("effective_dose"),
}


def study_dose(reports: Sequence[Report], header_modality: str | None) -> StudyDose:
    """The dose of a study; without a report every dose column is None."""
    if not reports:
        return StudyDose(DoseSummary(modality=header_modality), (), ())
    events = distinct_events(reports)
    adding = counting(reports)
    values: dict[str, float | None] = {}
    sources = set()
    for name, column in COLUMNS.items():
        stated = _stated(adding, column)
        value = stated if stated is not None else _summed((e for _, e in events), column)
        values[name] = value
        if value is not None:
            sources.add("stated" if stated is not None else "events")
    newest = max(reports, key=lambda r: r.version).dose
    return StudyDose(
        summary=DoseSummary(
            modality=_modality(reports) or header_modality,
            event_count=len(events),
            total_source="stated" if "stated" in sources else "events" if sources else None,
            radionuclide=newest.radionuclide or None,
            radiopharmaceutical=newest.radiopharmaceutical or None,
            unread=sorted({word for r in reports for word in r.dose.unread}),
            **values,
        ),
        totals=tuple(row for report in sorted(reports, key=lambda r: r.version) for row in _totals(report)),
        events=events,
    )


def _stated(reports: Sequence[Report], column: Column) -> float | None:
    """Sum over planes, phantoms and reports of what they state; None where none states it."""
    total: float | None = None
    for report in reports:
        found = [
            t
            for t in report.dose.totals
            if t.quantity == column.quantity and column.laterality in (None, t.laterality)
        ]
        whole = [t for t in found if t.mode == "total"] or found
        if whole:
            total = (total or 0.0) + fsum(t.value for t in whole)
    return total


def _summed(events: Iterable[IrradiationEvent], column: Column) -> float | None:
    if column.of_event is None:
        return None
    found = [value for event in events if (value := column.of_event(event)) is not None]
    return fsum(found) if found else None


# Quantity of a stated total to what an event adds to it.
OF_EVENT: Mapping[str, Callable[[IrradiationEvent], float | None]] = {
    "ct_dlp": lambda e: e.dlp_mgycm,
    "dap": lambda e: e.dap_gym2,
    "dose_rp": lambda e: e.dose_rp_gy,
    "agd": lambda e: e.agd_mgy,
}


def _totals(report: Report) -> Iterable[DoseTotalRow]:
    for total in report.dose.totals:
        of_event = OF_EVENT.get(total.quantity)
        found = [
            value
            for event in report.dose.events
            if of_event is not None and _belongs(event, total) and (value := of_event(event)) is not None
        ]
        yield DoseTotalRow(
            study_instance_uid=report.event.study_instance_uid,
            quantity=total.quantity,
            mode=total.mode,
            plane=total.plane or None,
            phantom=total.phantom or None,
            laterality=total.laterality or None,
            stated=total.value,
            from_events=fsum(found) if found else None,
            unit=total.unit,
            sop_instance_uid=report.event.sop_instance_uid,
        )


def _belongs(event: IrradiationEvent, total: object) -> bool:
    """Whether an event counts towards a total of a mode, plane, phantom or breast."""
    mode, plane = getattr(total, "mode", ""), getattr(total, "plane", "")
    phantom, laterality = getattr(total, "phantom", ""), getattr(total, "laterality", "")
    fluoroscopy = event.acquisition_type.lower().startswith(FLUOROSCOPY)
    return (
        (mode == "total" or (mode == "fluoro") == fluoroscopy)
        and plane in ("", event.plane)
        and phantom in ("", event.ctdi_phantom)
        and laterality in ("", event.laterality)
    )


def _modality(reports: Iterable[Report]) -> str | None:
    return joined(kind for r in reports if (kind := of_report(r.dose, r.event.modality)) is not None)
