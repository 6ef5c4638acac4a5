"""`dosestream send`: HL7 files over MLLP."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dosestream.cli.address import host_port


def send(
    files: Annotated[
        list[Path],
        typer.Argument(
            exists=True, readable=True, metavar="FILE...", help="HL7 messages, or folders of *.hl7 and *.txt."
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="The MLLP listener.")],
) -> None:
    """Send HL7 messages and print each answer: file, MSH-10, code. Exit 1 on any refusal."""
    host, port = host_port(to)
    from dosestream.client.send import send_files

    sys.exit(send_files(files, host, port))
