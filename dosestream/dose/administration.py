"""Radiopharmaceutical administrations (PS3.16 TID 10022) and doses of organs (TID 10022; TID 10031 of patient dose)."""

from dataclasses import replace
from typing import Any

from dosestream.dose import concepts
from dosestream.dose.content import CONTENT, UID, VALUE_TYPE, Reading, children, leaf, value_code
from dosestream.dose.dataset import DataSet
from dosestream.dose.moments import Moment
from dosestream.events.records import Administration, OrganDose


def administration(item: DataSet, reading: Reading) -> tuple[Administration, Moment | None]:
    """The administration of a container 113502, and when it began."""
    values: dict[str, Any] = {"measured": {}}
    moments: dict[str, Moment] = {}
    organs: list[OrganDose] = []
    _read(item, values, moments, organs, reading)
    values |= {name: moment.at for name, moment in moments.items()}
    return Administration(organ_doses=tuple(organs), **values), moments.get("started_at")


def _read(
    item: DataSet,
    values: dict[str, Any],
    moments: dict[str, Moment],
    organs: list[OrganDose],
    reading: Reading,
) -> None:
    for concept, child in children(item):
        if concept == concepts.ORGAN_DOSE_INFORMATION:
            organs += organ_doses(child, reading)
            continue
        if concept in concepts.STARTED or concept in concepts.ENDED:
            name = "started_at" if concept in concepts.STARTED else "ended_at"
            if name not in moments and (moment := reading.moment(child)) is not None:
                moments[name] = moment
        elif concept == concepts.ADMINISTRATION_UID:
            values["administration_uid"] = leaf(child, UID)
        elif concept in concepts.RADIOPHARMACEUTICAL:
            values.setdefault("agent", reading.word(child))
        elif concept == concepts.RADIONUCLIDE:
            values.setdefault("radionuclide", reading.word(child))
        elif concept == concepts.ROUTE:
            values.setdefault("route", reading.word(child))
        elif concept in concepts.SITES:
            values.setdefault("site", reading.word(child))
        elif concept == concepts.LATERALITY:
            values.setdefault("laterality", concepts.SIDES.get(value_code(child), ""))
        elif concept in concepts.ADMINISTRATION_NUMBERS:
            column, unit = concepts.ADMINISTRATION_NUMBERS[concept]
            if (number := reading.number(child, concept, unit)) is not None:
                values["measured"].setdefault(column, number)
        elif concept == concepts.ADMINISTERED_ACTIVITY:
            values.setdefault("activity_mbq", reading.number(child, concept, "MBq"))
        elif concept == concepts.EFFECTIVE_DOSE:
            values.setdefault("effective_dose_msv", reading.number(child, concept, "mSv"))
        elif concept in concepts.ORGAN_DOSES:
            organs += organ_doses({CONTENT: [child]}, reading)
            continue
        if CONTENT in child:
            _read(child, values, moments, organs, reading)


def organ_doses(item: DataSet, reading: Reading, around: OrganDose | None = None) -> list[OrganDose]:
    """The organ doses of a container. What names the organ, its side and the method stands beside the number, around
    it, or under it.

    Args:
        item: the container.
        reading: charset and zone.
        around: what the containers around it say.
    """
    known = _modified(around or OrganDose(organ=""), item, reading)
    found = []
    for concept, child in children(item):
        if concept in concepts.ORGAN_DOSES:
            quantity, equivalent = concepts.ORGAN_DOSES[concept]
            number = reading.number(child, concept, "mSv" if equivalent else "mGy")
            if number is not None:
                own = _modified(known, child, reading)
                found.append(
                    replace(
                        own,
                        quantity=quantity,
                        dose_mgy=None if equivalent else number,
                        equivalent_msv=number if equivalent else None,
                    )
                )
        elif CONTENT in child and (leaf(child, VALUE_TYPE) == "CONTAINER" or concept in concepts.ORGANS):
            # An organ may hold its doses.
            inner = replace(known, organ=reading.word(child)) if concept in concepts.ORGANS else known
            found += organ_doses(child, reading, inner)
    return found


def _modified(known: OrganDose, item: DataSet, reading: Reading) -> OrganDose:
    said: dict[str, str] = {}
    for concept, child in children(item):
        if concept in concepts.ORGANS:
            said["organ"] = reading.word(child)
            for inner, grandchild in children(child):
                if inner == concepts.LATERALITY:
                    said["laterality"] = concepts.SIDES.get(value_code(grandchild), "")
        elif concept == concepts.LATERALITY:
            said["laterality"] = concepts.SIDES.get(value_code(child), "")
        elif concept in concepts.ORGAN_METHODS:
            said["method"] = reading.word(child)
        elif concept == concepts.ESTIMATE_NAME:
            said["estimate"] = reading.word(child)
    if not said:
        return known
    return OrganDose(**{**known.to_datum(), **said})
