"""`dosestream missing`: studies that were performed and have no dose report."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from dosestream.cli.stackfile import ReadyFileOption
from dosestream.embedded.errors import StackError


def missing(
    ready_file: ReadyFileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, for a script.")] = False,
) -> None:
    """List studies that were performed (by MPPS, availability, images or their order) and have no dose report
    although window and grace are over."""
    from dosestream.cli import stackfile

    found = read(stackfile.find(ready_file)["postgres"])
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=str, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("accession", "study", "performed", "known by", "patient", "modality", "overdue since")
    for one in found:
        patient = f"{one.patient_authority or ''}:{one.patient_id}" if one.patient_id else ""
        performed = "" if one.performed_at is None else f"{one.performed_at:%Y-%m-%d %H:%M}"
        table.add_row(
            one.accession_number or "",
            one.study_instance_uid or "",
            performed,
            one.source,
            patient,
            one.modality or "",
            f"{one.overdue_since:%Y-%m-%d %H:%M}",
        )
    Console().print(table)
    print(
        f"{len(found)} missing"
        + ("; `dosestream fetch --missing` asks the archive for them" if found else "")
    )


def read(url: str) -> list[Any]:
    """What is missing.

    Raises:
        StackError: the database is away.
    """
    import psycopg

    from dosestream.db.missing import missing_reports

    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return list(missing_reports(connection))
    except psycopg.OperationalError as error:
        raise StackError("The dose database does not answer: see that it runs, then try again.") from error
