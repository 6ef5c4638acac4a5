"""One irradiation event: CT (PS3.16 TID 10013, 10014) or projection (TID 10003 with its parts A, B, C; 10042)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from dosestream.dose import concepts
from dosestream.dose.concepts import (
    DESCRIBED,
    MEASURED,
    MEASURED_FIELDS,
    METHODS,
    NUMBERS,
    SOURCE_MEASURED,
    SOURCE_NUMBERS,
    STORED_FIELDS,
    UNITS_OF,
    WORD_FIELDS,
    WORDS,
    Code,
    Number,
)
from dosestream.dose.content import CONTENT, UID, VALUE_TYPE, Reading, children, leaf, value_code
from dosestream.dose.dataset import DataSet
from dosestream.dose.dose_check import dose_check
from dosestream.dose.moments import Moment
from dosestream.dose.units import PURE_NUMBER
from dosestream.events.records import DoseCheck, IrradiationEvent, XRaySource

T = TypeVar("T")
# Of a tube or pulse group, without a field of the event's own.
SOURCE_ONLY: Final = frozenset((*SOURCE_MEASURED, "pulse_width_ms"))


@dataclass(slots=True)
class Filter:
    """One X-ray filter; thickness in mm."""

    material: str = ""
    minimum: float | None = None
    maximum: float | None = None

    def __str__(self) -> str:
        bounds = [f"{bound:g}" for bound in (self.minimum, self.maximum) if bound is not None]
        return f"{self.material} {'-'.join(bounds)} mm".strip() if bounds else self.material


@dataclass(slots=True)
class Tube:
    """Numbers of one X-ray source container (CT), or of the event itself (projection)."""

    identification: str = ""
    numbers: dict[Code, list[float]] = field(default_factory=dict)


@dataclass(slots=True)
class Event:
    """What one pass over an event's items found."""

    uid: str = ""
    started: Moment | None = None
    plane: str = ""
    laterality: str = ""
    phantom: str = ""
    fluoroscopy: bool | None = None
    words: dict[Code, str] = field(default_factory=dict)
    numbers: dict[Code, list[float]] = field(default_factory=dict)
    filters: list[Filter] = field(default_factory=list)
    tubes: list[Tube] = field(default_factory=list)
    described: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    dose_checks: list[DoseCheck] = field(default_factory=list)


def read_event(item: DataSet, reading: Reading) -> Event:
    """Walk the items of one event container."""
    event = Event()
    _walk(item, event, None, reading)
    return event


def to_record(event: Event, seen: dict[str, int], reading: Reading) -> IrradiationEvent:
    """The event's record.

    Args:
        event: what was read.
        seen: counts equal events without UID in this report, so that two exposures alike stay two.
        reading: takes what cannot be decided.
    """
    values: dict[str, Any] = {name: _scalar(event, number, reading) for name, number in NUMBERS.items()}
    frames = values.pop("frames")
    groups = _groups(event)
    common = {name: _common(columns) for name, columns in groups.items()}
    values |= {name: value for name, value in common.items() if name not in SOURCE_ONLY}
    values |= {name: _first(event.words, codes) or "" for name, codes in WORDS.items()}
    values |= {
        "started_at": event.started.at if event.started else None,
        "plane": event.plane,
        "ctdi_phantom": event.phantom,
        "frames": None if frames is None else round(frames),
        "filters": "; ".join(filter(None, map(str, event.filters))),
        "laterality": event.laterality,
    }
    uid = event.uid or _derived_uid(event, values, seen)
    measured = {
        column: value
        for code in event.numbers
        if (column := MEASURED_FIELDS.get(code))
        and (value := _scalar(event, MEASURED[column], reading)) is not None
    }
    measured |= {name: value for name in SOURCE_MEASURED if (value := common[name]) is not None}
    return IrradiationEvent(
        irradiation_event_uid=uid,
        no_event_uid=not event.uid,
        sources=_sources(event, groups),
        fluoroscopy=event.fluoroscopy,
        measured=measured,
        described=event.described,
        stored=event.stored,
        dose_checks=tuple(event.dose_checks),
        **values,
    )


def _walk(item: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    for concept, child in children(item):
        if (handler := HANDLERS.get(concept)) is not None:
            handler(child, event, tube, reading)
        elif (
            concept[1] == "DCM"
            and leaf(child, VALUE_TYPE) == "NUM"
            and concept not in concepts.UNUSED_NUMBERS
        ):
            reading.give_up(concept, "a number that no dose template knows; is the code off by a digit?")
        if CONTENT in child and concept not in WHOLE:
            _walk(child, event, tube, reading)


def _number(concept: Code, child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    unit = UNITS_OF[concept]
    numbers = reading.numbers(child, concept, unit)
    kept = (tube or event).numbers.setdefault(concept, [])
    for value, stored, stored_unit in numbers:
        if value is not None:
            kept.append(value)
        if value is None or (stored_unit != unit and unit != PURE_NUMBER):
            column = STORED_FIELDS[concept]
            text = f"{stored} {stored_unit}".strip()
            event.stored[column] = f"{known}; {text}" if (known := event.stored.get(column)) else text
    if concept in METHODS and CONTENT in child:
        for inner, grandchild in children(child):
            if inner == concepts.MEASUREMENT_METHOD:
                _describe(event, METHODS[concept], reading.word(grandchild))


def _describe(event: Event, column: str, word: str) -> None:
    known = event.described.get(column)
    if word and known != word:
        event.described[column] = f"{known}; {word}" if known else word


def _word(concept: Code, child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.words.setdefault(concept, reading.word(child))
    if concept == concepts.EVENT_TYPE:
        event.fluoroscopy = event.fluoroscopy or value_code(child) == concepts.FLUOROSCOPY


def _described(column: str, child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    _describe(event, column, reading.word(child))


def _uid(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.uid = event.uid or leaf(child, UID)


def _start(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.started = event.started or reading.moment(child)


def _plane(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.plane = concepts.PLANES.get(value_code(child), "")


def _side(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.laterality = event.laterality or concepts.SIDES.get(value_code(child), "")


def _phantom(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.phantom = concepts.PHANTOMS.get(value_code(child)) or reading.word(child)


def _filters(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.filters.append(_filter(child, event, reading))


def _tube(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.tubes.append(one := Tube())
    _walk(child, event, one, reading)


def _tube_name(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    if tube is not None:
        tube.identification = reading.word(child)


def _check(child: DataSet, event: Event, tube: Tube | None, reading: Reading) -> None:
    event.dose_checks.append(dose_check(child, reading))


HANDLERS: Final[dict[Code, Callable[[DataSet, Event, Tube | None, Reading], None]]] = {
    **dict.fromkeys(concepts.EVENT_UID, _uid),
    concepts.EVENT_STARTED: _start,
    concepts.PLANE: _plane,
    concepts.LATERALITY: _side,
    concepts.PHANTOM: _phantom,
    concepts.X_RAY_FILTERS: _filters,
    concepts.X_RAY_SOURCE: _tube,
    concepts.X_RAY_SOURCE_ID: _tube_name,
    **dict.fromkeys(concepts.DOSE_CHECKS, _check),
    **{code: partial(_described, column) for code, column in DESCRIBED.items()},
    **{code: partial(_word, code) for code in WORD_FIELDS},
    **{code: partial(_number, code) for code in UNITS_OF},
}
# Containers that their handler reads to the bottom.
WHOLE: Final = frozenset((concepts.X_RAY_FILTERS, concepts.X_RAY_SOURCE, *concepts.DOSE_CHECKS))


def _filter(item: DataSet, event: Event, reading: Reading) -> Filter:
    result = Filter()
    for concept, child in children(item):
        if concept == concepts.FILTER_MATERIAL:
            result.material = reading.word(child)
        elif concept in DESCRIBED:
            _describe(event, DESCRIBED[concept], reading.word(child))
        elif concept in (concepts.FILTER_MINIMUM, concepts.FILTER_MAXIMUM):
            thickness = reading.number(child, concept, "mm")
            if concept == concepts.FILTER_MINIMUM:
                result.minimum = thickness
            else:
                result.maximum = thickness
    return result


def _scalar(event: Event, wanted: Number, reading: Reading) -> float | None:
    for code in wanted.codes:
        if numbers := event.numbers.get(code):
            if len(numbers) > 1 and len(set(numbers)) > 1:
                reading.give_up(
                    code, f"{len(numbers)} values in one event where one is meant; the first is taken"
                )
            return numbers[0]
    return None


def _groups(event: Event) -> dict[str, list[float | None]]:
    """Field to its value per tube or pulse group."""
    groups: dict[str, list[float | None]] = {}
    for name, wanted in SOURCE_NUMBERS.items():
        # Stated for the event as a whole (exposure time in CT), or once per source container.
        whole = _first(event.numbers, wanted.codes)
        groups[name] = [*whole] if whole else [_of_tube(tube, wanted) for tube in event.tubes]
    return groups


def _of_tube(tube: Tube, wanted: Number) -> float | None:
    stated = _first(tube.numbers, wanted.codes)
    return stated[0] if stated else None


def _first(stated: Mapping[Code, T], codes: tuple[Code, ...]) -> T | None:
    """What was stated for the first of the concepts that has a value."""
    for code in codes:
        if found := stated.get(code):
            return found
    return None


def _common(values: Sequence[float | None]) -> float | None:
    """The one value all state; None where they differ or none states one."""
    if len(values) < 2:
        return values[0] if values else None
    distinct = {value for value in values if value is not None}
    return distinct.pop() if len(distinct) == 1 else None


def _sources(event: Event, groups: dict[str, list[float | None]]) -> tuple[XRaySource, ...]:
    """A row per tube or pulse group where there are several; a value stated once for all stands with the event."""
    count = max(len(event.tubes), *map(len, groups.values()))
    if count < 2:
        return ()
    sources = []
    for index in range(count):
        values: dict[str, Any] = {
            name: column[index] if index < len(column) else None
            for name, column in groups.items()
            if len(column) > 1 and name not in SOURCE_MEASURED
        }
        values["measured"] = {
            name: number
            for name in SOURCE_MEASURED
            if len(column := groups[name]) > 1
            and index < len(column)
            and (number := column[index]) is not None
        }
        if index < len(event.tubes):
            values["identification"] = event.tubes[index].identification
        # Filters belong to pulse groups only where there are as many.
        if len(event.filters) == count:
            one = event.filters[index]
            values |= {
                "filter_material": one.material,
                "filter_thickness_min_mm": one.minimum,
                "filter_thickness_max_mm": one.maximum,
            }
        sources.append(XRaySource(number=index + 1, **values))
    return tuple(sources)


def _derived_uid(event: Event, values: dict[str, Any], seen: dict[str, int]) -> str:
    """A UID from start and values (PS3.5 B.2 form), the same whenever the same event is reported."""
    text = repr(
        (event.started.local if event.started else "", sorted(values.items(), key=lambda pair: pair[0]))
    )
    nth = seen[text] = seen.get(text, 0) + 1
    digest = hashlib.sha256(f"{nth}\0{text}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
