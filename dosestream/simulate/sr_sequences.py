"""Several instances for one study, as scanners send them, and what the study's dose is once all have come.

Growing, continued, sent again, corrected; a report that comes after images or a performed step; one SOP Instance
UID under two studies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from dosestream.simulate import image_headers, performed_steps, sr_reports
from dosestream.simulate.sr_answers import answers
from dosestream.simulate.sr_document import Plan
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import Answer
from dosestream.simulate.timeline import MINUTE

# Column of dose.study to the quantity of its stated totals, the breast, and the column of an event that adds to it.
COLUMNS: Final[Mapping[str, tuple[str, str, str]]] = {
    "ct_dlp_total_mgycm": ("ct_dlp", "", "dlp_mgycm"),
    "dap_total_gym2": ("dap", "", "dap_gym2"),
    "dose_rp_total_gy": ("dose_rp", "", "dose_rp_gy"),
    "fluoro_time_s": ("fluoro_time", "", ""),
    "agd_left_mgy": ("agd", "L", "agd_mgy"),
    "agd_right_mgy": ("agd", "R", "agd_mgy"),
}
# What a correction changes of an exposure: the first of these that it has.
DOSES: Final = ("dlp", "dap", "agd")


@dataclass(frozen=True, slots=True)
class Study:
    """What one study comes to.

    Attributes:
        counted: the instances whose totals add up.
        standing: those whose events stand, the newest last: it tells an event that several list.
    """

    counted: tuple[Plan, ...]
    standing: tuple[Plan, ...]

    def answer(self) -> Answer:
        """Columns of `dose.study` and the events by their UID; a column without value is None."""
        events: dict[str, Answer] = {}
        for plan in self.standing:
            events |= {event["irradiation_event_uid"]: event for event in _dose(plan)["events"]}
        columns: Answer = {"study_instance_uid": self.standing[0].head.study_uid, "event_count": len(events)}
        for column, (quantity, side, adds) in COLUMNS.items():
            stated = [
                total["value"]
                for plan in self.counted
                for total in _dose(plan)["totals"]
                if (total["quantity"], total["mode"]) == (quantity, "total")
                and side in ("", total["laterality"])
            ]
            summed = [
                event[adds]
                for event in events.values()
                if adds in event and side in ("", event.get("laterality"))
            ]
            columns[column] = _add(stated or summed)
        return columns | {"events": events}


def _dose(plan: Plan) -> Answer:
    return answers(plan.content) | plan.said


def _add(values: Sequence[float]) -> float | None:
    return float(sum(map(Decimal, map(str, values)), Decimal(0))) if values else None


@dataclass(frozen=True, slots=True)
class Sent:
    """Instances in the order of sending, and the studies they come to, whatever order they arrive in."""

    plans: tuple[Plan, ...]
    studies: tuple[Study, ...]


def _reports(name: str, draw: Draw, parts: Callable[[Sequence[Any]], list[Sequence[Any]]]) -> list[Plan]:
    """Reports of one study, each a minute after the one before, of these parts of its exposures."""
    head = sr_reports.head_of(name, draw)
    exposures = sr_reports.TEMPLATES[name].expose(draw)
    return [
        sr_reports.of(
            name, replace(head, sop_uid=draw.uid(), content_at=head.content_at + number * MINUTE), part
        )
        for number, part in enumerate(parts(exposures))
    ]


def growing(name: str, draw: Draw) -> Sent:
    """Each report holds all that the one before held, and more."""
    plans = _reports(name, draw, lambda all_: [all_[: n + 1] for n in range(len(all_))])
    return Sent(tuple(plans), (Study((plans[-1],), tuple(plans)),))


def continued(name: str, draw: Draw) -> Sent:
    """The second report holds what came after the first."""
    plans = tuple(_reports(name, draw, lambda all_: [all_[:2], all_[2:]]))
    return Sent(plans, (Study(plans, plans),))


def sent_again(name: str, draw: Draw) -> Sent:
    """Byte for byte, twice."""
    (plan,) = _reports(name, draw, lambda all_: [all_])
    return Sent((plan, plan), (Study((plan,), (plan,)),))


def sent_again_renamed(name: str, draw: Draw) -> Sent:
    """The same events under another SOP Instance UID."""
    plans = tuple(_reports(name, draw, lambda all_: [all_, all_]))
    return Sent(plans, (Study(plans[1:], plans),))


def corrected(name: str, draw: Draw) -> Sent:
    """The same events, one of them with another dose; the newest content holds."""
    plans = tuple(_reports(name, draw, lambda all_: [all_, [*all_[:-1], _doubled(all_[-1])]]))
    return Sent(plans, (Study(plans[1:], plans),))


def _doubled(exposure: Any) -> Any:
    dose = next(name for name in DOSES if hasattr(exposure, name))
    return replace(exposure, **{dose: getattr(exposure, dose) * 2})


def two_studies(name: str, draw: Draw) -> Sent:
    """One SOP Instance UID under two studies, of other events: two reports."""
    first = sr_reports.plan(name, draw)
    head = replace(sr_reports.head_of(name, draw), sop_uid=first.head.sop_uid)
    second = sr_reports.of(name, head, sr_reports.TEMPLATES[name].expose(draw))
    return Sent((first, second), (Study((first,), (first,)), Study((second,), (second,))))


def images(name: str, draw: Draw) -> Sent:
    """Three images of each of two acquisitions, and no report."""
    plans = _images(name, draw)
    one_each = (plans[0], plans[3])
    return Sent(tuple(plans), (Study(one_each, tuple(plans)),))


def _images(name: str, draw: Draw) -> list[Plan]:
    first, second = image_headers.plan(name, draw), image_headers.plan(name, draw)
    head = first.head
    same = replace(
        second,
        head=replace(
            second.head, study_uid=head.study_uid, accession=head.accession, patient_id=head.patient_id
        ),
    )
    return [
        replace(plan, head=replace(plan.head, sop_uid=draw.uid())) for plan in (first, same) for _ in range(3)
    ]


def report_after_images(name: str, draw: Draw) -> Sent:
    """A report replaces what images told."""
    return _after(_images("ct image", draw), name, draw)


def report_after_step(name: str, draw: Draw) -> Sent:
    """A report replaces what the performed step told."""
    return _after([performed_steps.plan("performed step of ct", draw)], name, draw)


def _after(told: list[Plan], name: str, draw: Draw) -> Sent:
    before = told[0].head
    head = replace(
        sr_reports.head_of(name, draw),
        study_uid=before.study_uid,
        patient_id=before.patient_id,
        accession=before.accession,
        request=None,
    )
    report = sr_reports.of(name, head, sr_reports.TEMPLATES[name].expose(draw))
    return Sent((*told, report), (Study((report,), (report,)),))


# Name to how it is made and of which kinds of instance.
SEQUENCES: Final[Mapping[str, tuple[Callable[[str, Draw], Sent], tuple[str, ...]]]] = {
    "growing": (growing, ("ct", "fluoroscopy", "mammography")),
    "continued": (continued, ("ct", "biplane angiography", "mammography")),
    "sent again": (sent_again, ("ct", "fluoroscopy", "mammography")),
    "sent again under another name": (sent_again_renamed, ("ct", "fluoroscopy")),
    "corrected": (corrected, ("ct", "fluoroscopy", "mammography")),
    "one name under two studies": (two_studies, ("ct", "mammography")),
    "images without report": (images, ("ct image", "dx image", "mg image")),
    "report after images": (report_after_images, ("ct",)),
    "report after a performed step": (report_after_step, ("ct",)),
}
