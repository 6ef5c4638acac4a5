"""Where dose was read: what is told by a better source replaces what others tell of the same kind, whichever came first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any, TypeVar

from dosestream.events.records import DoseReport, IrradiationEvent

IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of source: the lower its rank the better, and how far its numbers can be relied on."""

    rank: int
    confidence: str


SOURCES: Mapping[str, Source] = {
    # Made for dose by the device that irradiated.
    "rdsr": Source(0, "high"),
    # The same content in a report that is not made for it.
    "sr": Source(1, "medium"),
    # Totals of the step, entered by hand now and then.
    "mpps": Source(2, "medium"),
    # Only what was kept as images; a header says less than a report.
    IMAGE: Source(3, "low"),
}
UNKNOWN = Source(4, "low")

T = TypeVar("T")


def source_of(dose: DoseReport) -> Source:
    """The source of a report."""
    return SOURCES.get(dose.source, UNKNOWN)


def standing(
    said: Iterable[T], dose_of: Callable[[T], DoseReport], tells: Callable[[T], bool]
) -> tuple[T, ...]:
    """What no better source of the same template replaces. What tells nothing replaces nothing."""
    said = tuple(said)
    best: dict[str, int] = {}
    for one in said:
        if tells(one):
            dose = dose_of(one)
            rank = source_of(dose).rank
            best[dose.template] = min(best.get(dose.template, rank), rank)
    return tuple(
        one for one in said if source_of(dose := dose_of(one)).rank <= best.get(dose.template, UNKNOWN.rank)
    )


def tells(dose: DoseReport) -> bool:
    """Whether a report says anything of dose."""
    return bool(dose.totals or dose.events or dose.administrations or dose.organ_doses)


def one_acquisition(told: Sequence[IrradiationEvent]) -> IrradiationEvent:
    """The event that several images tell of: text where all agree, the mean of numbers, the earliest start.

    Images for presentation and for processing repeat the numbers of one exposure; slices of a CT differ where
    the tube current is modulated. Nothing adds up (PS3.3 C.8.15.3.8: values of images shall not be summed).
    """
    if len(told) == 1:
        return told[0]
    first = told[0]
    values: dict[str, Any] = {}
    for name in IrradiationEvent.__dataclass_fields__:
        known = [value for event in told if (value := getattr(event, name)) not in (None, "", {}, ())]
        if not known:
            continue
        if name == "started_at":
            values[name] = min(known)
        elif isinstance(known[0], float):
            values[name] = _mean(known)
        elif name == "measured":
            columns = sorted({column for one in known for column in one})
            values[name] = {c: _mean([one[c] for one in known if c in one]) for c in columns}
        elif isinstance(known[0], str | bool):
            values[name] = known[0] if len(set(known)) == 1 else getattr(EMPTY, name)
        elif name == "described":
            values[name] = {
                key: word
                for key in sorted({key for one in known for key in one})
                if len(words := {one[key] for one in known if key in one}) == 1
                for word in words
            }
    return replace(first, sources=(), stored={}, dose_checks=(), **values)


EMPTY = IrradiationEvent(irradiation_event_uid="")


def _mean(numbers: Sequence[float]) -> float:
    low, high = min(numbers), max(numbers)
    return low if low == high else fsum(numbers) / len(numbers)
