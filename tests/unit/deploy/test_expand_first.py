"""Steps of the database only add, so that the release before goes on beside them (docs/upgrade.md)."""

import re
from pathlib import Path

import pytest

STEPS = sorted((Path(__file__).parents[3] / "dosestream" / "db" / "migrations").glob("*.sql"))
# What the code of the release before would miss, or trip over.
TAKES_AWAY = {
    "a table, column, view or constraint dropped": r"\bDROP\s+(TABLE|COLUMN|VIEW|CONSTRAINT|SCHEMA|INDEX|DEFAULT)\b",
    "a name changed": r"\bRENAME\b",
    "a type changed": r"\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b",
    "a column that must be given": r"\bADD\s+COLUMN\s+\w+\s+[^,;]*NOT\s+NULL(?![^,;]*DEFAULT)",
    "a column that must be given from now on": r"\bSET\s+NOT\s+NULL\b",
    "rows removed": r"\b(TRUNCATE|DELETE\s+FROM)\b",
}
# Steps of before the first release: no site runs what they take from.
BEFORE_ANY_RELEASE = {"0003_patient_bonds.sql", "0006_facts_as_records.sql", "0007_folds_as_text.sql"}


def taken_away(text: str) -> list[str]:
    """What a step takes away, comments left out."""
    statements = re.sub(r"--[^\n]*", "", text)
    return [what for what, pattern in TAKES_AWAY.items() if re.search(pattern, statements, re.IGNORECASE)]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_only_adds(step: Path) -> None:
    if step.name in BEFORE_ANY_RELEASE:
        return
    assert taken_away(step.read_text()) == [], f"{step.name}: contract a release later, see docs/upgrade.md"


WRONG = {
    "ALTER TABLE study DROP COLUMN model;": "a table, column, view or constraint dropped",
    "ALTER TABLE study RENAME COLUMN model TO type;": "a name changed",
    "ALTER TABLE study ALTER COLUMN model TYPE integer USING 1;": "a type changed",
    "ALTER TABLE study ADD COLUMN a text NOT NULL;": "a column that must be given",
    "ALTER TABLE study ALTER COLUMN model SET NOT NULL;": "a column that must be given from now on",
    "DELETE FROM study;": "rows removed",
}


@pytest.mark.parametrize(("text", "told"), WRONG.items(), ids=WRONG.values())
def test_a_step_that_takes_away_is_told(text: str, told: str) -> None:
    assert taken_away(text) == [told]


def test_what_adds_is_left_alone() -> None:
    text = "-- DROP TABLE x\nALTER TABLE study ADD COLUMN a text NOT NULL DEFAULT '', ADD COLUMN b text;\nCREATE INDEX i ON s (a);"
    assert taken_away(text) == []
