"""Studies whose dose report is missing, from the view `dose.missing_report`."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import psycopg


@dataclass(frozen=True, slots=True)
class Missing:
    """One row; what is unknown is None.

    Attributes:
        source: from where it is known that it was performed: mpps, ian, images, order, joined by commas.
        overdue_since: when its window and grace were over.
    """

    study_instance_uid: str | None
    accession_number: str | None
    performed_at: datetime | None
    source: str
    patient_authority: str | None
    patient_id: str | None
    modality: str | None
    overdue_since: datetime


def missing_reports(connection: psycopg.Connection[Any]) -> list[Missing]:
    """All of them, the one longest overdue first."""
    names = ", ".join(field.name for field in fields(Missing))
    rows = connection.execute(
        f"SELECT {names} FROM dose.missing_report ORDER BY overdue_since, accession_number, study_instance_uid".encode()
    )
    return [Missing(*row) for row in rows]
