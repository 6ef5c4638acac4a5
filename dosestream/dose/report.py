"""A dose report's content (PS3.16 TID 10001, 10011, 10021, 10030, 10040) as a DoseReport record."""

from dataclasses import dataclass, field, replace
from typing import Final

from dosestream.dose import concepts
from dosestream.dose.administration import administration, organ_doses
from dosestream.dose.concepts import ACCUMULATED, ADMINISTRATION, CONTAINERS, EVENT, TOTALS, Code
from dosestream.dose.content import (
    CONCEPT_NAME,
    CONTENT,
    VALUE_TYPE,
    Reading,
    children,
    code_of,
    items,
    leaf,
    value_code,
)
from dosestream.dose.dataset import DataSet
from dosestream.dose.irradiation import read_event, to_record
from dosestream.dose.moments import Moment
from dosestream.dose.units import PURE_NUMBER
from dosestream.events.records import Administration, DoseReport, DoseTotal, IrradiationEvent, OrganDose

CONTENT_TEMPLATE: Final = 0x0040A504
TEMPLATE_IDENTIFIER: Final = 0x0040DB00

TEMPLATES: Final = frozenset(("10001", "10011", "10021", "10030"))
# Storage SOP classes made for dose (PS3.4 B.5): X-ray, radiopharmaceutical, patient, enhanced X-ray.
DOSE_REPORTS: Final = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{last}" for last in ("67", "68", "73", "76"))
# Templates of roots whose containers are missing or unreadable.
ROOTS: Final[dict[Code, str]] = {
    concepts.X_RAY_DOSE_REPORT: "10001",
    concepts.RADIOPHARMACEUTICAL_DOSE_REPORT: "10021",
    concepts.PATIENT_DOSE_REPORT: "10030",
}


# Numbers that stand among totals without being one.
KNOWN: Final = (
    concepts.UNUSED_NUMBERS
    | concepts.ADMINISTRATION_NUMBERS.keys()
    | concepts.ORGAN_DOSES.keys()
    | concepts.UNITS_OF.keys()
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """A dose report, and when its irradiation began (for instances without Study Date and Time)."""

    report: DoseReport
    started: Moment | None
    repeated_event_uid: bool


@dataclass(slots=True)
class _Report:
    procedure: str = ""
    mammography: bool = False
    positron: bool = False
    fluoroscopy: bool = False
    started: Moment | None = None
    ended: Moment | None = None
    families: list[str] = field(default_factory=list)
    totals: list[DoseTotal] = field(default_factory=list)
    sub_totals: list[DoseTotal] = field(default_factory=list)
    events: list[IrradiationEvent] = field(default_factory=list)
    first_event: Moment | None = None
    administrations: list[Administration] = field(default_factory=list)
    organ_doses: list[OrganDose] = field(default_factory=list)
    events_stated: int | None = None
    alike: dict[str, int] = field(default_factory=dict)


def extract(root: DataSet, reading: Reading, sop_class: str) -> Extraction | None:
    """The dose of a structured report; None where the report is no dose report.

    A report is one when its title says so or it has a container of a dose template.

    Args:
        root: the instance's data set.
        reading: charset and zone; its `unread` is taken over.
        sop_class: of the instance; a report that neither it nor the title calls a dose report is of source `sr`.
    """
    report = _Report()
    _root(root, report, reading)
    names = items(root, CONCEPT_NAME)
    title = code_of(names[0]) if names else ("", "")
    if not report.families and title not in ROOTS:
        return None
    stated = {leaf(item, TEMPLATE_IDENTIFIER) for item in items(root, CONTENT_TEMPLATE)} & TEMPLATES
    # What the report holds counts before what it says it is.
    template = next(iter(report.families), "") or next(iter(stated), "") or ROOTS[title]
    # Totals add up, so the sub-totals of phantoms stay only where the report states no total.
    quantities = {total.quantity for total in report.totals}
    parts = [total for total in report.sub_totals if total.quantity not in quantities]
    totals = _without_repeated_planes(report.totals + parts, reading)
    fluoroscopy = report.fluoroscopy or any(
        total.value > 0 and (total.mode == "fluoro" or total.quantity == "fluoro_time") for total in totals
    )
    uids = [event.irradiation_event_uid for event in report.events]
    return Extraction(
        report=DoseReport(
            template=template,
            procedure=report.procedure,
            fluoroscopy=fluoroscopy,
            mammography=report.mammography,
            positron=report.positron,
            started_at=report.started.at if report.started else None,
            ended_at=report.ended.at if report.ended else None,
            totals=totals,
            events=tuple(report.events),
            radionuclide=next((one.radionuclide for one in report.administrations if one.radionuclide), ""),
            radiopharmaceutical=next((one.agent for one in report.administrations if one.agent), ""),
            administrations=tuple(report.administrations),
            organ_doses=tuple(report.organ_doses),
            events_stated=report.events_stated,
            source="rdsr" if title in ROOTS or sop_class in DOSE_REPORTS else "sr",
            unread=tuple(reading.unread),
        ),
        started=report.started or report.first_event,
        repeated_event_uid=len(set(uids)) < len(uids),
    )


def _root(item: DataSet, report: _Report, reading: Reading) -> None:
    for concept, child in children(item):
        if concept in CONTAINERS:
            family, kind = CONTAINERS[concept]
            if family not in report.families:
                report.families.append(family)
            if kind == EVENT:
                _event(child, report, reading)
            elif kind == ACCUMULATED:
                _accumulated(child, report, reading)
            elif kind == ADMINISTRATION:
                _administration(child, report, reading)
            else:
                report.organ_doses += organ_doses(child, reading)
        elif concept in (concepts.PROCEDURE_REPORTED, concepts.ASSOCIATED_PROCEDURE):
            report.procedure = reading.word(child)
            report.mammography = value_code(child) == concepts.MAMMOGRAPHY
            report.positron = value_code(child) in concepts.PET_STUDIES
        elif concept in concepts.STARTED:
            report.started = reading.moment(child)
        elif concept in concepts.ENDED:
            report.ended = reading.moment(child)
        elif leaf(child, VALUE_TYPE) == "CONTAINER":
            # Some writers wrap the templates in a container of their own.
            _root(child, report, reading)


def _event(item: DataSet, report: _Report, reading: Reading) -> None:
    event = read_event(item, reading)
    report.fluoroscopy = report.fluoroscopy or bool(event.fluoroscopy)
    if event.started and (report.first_event is None or event.started.at < report.first_event.at):
        report.first_event = event.started
    report.events.append(to_record(event, report.alike, reading))


def _accumulated(item: DataSet, report: _Report, reading: Reading) -> None:
    plane = next(
        (
            concepts.PLANES.get(value_code(child), "")
            for concept, child in children(item)
            if concept == concepts.PLANE
        ),
        "",
    )
    _totals(item, plane, report, reading)


def _administration(item: DataSet, report: _Report, reading: Reading) -> None:
    """TID 10022: one administration of a radiopharmaceutical."""
    _totals(item, "", report, reading)
    one, started = administration(item, reading)
    report.administrations.append(one)
    report.started = report.started or started


def _totals(item: DataSet, plane: str, report: _Report, reading: Reading) -> None:
    taken: set[tuple[str, str, str, str, bool]] = set()
    for concept, child in children(item):
        if concept in TOTALS:
            total = TOTALS[concept]
            phantom, laterality = "", ""
            for modifier, value in children(child):
                if modifier == concepts.PHANTOM:
                    phantom = concepts.PHANTOMS.get(value_code(value)) or reading.word(value)
                elif modifier == concepts.LATERALITY:
                    laterality = concepts.SIDES.get(value_code(value), "")
            numbers = [
                (value, stored, unit)
                for value, stored, unit in reading.numbers(child, concept, total.unit)
                if value is not None
            ]
            if len(numbers) > 1:
                reading.give_up(concept, f"{len(numbers)} values where one is meant; the first is taken")
            scope = (total.quantity, total.mode, phantom, laterality, concept == concepts.DLP_SUB_TOTAL)
            if numbers and scope in taken:
                # As by two sets of weighting factors: they are no sum.
                reading.give_up(concept, "stated more than once for the same; the first is taken")
                numbers = []
            taken.add(scope)
            kept = report.sub_totals if concept == concepts.DLP_SUB_TOTAL else report.totals
            kept.extend(
                DoseTotal(
                    quantity=total.quantity,
                    mode=total.mode,
                    plane=plane,
                    phantom=phantom,
                    laterality=laterality,
                    value=value,
                    unit=total.unit,
                    stored_value=stored_value,
                    stored_unit=stored_unit,
                )
                for value, stored_value, stored_unit in numbers[:1]
            )
            continue
        if concept == concepts.EVENTS_STATED:
            number = reading.number(child, concept, PURE_NUMBER)
            report.events_stated = None if number is None else round(number) + (report.events_stated or 0)
        elif concept[1] == "DCM" and leaf(child, VALUE_TYPE) == "NUM" and concept not in KNOWN:
            reading.give_up(concept, "a number that no dose template knows; is the code off by a digit?")
        if CONTENT in child and leaf(child, VALUE_TYPE) == "CONTAINER":
            _totals(child, plane, report, reading)


def _without_repeated_planes(totals: list[DoseTotal], reading: Reading) -> tuple[DoseTotal, ...]:
    """Totals add over planes, so one of all planes stays only where no plane states it itself."""
    by_plane = {(total.quantity, total.mode) for total in totals if total.plane not in ("all", "")}
    kept = []
    for total in totals:
        if total.plane != "all":
            kept.append(total)
        elif (total.quantity, total.mode) in by_plane:
            reading.give_up(concepts.ALL_PLANES, f"{total.quantity} of all planes; its planes are stated too")
        else:
            kept.append(replace(total, plane=""))
    return tuple(kept)
