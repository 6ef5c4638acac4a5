"""The public views show every number and word that is read."""

from importlib.resources import files

import pytest

from dosestream.dose import concepts
from dosestream.dose.image_header import MEASURED as OF_IMAGES

VIEWS = files("dosestream.db").joinpath("views.sql").read_text(encoding="utf-8")
EVENT_COLUMNS = sorted({*concepts.MEASURED, *concepts.SOURCE_MEASURED, *OF_IMAGES})


def view(name: str) -> str:
    return VIEWS.partition(f"VIEW {{views}}.{name} AS")[2].partition(";")[0]


@pytest.mark.parametrize("column", EVENT_COLUMNS)
def test_a_measured_number_is_a_column_of_its_event(column: str) -> None:
    assert f"(measured->>'{column}')::double precision AS {column}" in view("irradiation_event")


@pytest.mark.parametrize("column", sorted({*concepts.DESCRIBED.values(), *concepts.METHODS.values()}))
def test_a_word_is_a_column_of_its_event(column: str) -> None:
    assert f"described->>'{column}' AS {column}" in view("irradiation_event")


@pytest.mark.parametrize("column", sorted(concepts.SOURCE_MEASURED))
def test_a_number_of_a_tube_is_a_column_of_its_source(column: str) -> None:
    assert f"(measured->>'{column}')::double precision AS {column}" in view("xray_source")


@pytest.mark.parametrize("column", sorted(column for column, _ in concepts.ADMINISTRATION_NUMBERS.values()))
def test_a_number_of_an_administration_is_a_column(column: str) -> None:
    assert f"(measured->>'{column}')::double precision AS {column}" in view("administration")
