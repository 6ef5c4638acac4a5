"""Dose check alerts and notifications of a CT event (PS3.16 TID 10015)."""

from typing import Any

from dosestream.dose import concepts
from dosestream.dose.content import CONCEPT_NAME, CONTENT, Reading, children, code_of, items, value_code
from dosestream.dose.dataset import DataSet
from dosestream.events.records import DoseCheck


def dose_check(item: DataSet, reading: Reading) -> DoseCheck:
    """The alert (113900) or notification (113908) of its container."""
    names = items(item, CONCEPT_NAME)
    values: dict[str, Any] = {"kind": concepts.DOSE_CHECKS[code_of(names[0])]}
    person_id = _read(item, values, reading)
    values.setdefault("person", person_id)
    return DoseCheck(**values)


def _read(item: DataSet, values: dict[str, Any], reading: Reading) -> str:
    """Fill the values; returns the person's id, which stands in for a missing name."""
    person_id = ""
    for concept, child in children(item):
        if concept in concepts.CHECK_CONFIGURED:
            values[concepts.CHECK_CONFIGURED[concept]] = concepts.ANSWERS.get(value_code(child))
        elif concept in concepts.CHECK_NUMBERS:
            field, unit = concepts.CHECK_NUMBERS[concept]
            values[field] = reading.number(child, concept, unit)
        elif concept == concepts.CHECK_REASON:
            values["reason"] = reading.word(child)
        elif concept == concepts.PERSON_NAME and (name := reading.person_name(child)):
            values["person"] = name
        elif concept == concepts.PERSON_ID:
            person_id = reading.word(child)
        if CONTENT in child:
            person_id = _read(child, values, reading) or person_id
    return person_id
