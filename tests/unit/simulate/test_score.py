"""Links held against the truth: what counts as right, as missed, and as wrong."""

from dataclasses import dataclass

import pytest

from dosestream.simulate.score import NUMBERS, Row, Score, scored
from dosestream.simulate.truth import Line


def line(uid: str, state: str, method: str | None = None, accession: str | None = None) -> Line:
    return {
        "kind": "study",
        "study_instance_uid": uid,
        "link_state": state,
        "link_method": method,
        "accession_number": accession,
        "filler_order_number": accession and f"F{accession}",
        "placer_order_number": None,
    }


def row(of: Line, **changes: object) -> Row:
    return {**of, **changes}


STRONG = line("1", "linked", "accession", "A1")
WEAK = line("2", "linked", "window", "A2")
OPEN = line("3", "unmatched")


@dataclass(frozen=True)
class Case:
    says: str
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]
    strong: float
    precision: float
    weak: float
    wrong: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


CASES = (
    Case("all as it is", (STRONG, WEAK, OPEN), (row(STRONG), row(WEAK), row(OPEN)), 1, 1, 1),
    Case("a strong link not made", (STRONG, WEAK), (row(STRONG, link_state="waiting"), row(WEAK)), 0, 1, 1, (), ("1",)),
    Case("a strong link to another order", (STRONG,), (row(STRONG, filler_order_number="F9"),), 0, 0, 1, ("1",), ("1",)),
    Case("a weak link not made", (STRONG, WEAK), (row(STRONG), row(WEAK, link_state="ambiguous")), 1, 1, 0, (), ("2",)),
    Case("a link where there is none", (STRONG, OPEN), (row(STRONG), row(OPEN, link_state="linked")), 1, 0.5, 1, ("3",), ("3",)),
    Case("a study that has no row", (STRONG, WEAK), (row(STRONG),), 1, 1, 0, (), ("2",)),
    Case("another open state", (OPEN,), (row(OPEN, link_state="ambiguous"),), 1, 1, 1, (), ("3",)),
    Case("a row of somebody else", (STRONG,), (row(STRONG), row(WEAK, study_instance_uid="9")), 1, 1, 1),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_shares_count_what_is_true(case: Case) -> None:
    found = scored(case.lines, case.rows)
    assert (found.strong_share, found.precision, found.weak_recall) == (
        case.strong,
        case.precision,
        case.weak,
    )
    assert (found.wrong, found.missed) == (case.wrong, case.missed)


def test_a_number_the_truth_leaves_undefined_is_not_compared() -> None:
    partial = {name: value for name, value in STRONG.items() if name != NUMBERS[2]}
    assert scored([partial], [row(STRONG, placer_order_number="H1")]).precision == 1


def test_a_score_reads_as_a_sentence() -> None:
    text = str(Score(4, 4, 2, 1, 5, 5, 3, 3))
    assert "strong links 4 of 4 (100.00%), weak links 1 of 2 (50.00%)" in text
