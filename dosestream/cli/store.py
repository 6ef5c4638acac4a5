"""`dosestream store`: DICOM files by C-STORE."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dosestream.cli.address import ae_host_port


def store(
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, readable=True, metavar="FILE...", help="DICOM files."),
    ],
    to: Annotated[str, typer.Option("--to", metavar="AE@HOST:PORT", help="The DICOM listener.")],
) -> None:
    """Store DICOM files and print each answer. Exit 1 on any refusal."""
    ae_title, host, port = ae_host_port(to)
    from dosestream.client.store import store_files

    sys.exit(store_files(files, ae_title, host, port))
