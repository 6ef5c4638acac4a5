"""Dose of one study from its reports: no event counted twice, none lost, stated totals before sums."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any, Protocol, TypeVar

from dosestream.dose.sums import COMPARED, OF_EVENT, OfEvent, differs, from_events
from dosestream.events.records import Administration, DoseReport, IrradiationEvent, OrganDose, Study
from dosestream.reconcile.dose_sources import IMAGE, SOURCES, one_acquisition, source_of, standing, tells
from dosestream.reconcile.modality import joined, of_report
from dosestream.reconcile.rows import DoseSummary, DoseTotalRow


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
    """Dose of a study.

    Attributes:
        summary: its columns.
        totals: by report.
        events: each irradiation event once, with its SOP instance; so administrations and organ doses.
        unread: SOP instance and what of it could not be read.
        sources: SOP instance to where its dose was read.
    """

    summary: DoseSummary
    totals: tuple[DoseTotalRow, ...]
    events: tuple[tuple[str, IrradiationEvent], ...]
    administrations: tuple[tuple[str, Administration], ...] = ()
    organ_doses: tuple[tuple[str, OrganDose], ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)


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
    newest: dict[frozenset[Any], L] = {}
    for report in reports:
        uids = report.event_uids
        if uids and (uids not in newest or newest[uids].version < report.version):
            newest[uids] = report
    kept = [report for uids, report in newest.items() if not any(uids < other for other in newest)]
    return tuple(kept + [r for r in reports if not r.event_uids])


def distinct_events(reports: Iterable[Report]) -> tuple[tuple[str, IrradiationEvent], ...]:
    """Each irradiation event once, as the newest report tells it (images together), in the order of their start."""
    newest: dict[str, tuple[str, IrradiationEvent]] = {}
    images: dict[str, dict[str, IrradiationEvent]] = {}
    for report in sorted(reports, key=lambda r: r.version):
        sop = report.event.sop_instance_uid
        for event in report.dose.events:
            if report.dose.source == IMAGE:
                images.setdefault(event.irradiation_event_uid, {})[sop] = event
            else:
                newest[event.irradiation_event_uid] = (sop, event)
    for uid, told in images.items():
        instances = sorted(told)
        newest.setdefault(uid, (instances[0], one_acquisition([told[sop] for sop in instances])))
    return tuple(
        sorted(newest.values(), key=lambda item: (item[1].started_at or 0, item[1].irradiation_event_uid))
    )


def distinct_administrations(reports: Iterable[Report]) -> tuple[tuple[str, Administration], ...]:
    """Each administration once, as the newest report tells it. Without UID one is known by what was given and when."""
    newest: dict[object, tuple[str, Administration]] = {}
    for report in sorted(reports, key=lambda r: r.version):
        for one in report.dose.administrations:
            key = one.administration_uid or (one.agent, one.radionuclide, one.started_at, one.activity_mbq)
            newest[key] = (report.event.sop_instance_uid, one)
    return tuple(
        sorted(newest.values(), key=lambda item: (item[1].started_at or 0, repr(item[1].to_datum())))
    )


def distinct_organ_doses(reports: Iterable[Report]) -> tuple[tuple[str, OrganDose], ...]:
    """Each organ dose of a patient dose report once, as the newest report tells it."""
    newest: dict[object, tuple[str, OrganDose]] = {}
    for report in sorted(reports, key=lambda r: r.version):
        for one in report.dose.organ_doses:
            key = (one.estimate, one.organ, one.laterality, one.quantity, one.method)
            newest[key] = (report.event.sop_instance_uid, one)
    return tuple(newest[key] for key in sorted(newest, key=repr))


@dataclass(frozen=True, slots=True)
class Column:
    """How a total column of dose.study comes about.

    Attributes:
        quantity: of the stated totals; those of mode `total` count where there are any, else all modes.
        laterality: only this side, None for all.
        of_event: what one irradiation event adds, None where events tell nothing.
        of_administration: what one administration adds, the same.
    """

    quantity: str
    laterality: str | None = None
    of_event: OfEvent | None = None
    of_administration: Callable[[Administration], float | None] | None = None


def _agd(side: str) -> OfEvent:
    return lambda event: event.agd_mgy if event.laterality == side else None


COLUMNS: Mapping[str, Column] = {
    "ct_dlp_total_mgycm": Column("ct_dlp", of_event=lambda e: e.dlp_mgycm),
    "dap_total_gym2": Column("dap", of_event=lambda e: e.dap_gym2),
    "dose_rp_total_gy": Column("dose_rp", of_event=lambda e: e.dose_rp_gy),
    "fluoro_time_s": Column("fluoro_time"),
    "agd_left_mgy": Column("agd", "L", _agd("L")),
    "agd_right_mgy": Column("agd", "R", _agd("R")),
    "administered_activity_mbq": Column("administered_activity", of_administration=lambda a: a.activity_mbq),
    "effective_dose_msv": Column("effective_dose"),
}


def study_dose(reports: Sequence[Report], header_modality: str | None) -> StudyDose:
    """The dose of a study; without a report every dose column is None."""
    if not reports:
        return StudyDose(DoseSummary(modality=header_modality), (), ())
    unread = sorted({(r.event.sop_instance_uid, word) for r in reports for word in r.dose.unread})
    reports = standing(reports, lambda r: r.dose, lambda r: tells(r.dose))
    in_order = sorted(reports, key=lambda r: r.version)
    events = distinct_events(reports)
    administrations = distinct_administrations(reports)
    adding = counting([r for r in reports if r.dose.totals or r.dose.source != IMAGE])
    values: dict[str, float | None] = {}
    sources = set()
    for name, column in COLUMNS.items():
        stated = _stated(adding, column)
        value = stated if stated is not None else _summed((e for _, e in events), column)
        if value is None and column.of_administration is not None:
            value = _sum(column.of_administration(one) for _, one in administrations)
        values[name] = value
        if value is not None:
            sources.add("stated" if stated is not None else "events")
    telling = [r.dose for r in in_order if tells(r.dose)]
    worst = max(map(source_of, telling), key=lambda s: s.rank, default=None)
    return StudyDose(
        summary=DoseSummary(
            modality=_modality(reports) or header_modality,
            event_count=len(events),
            total_source="stated" if "stated" in sources else "events" if sources else None,
            radionuclide=next((r.dose.radionuclide for r in in_order[::-1] if r.dose.radionuclide), None),
            radiopharmaceutical=next(
                (r.dose.radiopharmaceutical for r in in_order[::-1] if r.dose.radiopharmaceutical), None
            ),
            unread=sorted({word for _, word in unread}),
            dose_source="\\".join(name for name in SOURCES if any(d.source == name for d in telling)) or None,
            dose_confidence=worst.confidence if worst else None,
            **values,
        ),
        totals=(*(row for report in in_order for row in _totals(report)), *_unstated(in_order, events)),
        events=events,
        administrations=administrations,
        organ_doses=distinct_organ_doses(reports),
        unread=tuple(unread),
        sources={r.event.sop_instance_uid: r.dose.source for r in reports},
    )


def _stated(reports: Sequence[Report], column: Column) -> float | None:
    """Sum over planes, phantoms and reports of what they state; None where none states it."""
    stated: list[float] = []
    for report in reports:
        found = [
            t
            for t in report.dose.totals
            if t.quantity == column.quantity and column.laterality in (None, t.laterality)
        ]
        stated += [t.value for t in [t for t in found if t.mode == "total"] or found]
    return fsum(stated) if stated else None


def _sum(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return fsum(found) if found else None


def _summed(events: Iterable[IrradiationEvent], column: Column) -> float | None:
    of_event = column.of_event
    return None if of_event is None else _sum(of_event(event) for event in events)


def _totals(report: Report) -> Iterable[DoseTotalRow]:
    for total in report.dose.totals:
        summed = from_events(total, report.dose.events)
        yield DoseTotalRow(
            study_instance_uid=report.event.study_instance_uid,
            quantity=total.quantity,
            mode=total.mode,
            plane=total.plane or None,
            phantom=total.phantom or None,
            laterality=total.laterality or None,
            stated=total.value,
            from_events=summed,
            unit=total.unit,
            sop_instance_uid=report.event.sop_instance_uid,
            stored_value=total.stored_value or None,
            stored_unit=total.stored_unit or None,
            dose_source=report.dose.source,
            confidence=source_of(report.dose).confidence,
            differs=None
            if summed is None or total.quantity not in COMPARED
            else differs(total.value, summed),
        )


# Quantities that events add up to where no report states them, and their unit.
UNSTATED: Mapping[str, str] = {"ct_dlp": "mGy.cm", "dap": "Gy.m2", "dose_rp": "Gy", "agd": "mGy"}


def _unstated(
    reports: Sequence[Report], events: Sequence[tuple[str, IrradiationEvent]]
) -> Iterable[DoseTotalRow]:
    """Totals that no report states, by plane, phantom and breast, of each source's own events."""
    stated = {total.quantity for report in reports for total in report.dose.totals}
    source = {report.event.sop_instance_uid: report for report in reports}
    sums: dict[tuple[str, str, str, str, str], list[tuple[str, float]]] = {}
    for quantity in UNSTATED:
        if quantity in stated:
            continue
        for sop, event in events:
            value = OF_EVENT[quantity](event)
            if value is not None:
                phantom = event.ctdi_phantom if quantity == "ct_dlp" else ""
                side = event.laterality if quantity == "agd" else ""
                key = (source[sop].dose.source, quantity, event.plane, phantom, side)
                sums.setdefault(key, []).append((sop, value))
    for (kind, quantity, plane, phantom, side), found in sorted(sums.items()):
        yield DoseTotalRow(
            study_instance_uid=reports[0].event.study_instance_uid,
            quantity=quantity,
            mode="total",
            plane=plane or None,
            phantom=phantom or None,
            laterality=side or None,
            stated=None,
            from_events=fsum(value for _, value in found),
            unit=UNSTATED[quantity],
            sop_instance_uid=min(sop for sop, _ in found),
            dose_source=kind,
            confidence=SOURCES[kind].confidence if kind in SOURCES else None,
        )


def _modality(reports: Iterable[Report]) -> str | None:
    return joined(kind for r in reports if (kind := of_report(r.dose, r.event.modality)) is not None)
