"""Truth held against rows: what counts as a difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest

from dosestream.simulate.compare import KINDS, differences
from dosestream.simulate.truth import Line

STUDY: Line = {
    "kind": "study",
    "study_instance_uid": "1.2",
    "patient_birth_date": "1960-01-02",
    "ct_dlp_total_mgycm": 12.5,
    "accession_number": None,
}
ORDER: Line = {
    "kind": "order",
    "placer_order_number": "H1",
    "filler_order_number": "F1",
    "accession_number": "A1",
    "status": "SCHEDULED",
}
PLACED: Line = ORDER | {"filler_order_number": None, "accession_number": None}
REPORT: Line = {
    "kind": "report",
    "study_instance_uid": "1.2",
    "accession_number": "A1",
    "text_sha256": None,
}
PATIENT: Line = {"kind": "patient", "patient_id": "P1", "merged_into_id": None}


def row(line: Line, **changes: object) -> dict[str, object]:
    values = {name: value for name, value in line.items() if name != "kind"}
    return {**values, "revision": 1, **changes}


@dataclass(frozen=True)
class Case:
    says: str
    line: Line
    rows: tuple[Mapping[str, object], ...]
    columns: tuple[str, ...]


CASES = (
    Case("an equal row", STUDY, (row(STUDY),), ()),
    Case("a date is its ISO text", STUDY, (row(STUDY, patient_birth_date=date(1960, 1, 2)),), ()),
    Case("a decimal is its number", STUDY, (row(STUDY, ct_dlp_total_mgycm=Decimal("12.50")),), ()),
    Case("binary rounding is no difference", STUDY, (row(STUDY, ct_dlp_total_mgycm=12.5 + 1e-9),), ()),
    Case("another number", STUDY, (row(STUDY, ct_dlp_total_mgycm=12.51),), ("ct_dlp_total_mgycm",)),
    Case("NULL for a number", STUDY, (row(STUDY, ct_dlp_total_mgycm=None),), ("ct_dlp_total_mgycm",)),
    Case("empty text for NULL", STUDY, (row(STUDY, accession_number=""),), ("accession_number",)),
    Case("no row", STUDY, (), ("row",)),
    Case("two rows", STUDY, (row(STUDY), row(STUDY)), ("row",)),
    Case("two cells", STUDY, (row(STUDY, patient_birth_date=None, accession_number="A"),), ("patient_birth_date", "accession_number")),
    Case("an order by its accession", ORDER, (row(ORDER),), ()),
    Case("a placed order by its placer number", PLACED, (row(PLACED),), ()),
    Case("a row left over under the same filler", ORDER, (row(ORDER), row(ORDER, accession_number=None)), ("row",)),
    Case("a row that joined another's accession", ORDER, (row(ORDER, accession_number="A2"),), ("row", "row")),
    Case("the same patient id elsewhere is none of ours", PATIENT, (row(PATIENT), row(PATIENT, patient_id="P2")), ()),
    Case("one number of two hospitals", ORDER, (row(ORDER), row(ORDER, filler_order_number="F2", placer_order_number="H2")), ("row",)),
    Case("one accession number and one text in two hospitals", REPORT, (row(REPORT, study_instance_uid="1.3"), row(REPORT)), ("row",)),
    Case("neither of two reports is of the study", REPORT, (row(REPORT, study_instance_uid="1.3"), row(REPORT, study_instance_uid=None)), ("row",)),
    Case("one identifier in two authorities", PATIENT | {"patient_authority": "S"}, (row(PATIENT, patient_authority="N"), row(PATIENT, patient_authority="S")), ()),
    Case("a merge that did not happen", PATIENT | {"merged_into_id": "P9"}, (row(PATIENT),), ("merged_into_id",)),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_differences_are_told_by_cell(case: Case) -> None:
    found = differences(KINDS[str(case.line["kind"])], [case.line], case.rows)
    assert tuple(difference.column for difference in found) == case.columns
