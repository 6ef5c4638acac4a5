"""Age, height and weight at the exam: the header's, else the order's OBX, else birth date and study date."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from rows_of import rows_of
from said import arrival, at, order, person

from dosestream.reconcile.body import age_years
from dosestream.reconcile.rules import Rules


def micros(year: int, month: int, day: int, hour: int = 12) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1_000_000


AGES = {
    "on a birthday a whole number": ("2011-03-02", micros(2026, 3, 2), "", 15.0),
    "the day before less than it": ("2011-03-02", micros(2026, 3, 1), "", 14 + 364 / 365),
    "half a year": ("2025-09-01", micros(2026, 3, 2), "", 182 / 365),
    "born on a leap day, a year later on 28 February": ("2024-02-29", micros(2025, 2, 28), "", 365 / 366),
    "born on a leap day, a year later on 1 March": ("2024-02-29", micros(2025, 3, 1), "", 1.0),
    "newborn": ("2026-03-02", micros(2026, 3, 2), "", 0.0),
    "where it was made the day was another": (
        "2011-03-03",
        micros(2026, 3, 2, 23),
        "2026-03-03T08:00:00",
        15.0,
    ),
    "born after the study": ("2026-03-03", micros(2026, 3, 2), "", None),
    "in the last year of the calendar": ("1986-03-02", micros(9999, 12, 31), "", None),
    "a birth date that is none": ("2026-02-30", micros(2026, 3, 2), "", None),
    "no birth date": (None, micros(2026, 3, 2), "", None),
    "no study time": ("2011-03-02", None, "", None),
}


@pytest.mark.parametrize(("born", "made", "local", "age"), AGES.values(), ids=AGES.keys())
def test_an_age(born: str | None, made: int | None, local: str, age: float | None) -> None:
    assert age_years(born, made, local) == (age if age is None else pytest.approx(age))


@dataclass(frozen=True)
class Case:
    of_order: dict[str, Any] = field(default_factory=dict)
    of_header: dict[str, Any] = field(default_factory=dict)
    born: str = ""
    shown: tuple[float | None, float | None, float | None] = (None, None, None)
    cited: frozenset[str] = frozenset()


NUMBERS = {"weight_kg": "71.5", "height_m": "1.82"}
CASES = {
    "nothing says anything": Case(),
    "the order's OBX and the birth date": Case(
        NUMBERS,
        born="1986-03-02",
        shown=(40.0, 1.82, 71.5),
        cited=frozenset({"patient_age_years", "patient_size_m", "patient_weight_kg"}),
    ),
    "the header before them": Case(
        NUMBERS,
        {"patient_age_years": 39.0, "patient_size_m": 1.8, "patient_weight_kg": 70.0},
        born="1986-03-02",
        shown=(39.0, 1.8, 70.0),
    ),
    "each by itself": Case(
        NUMBERS,
        {"patient_size_m": 1.8},
        shown=(None, 1.8, 71.5),
        cited=frozenset({"patient_weight_kg"}),
    ),
    "an order that clears its weight": Case({"weight_kg": '""'}),
    "a weight that is no number": Case({"weight_kg": "heavy", "height_m": "0"}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_study_shows(case: Case) -> None:
    who = person("P1", birth_date=case.born)
    rows = rows_of(
        [
            order(0, patient=who, accession_number="A1", filler_order_number="F1", **case.of_order),
            arrival(60, patient=who, accession_number="A1", **case.of_header),
        ],
        at(120),
        Rules(),
    )
    (study,) = rows.studies
    assert (study.patient_age_years, study.patient_size_m, study.patient_weight_kg) == case.shown
    body = {"patient_age_years", "patient_size_m", "patient_weight_kg"}
    assert study.evidence.keys() & body == case.cited
