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
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS; the other options imply it.")] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", exists=True, metavar="PEM", help="Authorities to trust; else those of the system."
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option("--cert", exists=True, metavar="PEM", help="The certificate to show, with --key."),
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", exists=True, metavar="PEM", help="Its key.")] = None,
    server_name: Annotated[
        str,
        typer.Option(
            "--server-name", metavar="NAME", help="Who the listener's certificate is for; else HOST."
        ),
    ] = "",
) -> None:
    """Send HL7 messages and print each answer: file, MSH-10, code. Exit 1 on any refusal."""
    host, port = host_port(to)
    if (cert is None) != (key is None):
        raise typer.BadParameter("--cert and --key go together")
    from dosestream.client.send import SendError, send_files, tls_context

    context = None
    if tls or ca or cert or server_name:
        try:
            context = tls_context(ca, cert, key)
        except SendError as error:
            raise typer.BadParameter(str(error)) from error
    sys.exit(send_files(files, host, port, tls=context, server_name=server_name))
